"""Verbs that read an output: status, verify, failures, diff, files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from embedlib.cli.output import print_json, print_table, say

Out = Annotated[str, typer.Argument(help="Folder of the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

SHOWN = 20
"""Problems and differences printed for people; `--json` has them all."""


def status(out: Out, json: Json = False) -> None:
    """Show how far each model is: planned, done, failed, hours, size.

    Example: embedlib status OUT
    """
    from embedlib.tables.status import status as read_status

    models = read_status(out)
    if json:
        print_json({"out": out, "models": [_status_object(asdict(model)) for model in models]})
        return
    print_table(
        [
            (
                model.model,
                f"{model.n_done}/{model.n_planned}",
                " ".join(f"{n} {name}" for name, n in model.statuses),
                str(model.n_patches),
                f"{model.audio_s / 3600:.2f}",
                f"{model.n_bytes / 1e6:.1f}",
            )
            for model in models
        ],
        header=("model", "done", "by status", "patches", "hours", "MB"),
    )


def _status_object(values: dict[str, object]) -> dict[str, object]:
    statuses: object = values["statuses"]
    return values | {"statuses": dict(statuses)}  # type: ignore[call-overload]


def verify(out: Out, json: Json = False) -> None:
    """Prove that each track is there once, whole and finite; exit code 1 when not.

    Example: embedlib verify OUT
    """
    from embedlib.tables.verify import verify as check

    report = check(out)
    if json:
        print_json(report)
    else:
        _say_some([str(problem) for problem in report.problems])
        for note in report.notes:
            print(f"note: {note}", file=sys.stderr)
        rows = ", ".join(f"{n} rows of {model}" for model, n in report.n_rows)
        verdict = f"{len(report.problems)} problems" if report.problems else "clean"
        say(f"{verdict}: {report.n_tracks} tracks in the catalogue, {rows or 'no rows'}")
    raise typer.Exit(1 if report.problems else 0)


def failures(
    out: Out,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    json: Json = False,
) -> None:
    """List the tracks that gave no embedding, with the reason.

    Example: embedlib failures OUT --json
    """
    from embedlib.tables.status import failures as read_failures

    found = list(read_failures(out, model))
    if json:
        print_json({"out": out, "failures": [asdict(failure) for failure in found]})
        return
    print_table(
        [(f.model, f.track_id, f.status, f.error) for f in found],
        header=("model", "track", "status", "reason"),
    )


def diff(
    out1: Annotated[str, typer.Argument(help="An output, or OUT@3 for its third state.")],
    out2: Annotated[str, typer.Argument(help="Another output, or another state.")],
    json: Json = False,
) -> None:
    """Compare the rows of two outputs, or of two states of one; exit code 1 when they differ.

    Example: embedlib diff OUT1 OUT2
    """
    from embedlib.tables.diff import diff as compare

    result = compare(out1, out2)
    if json:
        print_json(result)
    else:
        _say_some([str(difference) for difference in result.differences])
        verdict = f"{len(result.differences)} differences" if result.differences else "same"
        say(f"{verdict}: {result.n_rows} rows compared")
    raise typer.Exit(1 if result.differences else 0)


def files(
    out: Out,
    model: Annotated[str, typer.Argument(help="Name of a model table.")],
    at: Annotated[int | None, typer.Option(help="Version of the table; the latest else.")] = None,
    json: Json = False,
) -> None:
    """Print the Parquet files of a model table that count.

    Example: embedlib files OUT msd-musicnn-1
    """
    from embedlib.tables.reader import open_output

    paths = [str(path) for path in open_output(out).files(model, at=at)]
    if json:
        print_json({"out": out, "model": model, "files": paths})
        return
    for path in paths:
        say(path)


def _say_some(lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        say(line)
    if len(lines) > SHOWN:
        say(f"... and {len(lines) - SHOWN} more; --json has them all")
