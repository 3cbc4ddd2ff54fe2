"""The table in long form as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

from embedlib.report.long_form import long_form
from embedlib.report.paper_table import PaperTable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that spreadsheets take for a formula (OWASP, CSV Injection)."""


def csv_text(table: PaperTable) -> str:
    """Write one row per cell, with all its numbers.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.

    Returns
    -------
    text : str
        With a header; texts `defused`, lists as JSON, empty fields for what is unknown; nothing
        without cells.
    """
    records = long_form(table)
    if not records:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _field(value) for name, value in record.items()})
    return text.getvalue()


def defused(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula.

    Parameters
    ----------
    text : str
        From data.

    Returns
    -------
    text : str
        Behind an apostrophe where it starts like a formula.

    Examples
    --------
    >>> defused("=cmd"), defused("gtzan")
    ("'=cmd", 'gtzan')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _field(value: object) -> object:
    if isinstance(value, tuple):
        return json.dumps(value, ensure_ascii=False)
    return defused(value) if isinstance(value, str) else value
