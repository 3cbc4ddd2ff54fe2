"""The report as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from embedlib.probes.score_records import Scores
from embedlib.report.cautions import cautions
from embedlib.report.legend import legend
from embedlib.report.long_table import HEADER, N_NAMES, filled_columns, long_table
from embedlib.report.numbers import points, signed, span
from embedlib.report.other_tables import (
    CONTROL_HEADER,
    CONTROL_SENTENCE,
    control_table,
    ranks_sentence,
)
from embedlib.report.paper_table import Entry, Line, PaperTable, Standing

_SPECIAL = re.compile(r"[\\`*\[\]|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKS = {Standing.BEST: "**", Standing.CLOSE: "*", Standing.OTHER: "", Standing.APART: ""}


def markdown_text(table: PaperTable, scores: Scores) -> str:
    """Write the whole report but its plots.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.
    scores : Scores
        What stands around it.

    Returns
    -------
    text : str
        Best results bold, those not significantly worse in italics.
    """
    blocks = [
        "# Probes of embeddings",
        *(f"> **Warning.** {escaped(sentence)}" for sentence in cautions(scores)),
        *map(escaped, legend(table)),
        "## 5F / JD / AD" if table.has_external else "## 5F",
        _main(table),
        "## All numbers",
        _all_numbers(table),
        *_ranks(scores),
        *_controls(scores),
        *_notes(scores),
    ]
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    r"""Keep Markdown from reading a name as markup.

    Parameters
    ----------
    text : str
        From data.

    Returns
    -------
    text : str
        On one line; no tag, no emphasis, no link, no end of a table cell.

    Examples
    --------
    >>> print(escaped("a|b <i>"), escaped("fs_loop"), escaped("*x*"))
    a\|b &lt;i&gt; fs_loop \*x\*
    """
    line = " ".join(text.split())
    line = _SPECIAL.sub(lambda found: f"\\{found[0]}", line)
    return re.sub("[&<>]", lambda found: _ENTITIES[found[0]], line)


def _main(table: PaperTable) -> str:
    header = ("Task", "Protocol", "Tracks", "Chance", *map(escaped, table.models))
    return _grid(header, [_line(line) for line in table.lines])


def _line(line: Line) -> tuple[str, ...]:
    names = (line.task, line.variant, line.size, line.floor.removeprefix("chance "))
    return (*map(escaped, names), *(_entry(entry) for entry in line.entries))


def _entry(entry: Entry | None) -> str:
    if entry is None:
        return ""
    cell, mark = entry.cell, _MARKS[entry.standing]
    parts = [f"{mark}{points(cell.five_fold)}{mark} {span(cell.interval)}"]
    if cell.external is not None:
        mark = _MARKS[entry.external_standing]
        parts += [
            f"JD {mark}{points(cell.external)}{mark} {span(cell.external_interval)}",
            f"AD {points(cell.drop)} {span(cell.drop_interval)}",
        ]
    if entry.paper is not None:
        parts.append(f"paper {entry.paper.five_fold_pct} ({signed(entry.difference)})")
    if entry.remark:
        parts.append(entry.remark)
    return "<br>".join(parts)


def _all_numbers(table: PaperTable) -> str:
    header, rows = filled_columns(HEADER, long_table(table))
    return _grid(header, [(*map(escaped, row[:N_NAMES]), *row[N_NAMES:]) for row in rows])


def _ranks(scores: Scores) -> list[str]:
    return [
        block
        for ranks in scores.ranks
        for block in (
            f"## Ranks, {ranks.protocol}, {ranks.split}",
            ranks_sentence(ranks),
            _grid(
                ("Model", "Mean rank"),
                [
                    (escaped(model), f"{rank:.2f}")
                    for model, rank in zip(ranks.models, ranks.mean_ranks, strict=True)
                ],
            ),
        )
    ]


def _controls(scores: Scores) -> list[str]:
    if not scores.controls:
        return []
    rows = [
        (*map(escaped, row[:N_NAMES]), *row[N_NAMES:]) for row in control_table(scores.controls)
    ]
    return ["## Controls", CONTROL_SENTENCE, _grid(CONTROL_HEADER, rows)]


def _notes(scores: Scores) -> list[str]:
    if not scores.notes:
        return []
    return ["## Notes", "\n".join(f"- {escaped(note)}" for note in scores.notes)]


def _grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a table; the cells are Markdown already."""
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
