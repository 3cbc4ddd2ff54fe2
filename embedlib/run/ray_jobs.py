"""The jobs that a cluster knows, by their submission ids."""

from __future__ import annotations

from ray.exceptions import RayError
from ray.job_submission import JobSubmissionClient

from embedlib.catalog.uris import masked, one_line
from embedlib.errors import RunError


def submitted_jobs(address: str) -> dict[str, bool]:
    """Ask a cluster which jobs were submitted to it.

    Parameters
    ----------
    address : str
        What ``ray job submit --address`` takes, ``http://HEAD:8265``. As there, the variables
        ``RAY_API_SERVER_ADDRESS`` and ``RAY_ADDRESS`` come before it.

    Returns
    -------
    has_ended : dict of str to bool
        Whether each has succeeded, failed, or was stopped.

    Raises
    ------
    RunError
        If no cluster answers there.
    """
    try:
        jobs = JobSubmissionClient(address).list_jobs()
    # Connections and HTTP are OSError, other statuses RuntimeError, addresses that are none
    # ValueError, a token that is none RayError.
    except (OSError, RuntimeError, ValueError, RayError) as exc:
        raise RunError(
            f"the jobs of the Ray cluster at {masked(address)!r} cannot be listed: {one_line(exc)}",
            fix="give the address and the token that `ray job submit` gets",
        ) from exc
    return {job.submission_id: job.status.is_terminal() for job in jobs if job.submission_id}
