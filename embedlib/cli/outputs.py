"""Verbs that read an output: status, verify, failures, diff, files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from embedlib.run.lookout import Lookout
    from embedlib.tables.status import ModelStatus

Out = Annotated[str, typer.Argument(help="Folder of the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

SHOWN = 20
"""Problems and differences printed for people; `--json` has them all."""


def status(
    out: Out,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the runs under way until they have ended.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(help="Time between looks: 2s. By default as often as a run writes."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --watch one per look.")
    ] = False,
) -> None:
    """Show how far each model is: planned, done, failed, hours, size; and the runs under way.

    With --watch, from any machine that can read OUT: rates, time left and what a run waits for,
    live on a terminal, else a line every 30 s. That ends with code 0 when all runs that were seen
    came to their end, and with 1 when one was killed, cut off, or ended early, and where no run
    began within two minutes.

    Example: embedlib status OUT --watch
    """
    from embedlib.run.lookout import Lookout
    from embedlib.tables.layout import existing_root

    if watch:
        raise typer.Exit(_watch(out, every=every, json=json))
    _show_status(out, Lookout(existing_root(out)), json=json)


def _watch(out: str, *, every: str | None, json: bool) -> int:
    from embedlib.cli.durations import duration
    from embedlib.cli.watch import wait_for_run, watch
    from embedlib.run.lookout import Lookout
    from embedlib.tables.layout import output_root

    lookout = Lookout(output_root(out))
    every_s = duration(every, option="--every").total_seconds() if every else lookout.every_s
    wait_for_run(out, lookout, every_s=every_s)
    return 0 if watch(out, lookout, every_s=every_s, json=json) else 1


def _show_status(out: str, lookout: Lookout, *, json: bool) -> None:
    from embedlib.cli.watch import run_line, run_object, sightings_shown
    from embedlib.tables.status import status as read_status

    models, runs = read_status(out), sightings_shown(lookout.look())
    if json:
        tables = [_status_object(asdict(model)) for model in models]
        print_json({"out": out, "models": tables, "runs": [run_object(run) for run in runs]})
        return
    print_table(
        [
            (
                model.model,
                _done(model),
                " ".join(f"{n} {name}" for name, n in model.statuses),
                str(model.n_patches),
                f"{model.audio_s / 3600:.2f}",
                f"{model.n_bytes / 1e6:.1f}",
            )
            for model in models
        ],
        header=("model", "done", "by status", "patches", "hours", "MB"),
    )
    for run in runs:
        say(run_line(run))


def _done(model: ModelStatus) -> str:
    failed = f", {model.n_failed} failed" if model.n_failed else ""
    return f"{model.n_done}/{model.n_planned}{failed}"


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
    show: Annotated[
        str | None, typer.Option(help="All about one track, by its id: rows, attempts, log.")
    ] = None,
    json: Json = False,
) -> None:
    """List the tracks that gave no embedding, with the reason; or tell all about one of them.

    Example: embedlib failures OUT --show rock/a.mp3
    """
    from embedlib.tables.status import failures as read_failures

    if show is not None:
        _show_story(out, show, model=model, json=json)
        return
    found = list(read_failures(out, model))
    if json:
        print_json({"out": out, "failures": [asdict(failure) for failure in found]})
        return
    print_table(
        [(f.model, f.track_id, f.status, f.error) for f in found],
        header=("model", "track", "status", "reason"),
    )


def _show_story(out: str, track_id: str, *, model: str | None, json: bool) -> None:
    from embedlib.cli.story import print_story
    from embedlib.run.track_story import track_story

    story = track_story(out, track_id, model=model)
    if json:
        print_json(story)
    else:
        print_story(story)


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
