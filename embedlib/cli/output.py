"""How verbs print: the answer on stdout, as a few plain lines or as exactly one JSON object."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from typing import Any


def say(line: str) -> None:
    """Print one line of the answer.

    Parameters
    ----------
    line : str
        For people.
    """
    print(line)


def print_json(value: Any) -> None:
    """Print the answer as one JSON object.

    Parameters
    ----------
    value : Any
        A record, or anything that JSON knows.
    """
    is_record = is_dataclass(value) and not isinstance(value, type)
    json.dump(asdict(value) if is_record else value, sys.stdout, default=str)
    sys.stdout.write("\n")


def print_table(rows: list[tuple[str, ...]], *, header: tuple[str, ...]) -> None:
    """Print rows under a header, in columns.

    Parameters
    ----------
    rows : list of tuple of str
        Cells.
    header : tuple of str
        Titles of the columns.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Wide enough for whole ids when the output is a file or a pipe.
    Console(soft_wrap=False, width=None if sys.stdout.isatty() else 240).print(table)
