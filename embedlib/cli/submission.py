"""``embedlib submission-id``: parse, call, print."""

from __future__ import annotations

from typing import Annotated

import typer

from embedlib.cli.output import print_json, say
from embedlib.cli.outputs import Json, Out


def submission_id(
    out: Out,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_API_SERVER_ADDRESS",
            help="Cluster whose jobs are looked at, as for `ray job submit`: http://HEAD:8265.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Name the next job of an output, for `ray job submit --submission-id`.

    While a run of OUT is under way its name is given again, and Ray refuses it; also for 90 s
    after a run on another machine was killed. With --address the same holds for a job that
    waits, and the name of a job that failed before its run began is passed over.

    Example: embedlib submission-id OUT --address http://HEAD:8265
    """
    from embedlib.run.submission import submission_id as next_id

    name = next_id(out, has_ended=_jobs(address) if address else None)
    if json:
        print_json({"out": out, "submission_id": name})
    else:
        say(name)


def _jobs(address: str) -> dict[str, bool]:
    from embedlib.run.auth import require_tokens

    require_tokens(is_local=False)
    from embedlib.run.ray_jobs import submitted_jobs

    return submitted_jobs(address)
