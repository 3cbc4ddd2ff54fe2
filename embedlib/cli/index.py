"""``embedlib index``: parse, call, print."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedlib.cli.durations import duration
from embedlib.cli.extract import decoding_line, exit_code, extract, failures_line, given_values
from embedlib.cli.output import print_json, say

if TYPE_CHECKING:
    from embedlib.catalog.stores import Place
    from embedlib.config import ExtractConfig
    from embedlib.run.index_summary import IndexSummary


def _with_options_of_extract(verb: Callable[..., None]) -> Callable[..., None]:
    """Let a verb take all that `extract` takes, and what it names itself; both for typer."""
    own = inspect.signature(verb, eval_str=True).parameters
    parameters = inspect.signature(extract, eval_str=True).parameters | own
    named = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    vars(verb)["__signature__"] = inspect.Signature(named)
    return verb


@_with_options_of_extract
def index(
    *,
    local: Annotated[
        bool | None, typer.Option("--local/--ray", help="Run in this process, or by Ray.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what has changed, and write nothing.")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="How long versions of the tables stay readable: 12h, 7d, 4w.")
    ] = "7d",
    **options: Any,
) -> None:
    """Bring an output up to its sources: for a schedule, night by night.

    Finishes what is open, then extracts new and changed tracks, renames the rows of moved ones and
    forgets deleted ones, in all tables. What is not given is as in the last run of the output.
    Exit codes are those of extract; failures that were known before do not count.

    Example: embedlib index --out OUT
    """
    from embedlib.cli.progress import watching
    from embedlib.run.index import run_index

    json, quiet = options["json"], options["quiet"]
    kept = duration(keep, option="--keep")
    config = index_config(options | {"local": local})
    with watching(quiet=quiet) as watcher:
        summary = run_index(
            config, keep=kept, dry_run=dry_run, watcher=watcher, refresh=refresh_search
        )
    if json:
        print_json(summary)
    else:
        for line in index_lines(summary):
            say(line)
    raise typer.Exit(exit_code(summary, max_failed=config.max_failed))


def index_config(arguments: Mapping[str, Any]) -> ExtractConfig:
    """Put what was given on top of the options of the last run.

    Parameters
    ----------
    arguments : mapping of str to Any
        All arguments of `extract` by name. A preset takes the place of those options.

    Returns
    -------
    config : ExtractConfig
        What is wanted.

    Raises
    ------
    ConfigError
        If an option is unknown, wrong, or missing in the first run of an output.
    """
    from embedlib.config import extract_config
    from embedlib.run.groups import earlier_options
    from embedlib.tables.layout import output_root

    values, origin = given_values(arguments)
    if "out" in values and "preset" not in values:
        values = earlier_options(output_root(str(values["out"]))) | values
    return extract_config(values, origin=origin)


def refresh_search(out: Place) -> None:
    """Bring up to date the search tables that somebody has built.

    Parameters
    ----------
    out : Path or StorePath
        The output.
    """
    from embedlib.search.store import searched_models

    for model in searched_models(out):
        from embedlib.search.build import build

        build(out, model)


def index_lines(summary: IndexSummary) -> list[str]:
    """Say in a few lines what an index run found and did.

    Parameters
    ----------
    summary : IndexSummary
        What was found and done.

    Returns
    -------
    lines : list of str
        For people.
    """
    lines = [_found_line(summary)]
    if summary.n_duplicates:
        lines.append(f"{summary.n_duplicates} tracks have an id that another one has")
    if summary.dry_run:
        return lines + [
            f"{kind}: {', '.join(track_ids)}{_more(summary, kind)}"
            for kind, track_ids in summary.named.items()
            if track_ids
        ]
    if summary.taken_over_from:
        lines.append(f"took over the lock of a run that fell silent: {summary.taken_over_from}")
    lines.append(_done_line(summary))
    if summary.n_failed:
        lines.append(failures_line(summary))
    if summary.decoding:
        lines.append(decoding_line(summary))
    if summary.signal_number:
        lines.append("ended early by a signal; run the same command to continue")
    return lines


def _found_line(summary: IndexSummary) -> str:
    counts = ", ".join(
        f"{getattr(summary, f'n_{kind}')} {kind}"
        for kind in ("new", "changed", "moved", "deleted", "unchanged")
    )
    return f"{counts}: {summary.n_tracks} tracks in the sources of {summary.out}"


def _more(summary: IndexSummary, kind: str) -> str:
    n_more = getattr(summary, f"n_{kind}") - len(summary.named[kind])
    return f" and {n_more} more" if n_more else ""


def _done_line(summary: IndexSummary) -> str:
    finished = f" ({summary.n_finished} of an open plan)" if summary.n_finished else ""
    return (
        f"{summary.n_rows} rows made{finished}, {summary.n_rows_moved} renamed, "
        f"{summary.n_rows_pruned} forgotten for {', '.join(summary.models)} "
        f"in {summary.wall_s:.1f} s"
    )
