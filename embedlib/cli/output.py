"""How verbs print: the answer on stdout, as a few plain lines or as exactly one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

LINE_LENGTH = 100
"""Characters from which on a list is printed item by item."""


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


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print what is known of one thing, a line for each fact.

    Parameters
    ----------
    facts : mapping of str to Any
        By name; lists and mappings go on one line, long lists on one for each item, and nothing
        is a dash.

    Examples
    --------
    >>> print_facts({"name": "gtzan", "classes": ["blues", "rock"], "labels": {}})
    name     gtzan
    classes  blues, rock
    labels   -
    """
    width = max(map(len, facts))
    for key, value in facts.items():
        first, *more = _lines(value)
        say(f"{key:<{width}}  {first}")
        for line in more:
            say(f"{'':<{width}}  {line}")


def _lines(value: Any) -> list[str]:
    text = _text(value)
    if isinstance(value, list | tuple) and len(text) > LINE_LENGTH:
        return [str(inner) for inner in value if inner is not None]
    return [text]


def _text(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key}: {_nested(inner)}" for key, inner in value.items()) or "-"
        case tuple() | list():
            return ", ".join(str(inner) for inner in value if inner is not None) or "-"
        case None | "":
            return "-"
    return str(value)


def _nested(value: Any) -> str:
    return f"({_text(value)})" if isinstance(value, dict) else _text(value)
