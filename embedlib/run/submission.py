"""The name under which a run is submitted to a cluster: it tells the output and the try."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping

from embedlib.catalog.places import place
from embedlib.catalog.stores import Place
from embedlib.run.index_lock import LOCK_FILE
from embedlib.run.lookout import Lookout
from embedlib.tables.layout import RUNS_FOLDER


def submission_id(out: str, *, has_ended: Mapping[str, bool] | None = None) -> str:
    """Name the next job for an output, or the one that is at work on it.

    Ray takes each name once, also after the job has ended. A second job is therefore refused while
    the first one waits or works, and a resumed run has a name of its own.

    Parameters
    ----------
    out : str
        Path or URL of the output, which need not exist.
    has_ended : mapping of str to bool, optional
        Whether each job that the cluster knows has ended, by its submission id. Without it, only
        runs count: a job that ended before it began its run has used up a name that is given again.

    Returns
    -------
    submission_id : str
        ``embedlib-<name>-<hash>-try<n>``: the last part of the path, a hash of all of it, and the
        number of the try.

    Raises
    ------
    ConfigError
        If outputs cannot lie there.
    RunError
        If the store does not answer.

    Examples
    --------
    >>> submission_id("/music/index 2026")
    'embedlib-index-2026-18c40684-try1'
    >>> submission_id("/music/index 2026", has_ended={"embedlib-index-2026-18c40684-try1": True})
    'embedlib-index-2026-18c40684-try2'
    """
    root = place(out).absolute()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", root.name).strip("-")[:40]
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    stem = f"embedlib-{name or 'out'}-{digest}-try"
    has_try_ended = {
        int(job.removeprefix(stem)): ended
        for job, ended in (has_ended or {}).items()
        if re.fullmatch(re.escape(stem) + "[0-9]+", job)
    }
    n_runs, n_until_working = _runs(root)
    number = try_number(n_runs=n_runs, n_until_working=n_until_working, has_try_ended=has_try_ended)
    return f"{stem}{number}"


def try_number(*, n_runs: int, n_until_working: int, has_try_ended: Mapping[int, bool]) -> int:
    """Give the number of the next try, or that of the one that is at work.

    Parameters
    ----------
    n_runs : int >= 0
        Runs of the output so far.
    n_until_working : int >= 0
        Those up to the newest that is under way; 0 when none is.
    has_try_ended : mapping of int to bool
        Tries that the cluster knows, and whether they have ended.

    Returns
    -------
    number : int > 0
        What the cluster has not ended comes first, then the run that is under way, then the first
        number after the runs that is free.

    Examples
    --------
    >>> try_number(n_runs=1, n_until_working=0, has_try_ended={1: True, 2: True})
    3
    >>> try_number(n_runs=1, n_until_working=0, has_try_ended={1: True, 2: False})
    2
    """
    unended = [number for number, ended in has_try_ended.items() if not ended]
    if unended:
        return max(unended)
    if n_until_working:
        return n_until_working
    return next(number for number in itertools.count(n_runs + 1) if number not in has_try_ended)


def _runs(root: Place) -> tuple[int, int]:
    """Count the runs, and those up to the newest that is under way."""
    # Looked at before they are counted: a run that begins meanwhile is then in the count at least.
    working = [sighting.record.run_id for sighting in Lookout(root).look() if sighting.is_under_way]
    folder = root / RUNS_FOLDER
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    runs = [name for name in names if not name.startswith(LOCK_FILE)]
    return len(runs), sum(name <= working[-1] for name in runs) if working else 0
