"""``embedlib report``: parse, call, print."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from embedlib.cli.output import print_json, print_table, say
from embedlib.cli.outputs import Json, Out

if TYPE_CHECKING:
    from embedlib.probes.score_records import Scores


def report(
    out: Out,
    to: Annotated[
        str | None, typer.Option(help="Folder of the report; OUT/report by default.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Only this protocol.")] = None,
    json: Json = False,
) -> None:
    """Write the table of the paper, with error bars and plots, from the probes of an output.

    Markdown, LaTeX, CSV, and one page that opens in any browser without a network.

    Example: embedlib report OUT --to report
    """
    from embedlib.catalog.places import place
    from embedlib.probes.scores import read_scores
    from embedlib.report.cautions import cautions
    from embedlib.report.facts import shipped_facts
    from embedlib.report.long_form import long_form
    from embedlib.report.paper_table import paper_table
    from embedlib.report.write import report_folder, selected, write_report

    scores = selected(read_scores(out), out=out, protocol=protocol)
    facts = shipped_facts()
    folder = place(to) if to else report_folder(out)
    origin = f"Of {out}, written {datetime.now(UTC):%Y-%m-%d}, embedlib {version('embedlib')}"
    files = write_report(scores, folder, facts=facts, origin=origin)
    if json:
        print_json(
            {
                "out": out,
                "files": files,
                "cells": long_form(paper_table(scores, facts=facts)),
                "comparisons": [asdict(each) for each in scores.comparisons],
                "ranks": [asdict(each) for each in scores.ranks],
                "controls": [asdict(each) for each in scores.controls],
                "warnings": cautions(scores),
                "notes": scores.notes,
            }
        )
        return
    show_scores(scores)
    for file in files:
        say(file)


def show_scores(scores: Scores) -> None:
    """Print the table of the paper for a terminal: warnings first, on stderr, then the rows.

    Parameters
    ----------
    scores : Scores
        Of all probes of an output.
    """
    from embedlib.report.cautions import cautions
    from embedlib.report.long_table import filled_columns
    from embedlib.report.terminal import TERMINAL_HEADER, TERMINAL_KEY, terminal_table

    for line in cautions(scores):
        print(f"warning: {line}", file=sys.stderr)
    for line in scores.notes:
        print(f"note: {line}", file=sys.stderr)
    if rows := terminal_table(scores):
        header, filled = filled_columns(TERMINAL_HEADER, rows)
        print_table(list(filled), header=header)
        say(TERMINAL_KEY)
