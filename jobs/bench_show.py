"""What the verbs of `bench.py` found, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench_setting import machine_line

from embedlib.cli.output import print_table


def table_of(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """Make a table as results hold it.

    Parameters
    ----------
    title : str
        What it shows.
    columns : sequence of str
        Their titles.
    rows : iterable of sequence of str
        Cells, formatted.
    notes : iterable of str, optional
        Sentences that stand below it.

    Returns
    -------
    table : dict of str to Any
        With the keys `title`, `columns`, `rows` and `notes`.
    """
    return {
        "title": title,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "notes": list(notes),
    }


def figure_table(title: str, figures: Mapping[str, float]) -> dict[str, Any]:
    """Make a table of figures.

    Parameters
    ----------
    title : str
        What they are of.
    figures : mapping of str to float
        By name.

    Returns
    -------
    table : dict of str to Any
        As `table_of` makes it.
    """
    rows = [(name, figure_text(value)) for name, value in figures.items()]
    return table_of(title, ("figure", "value"), rows)


def figure_text(value: float) -> str:
    """Write a figure with three decimals, or without where it is large.

    Parameters
    ----------
    value : float
        Of any kind.

    Returns
    -------
    text : str
        For people.

    Examples
    --------
    >>> figure_text(0.0721), figure_text(48.26), figure_text(12345.6)
    ('0.072', '48.3', '12,346')
    """
    size = abs(value)
    return f"{value:,.{3 if size < 10 else 1 if size < 1000 else 0}f}"


def show_tables(result: Mapping[str, Any]) -> None:
    """Print the tables of a result.

    Parameters
    ----------
    result : mapping of str to Any
        What `bench.py` writes into a file.
    """
    print(machine_line(result["machine"]))
    for table in result["tables"]:
        print(f"\n{table['title']}")
        print_table([tuple(row) for row in table["rows"]], header=tuple(table["columns"]))
        for note in table["notes"]:
            print(note)


def gib(n_bytes: float) -> float:
    """Convert bytes to GiB."""
    return n_bytes / 2**30
