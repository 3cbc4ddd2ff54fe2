"""``embedlib retry``: parse, call, print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.extract import exit_code
from embedlib.cli.output import print_json, say

if TYPE_CHECKING:
    from embedlib.run.retry import RetrySummary


def retry(
    out: Annotated[str, typer.Argument(help="Folder of the output.")],
    status: Annotated[
        list[str], typer.Option(help="Statuses to try again, such as timeout,crashed.")
    ],
    models: Annotated[
        list[str] | None, typer.Option(help="Names of model tables; all by default.")
    ] = None,
    max_duration_s: Annotated[
        float | None, typer.Option(help="Another limit than before: for too_long.")
    ] = None,
    cpu_deadline_s: Annotated[
        float | None, typer.Option(help="Another limit than before: for timeout.")
    ] = None,
    local: Annotated[
        bool | None, typer.Option("--local/--ray", help="Run in this process, or by Ray.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; one is started here otherwise.")
    ] = None,
    n_cores: Annotated[int | None, typer.Option(help="Cores to use on this machine.")] = None,
    accept_missing: Annotated[
        bool | None,
        typer.Option("--accept-missing", help="Go on where most files of a shard are gone."),
    ] = None,
    max_failed: Annotated[
        int | None, typer.Option(help="Tracks that may fail again and still exit with 0.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run failed tracks again, with the options of the last run, and replace their rows.

    The rows of a model are replaced in one transaction; all others stay as they are. Exit codes
    are those of extract.

    Example: embedlib retry OUT --status timeout,crashed
    """
    from embedlib.cli.progress import watching
    from embedlib.run.retry import run_retry

    options = {
        "max_duration_s": max_duration_s,
        "cpu_deadline_s": cpu_deadline_s,
        "local": local,
        "address": address,
        "n_cores": n_cores,
        "accept_missing": accept_missing,
    }
    summary = run_retry(
        out,
        statuses=_split(status),
        models=_split(models or ()),
        options={name: value for name, value in options.items() if value is not None},
        watch=lambda: watching(quiet=quiet),
    )
    if json:
        print_json(summary)
    else:
        for line in _lines(summary):
            say(line)
    raise typer.Exit(exit_code(summary, max_failed=max_failed or 0))


def _split(texts: list[str] | tuple[()]) -> list[str]:
    return [part for text in texts for part in text.split(",") if part]


def _lines(summary: RetrySummary) -> list[str]:
    models = ", ".join(summary.models)
    if not summary.n_rows and not summary.signal_number:
        return [f"nothing to do: no track of {models} in {summary.out} has such a status"]
    before, after = (
        ", ".join(f"{n} {status}" for status, n in counts.items())
        for counts in (summary.before, summary.after)
    )
    lines = [
        f"{summary.n_rows} rows of {models} replaced in {summary.wall_s:.1f} s -> {summary.out}",
        f"before: {before or 'nothing'}; now: {after or 'nothing'}",
    ]
    if summary.signal_number:
        lines.append("ended early by a signal; run the same command to continue")
    return lines
