"""The report as a LaTeX document that any engine compiles, with `booktabs` and `longtable`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from embedlib.probes.score_records import Scores
from embedlib.report.cautions import cautions
from embedlib.report.legend import legend
from embedlib.report.long_table import HEADER, N_NAMES, filled_columns, long_table
from embedlib.report.numbers import points
from embedlib.report.paper_table import Entry, Line, PaperTable, Standing

_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    # Not at the start of a line of a table, where \\ would take it for its optional argument.
    "[": "{[}",
    "]": "{]}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
_ACCENTS: Final = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
"""Combining characters and the accents of LaTeX: composed, they need no font of their own."""

_MARKS: Final = {
    Standing.BEST: r"\best ",
    Standing.CLOSE: r"\close ",
    Standing.OTHER: "",
    Standing.APART: r"\apart ",
}

_PREAMBLE: Final = r"""\documentclass[a4paper,10pt]{article}
\usepackage[landscape,margin=12mm]{geometry}
\usepackage{array,booktabs,longtable}
\usepackage[table]{xcolor}
\setlength{\tabcolsep}{2pt}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\setlength{\LTleft}{0pt}
\newcommand{\best}{\cellcolor{black!25}\bfseries}
\newcommand{\close}{\cellcolor{black!9}}
\newcommand{\apart}{\itshape}
\begin{document}
\scriptsize
"""


def latex_text(table: PaperTable, scores: Scores) -> str:
    """Write the tables of the report as a document.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.
    scores : Scores
        For what a reader must know beside it.

    Returns
    -------
    text : str
        ASCII alone; best results on grey, those not significantly worse on a lighter one,
        those of other labels in italics.
    """
    blocks = [
        _PREAMBLE,
        *(rf"\textbf{{Warning.}} {escaped(sentence)}" + "\n" for sentence in cautions(scores)),
        _main(table),
        *(escaped(sentence) + "\n" for sentence in legend(table)),
        *(f"Note: {escaped(note)}\n" for note in scores.notes),
        r"\clearpage\tiny",
        _all_numbers(table),
        r"\end{document}",
    ]
    return "\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    r"""Keep LaTeX from reading a name as commands.

    Parameters
    ----------
    text : str
        From data.

    Returns
    -------
    text : str
        ASCII on one line; letters with accents as commands, what else LaTeX has no letter for as
        its code point.

    Examples
    --------
    >>> print(escaped("R&B 100%"), escaped("Dvořák"), escaped("中"))
    R\&B 100\% Dvo\v{r}\'{a}k {[}U+4E2D{]}
    """
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(_letter(letter) for letter in line).replace("--", "-{}-")


def _letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if " " <= letter <= "~":
        return letter
    decomposed = unicodedata.normalize("NFD", letter)
    base, marks = decomposed[0], decomposed[1:]
    if marks in _ACCENTS and base.isascii() and base.isalpha():
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base)
        return rf"\{_ACCENTS[marks]}{{{dotless}}}"
    return f"{{[}}U+{ord(letter):04X}{{]}}"


def _main(table: PaperTable) -> str:
    metrics = ("5F", "JD", "AD") if table.has_external else ("5F",)
    width = len(metrics)
    models = [
        rf"\multicolumn{{{width}}}{{>{{\raggedright}}p{{{7.5 * width:g}mm}}}}{{{escaped(name)}}}"
        for name in table.models
    ]
    rules = [
        rf"\cmidrule(lr){{{start}-{start + width - 1}}}"
        for start in range(5, 5 + width * len(models), width)
    ]
    header = (
        _row(["", "", "", "", *models]),
        " ".join(rules),
        _row(["Task", "Protocol", "Tracks", "Chance", *metrics * len(models)]),
    )
    rows = [_row(_line(line, n_metrics=width)) for line in table.lines]
    return _long("lllr" + "w{r}{6.1mm}" * width * len(models), header, rows)


def _line(line: Line, *, n_metrics: int) -> list[str]:
    size = line.size.removesuffix(f" {line.unit}")
    names = [line.task, line.variant, size, points(line.chance)]
    values = [_entry(entry)[:n_metrics] for entry in line.entries]
    return [*map(escaped, names), *(value for entry in values for value in entry)]


def _entry(entry: Entry | None) -> tuple[str, str, str]:
    if entry is None:
        return "", "", ""
    cell = entry.cell
    return (
        _MARKS[entry.standing] + points(cell.five_fold),
        _MARKS[entry.external_standing] + points(cell.external),
        points(cell.drop),
    )


def _all_numbers(table: PaperTable) -> str:
    # Without the parameters: no page is that wide, and the CSV file has them.
    header, rows = filled_columns(HEADER[:-1], [row[:-1] for row in long_table(table)])
    titles = [
        rf"\multicolumn{{1}}{{>{{\{side}}}p{{{width}mm}}}}{{{escaped(title)}}}"
        for number, title in enumerate(header)
        for side, width in [("raggedright", 20) if number < N_NAMES else ("raggedleft", 13)]
    ]
    columns = "l" * N_NAMES + "r" * (len(titles) - N_NAMES)
    return _long(columns, (_row(titles),), [_row(map(escaped, row)) for row in rows])


def _long(columns: str, header: Sequence[str], rows: Iterable[str]) -> str:
    lines = (
        rf"\begin{{longtable}}{{{columns}}}",
        r"\toprule",
        *header,
        r"\midrule",
        r"\endhead",
        *rows,
        r"\bottomrule",
        r"\end{longtable}",
    )
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
