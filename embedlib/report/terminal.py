"""The table of the paper for a terminal: one row per task, protocol and model."""

from __future__ import annotations

from typing import Final

from embedlib.probes.score_records import Scores
from embedlib.report.facts import Facts, shipped_facts
from embedlib.report.numbers import points, signed, span
from embedlib.report.paper_table import Entry, Line, Standing, paper_table

TERMINAL_HEADER: Final = ("task", "protocol", "model", "5F", "95 %", "paper", "JD", "AD")
"""Titles of the columns of `terminal_table`."""

_MARKS: Final = {Standing.BEST: " *", Standing.CLOSE: " ~", Standing.OTHER: ""}

TERMINAL_KEY: Final = "* best of its task, ~ not significantly worse; scores in percent"
"""What the marks of `terminal_table` mean."""


def terminal_table(scores: Scores, *, facts: Facts | None = None) -> list[tuple[str, ...]]:
    """Write scores as rows for a terminal.

    Parameters
    ----------
    scores : Scores
        All of them.
    facts : Facts, optional
        Order, and the paper's numbers; `shipped_facts` by default.

    Returns
    -------
    rows : list of tuple of str
        In the columns of `TERMINAL_HEADER`; names of a line stand in its first row.
    """
    table = paper_table(scores, facts=shipped_facts() if facts is None else facts)
    return [
        _row(line, entry, is_first=number == 0)
        for line in table.lines
        for number, entry in enumerate(line.scored)
    ]


def _row(line: Line, entry: Entry, *, is_first: bool) -> tuple[str, ...]:
    cell = entry.cell
    return (
        line.task if is_first else "",
        line.variant if is_first else "",
        cell.model,
        f"{points(cell.five_fold)}{_mark(entry)}",
        span(cell.interval),
        "" if entry.paper is None else f"{entry.paper.five_fold_pct} ({signed(entry.difference)})",
        points(cell.external),
        points(cell.drop),
    )


def _mark(entry: Entry) -> str:
    return f" ({entry.remark})" if entry.remark else _MARKS[entry.standing]
