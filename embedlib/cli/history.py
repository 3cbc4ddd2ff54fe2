"""``embedlib history`` and ``embedlib drift``: parse, call, print."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, print_table, say
from embedlib.cli.outputs import Json, Out

if TYPE_CHECKING:
    from embedlib.tables.states import State, TableState


def history(out: Out, json: Json = False) -> None:
    """List the states of an output: one after each run that ended, with what came and went.

    A state opens by its number: `embedlib.open(OUT, at=3)`, and OUT@3 in diff and drift.

    Example: embedlib history OUT
    """
    from embedlib.tables.states import states

    found = states(out)
    if json:
        print_json({"out": out, "states": [asdict(state) for state in found]})
        return
    if not found:
        say(f"{out} has no recorded state; the next run that ends records one")
        return
    tables = sorted({name for state in found for name in state.tables} - {"catalog"})
    print_table(
        [_row(state, ["catalog", *tables]) for state in found],
        header=("state", "ended (UTC)", "run", "catalog", *tables),
    )


def drift(
    first: Annotated[str, typer.Argument(help="An output, or OUT@3 for its third state.")],
    second: Annotated[str, typer.Argument(help="A later state, or another output.")],
    to: Annotated[str | None, typer.Option(help="Write a page to this file, too.")] = None,
    json: Json = False,
) -> None:
    """Tell what changed between two states: tracks, failures, durations, embeddings, duplicates.

    Example: embedlib drift OUT@3 OUT@7 --to drift.html
    """
    from embedlib.catalog.places import place
    from embedlib.report.drift import measure_drift
    from embedlib.report.drift_page import write_drift_page
    from embedlib.report.drift_text import alarms, drift_lines

    found = measure_drift(first, second)
    if to is not None:
        write_drift_page(found, place(to))
    if json:
        print_json(asdict(found) | {"file": to})
        return
    for sentence in alarms(found):
        print(f"warning: {sentence}", file=sys.stderr)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    for line in drift_lines(found):
        say(line)
    if to is not None:
        say(to)


def _row(state: State, tables: list[str]) -> tuple[str, ...]:
    ended = state.ended_at[:19].replace("T", " ")
    return (
        str(state.number),
        ended,
        state.kind,
        *(_table_text(state.tables.get(name)) for name in tables),
    )


def _table_text(table: TableState | None) -> str:
    if table is None:
        return "-"
    if table.n_added is None or table.n_removed is None:
        return f"{table.n_rows} (+? -?)"
    return f"{table.n_rows} (+{table.n_added} -{table.n_removed})"
