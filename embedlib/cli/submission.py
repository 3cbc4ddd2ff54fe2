"""``embedlib submission-id``: parse, call, print."""

from __future__ import annotations

from embedlib.cli.output import print_json, say
from embedlib.cli.outputs import Json, Out


def submission_id(out: Out, json: Json = False) -> None:
    """Name the next job of an output, for `ray job submit --submission-id`.

    Example: embedlib submission-id OUT
    """
    from embedlib.run.submission import submission_id as next_id

    name = next_id(out)
    if json:
        print_json({"out": out, "submission_id": name})
    else:
        say(name)
