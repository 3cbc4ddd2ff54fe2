"""From what lies on disk to the files of a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, TypeVar

from embedlib.catalog.places import place
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import ConfigError, OutputError
from embedlib.probes.score_records import Scores
from embedlib.report.csv_table import csv_text
from embedlib.report.facts import Facts
from embedlib.report.latex import latex_text
from embedlib.report.markdown import markdown_text
from embedlib.report.page import page_text
from embedlib.report.paper_table import paper_table
from embedlib.tables.durable import refusals, whole_file

FOLDER: Final = "report"
"""Of an output on a local disk; of the working folder where the output lies in a store."""


class _OfProtocol(Protocol):
    @property
    def protocol(self) -> str: ...


Record = TypeVar("Record", bound=_OfProtocol)


def selected(scores: Scores, *, out: str, protocol: str | None = None) -> Scores:
    """Take what a report is about.

    Parameters
    ----------
    scores : Scores
        All of an output.
    out : str
        The output, for the error.
    protocol : str, optional
        Only this one; all by default.

    Returns
    -------
    scores : Scores
        With at least one cell.

    Raises
    ------
    OutputError
        If there is no complete cell.
    ConfigError
        If no cell has the protocol.
    """
    if not scores.cells:
        reason = f": {scores.notes[0]}" if scores.notes else ""
        raise OutputError(
            f"{out} has no scored probes{reason}", fix="run embedlib probe sweep first"
        )
    if protocol is None:
        return scores
    known = sorted({cell.protocol for cell in scores.cells})
    if protocol not in known:
        raise ConfigError(f"{out} has no probes of protocol {protocol!r}", fix=_choice(known))
    return _restricted(scores, protocol=protocol)


def write_report(
    scores: Scores, folder: Place, *, facts: Facts, origin: str = ""
) -> tuple[str, ...]:
    """Write the files of a report, over those that are there.

    Parameters
    ----------
    scores : Scores
        With at least one cell.
    folder : Path or StorePath
        Where to; it is made.
    facts : Facts
        What is known beside the scores.
    origin : str, optional
        What it is made from, when and by what, for below the title of the page.

    Returns
    -------
    paths : tuple of str
        ``index.html``, ``report.md``, ``report.tex``, ``report.csv``; equal scores and
        origins give equal bytes.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    table = paper_table(scores, facts=facts)
    texts = {
        "index.html": page_text(table, scores, facts=facts, origin=origin),
        "report.md": markdown_text(table, scores),
        "report.tex": latex_text(table, scores),
        "report.csv": csv_text(table),
    }
    with refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with whole_file(folder / name) as temporary:
            # A lone surrogate, from a file name that is no UTF-8, must not end the report.
            temporary.write_bytes(text.encode("utf-8", errors="replace"))
    return tuple(str(folder / name) for name in texts)


def report_folder(out: str) -> Place:
    """Give the folder of a report where the user names none.

    Parameters
    ----------
    out : str
        Path or URL of the output.

    Returns
    -------
    folder : Path or StorePath
        In the output, or in the working folder where the output lies in a store: pages are for
        people, who have browsers here.
    """
    root = place(out)
    return Path(FOLDER) if isinstance(root, StorePath) else root / FOLDER


def _restricted(scores: Scores, *, protocol: str) -> Scores:
    def of_protocol(records: Iterable[Record]) -> tuple[Record, ...]:
        return tuple(record for record in records if record.protocol == protocol)

    return replace(
        scores,
        cells=of_protocol(scores.cells),
        comparisons=of_protocol(scores.comparisons),
        ranks=of_protocol(scores.ranks),
        controls=of_protocol(scores.controls),
    )


def _choice(known: list[str]) -> str:
    return f"choose {' or '.join(known)}"
