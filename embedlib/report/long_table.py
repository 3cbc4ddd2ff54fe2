"""All numbers of a cell as texts, in the columns that every format shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from embedlib.probes.records import Params
from embedlib.report.numbers import points, signed, span
from embedlib.report.paper_table import Entry, Line, PaperTable

HEADER = (
    "Task",
    "Protocol",
    "Model",
    "5F",
    "95 % interval",
    "Std folds",
    "Std splits",
    "Paper 5F",
    "Difference",
    "JD",
    "JD interval",
    "Paper JD (other data)",
    "AD",
    "AD interval",
    "Tracks",
    "Chosen",
)
"""Titles of the columns of `long_table`."""

N_NAMES = 3
"""The first columns, here and in the other tables, hold names from data; the others our numbers."""


def long_table(table: PaperTable) -> tuple[tuple[str, ...], ...]:
    """Write all numbers of all cells.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.

    Returns
    -------
    rows : tuple of tuple of str
        One row per cell, in the columns of `HEADER`, not escaped; empty where there is no number.
    """
    return tuple(_row(line, entry) for line in table.lines for entry in line.scored)


def filled_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Leave out the columns that no row has anything in.

    Parameters
    ----------
    header : sequence of str
        Titles.
    rows : sequence of sequence of str
        In these columns.

    Returns
    -------
    header : tuple of str
        Of the columns that are left; all of them where there is no row.
    rows : tuple of tuple of str
        In these columns.

    Examples
    --------
    >>> filled_columns(("Task", "JD", "AD"), [("a", "", "1"), ("b", "", "")])
    (('Task', 'AD'), (('a', '1'), ('b', '')))
    """
    kept = [n for n in range(len(header)) if not rows or any(row[n] for row in rows)]
    return tuple(header[n] for n in kept), tuple(tuple(row[n] for n in kept) for row in rows)


def _row(line: Line, entry: Entry) -> tuple[str, ...]:
    cell = entry.cell
    return (
        line.task,
        ", ".join(filter(None, (line.variant, _doubt(entry)))),
        cell.model,
        points(cell.five_fold),
        span(cell.interval),
        points(cell.fold_std),
        points(cell.repeat_std),
        points(entry.paper_five_fold).removesuffix(".0"),
        signed(entry.difference),
        points(cell.external),
        span(cell.external_interval),
        points(entry.paper_external).removesuffix(".0"),
        points(cell.drop),
        span(cell.drop_interval),
        _tracks(cell.n_scored, cell.n_tracks),
        in_words(cell.chosen),
    )


def _doubt(entry: Entry) -> str:
    remarks = (entry.remark, "" if entry.cell.is_reproducible else "not reproducible")
    return ", ".join(filter(None, remarks))


def _tracks(n_scored: int, n_tracks: int) -> str:
    return str(n_tracks) if n_scored == n_tracks else f"{n_scored} of {n_tracks}"


def in_words(chosen: Sequence[Params]) -> str:
    """Say which hyper-parameters were chosen, and in how many folds where they differ.

    Parameters
    ----------
    chosen : sequence of Params
        Of each fold.

    Returns
    -------
    text : str
        The most frequent first.

    Examples
    --------
    >>> in_words([Params(), Params()])
    'hidden 100, rate 0.001, l2 1e-05, batch 32'
    """
    kinds = sorted(set(chosen), key=lambda params: (-chosen.count(params), params))
    if len(kinds) == 1:
        return _params(kinds[0])
    return "; ".join(f"{_params(kind)} ({chosen.count(kind)}x)" for kind in kinds)


def _params(params: Params) -> str:
    return ", ".join(
        f"{name.removeprefix('n_').removesuffix('_size')} {value:g}"
        for name, value in asdict(params).items()
    )
