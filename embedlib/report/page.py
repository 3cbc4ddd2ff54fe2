"""The report as one page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

from typing import Final

from embedlib.probes.score_records import Scores
from embedlib.report.cautions import cautions
from embedlib.report.facts import Facts
from embedlib.report.legend import legend
from embedlib.report.long_table import HEADER, filled_columns, long_table
from embedlib.report.numbers import points, signed, span
from embedlib.report.other_tables import (
    COMPARISON_HEADER,
    COMPARISON_SENTENCE,
    CONTROL_HEADER,
    CONTROL_SENTENCE,
    ORIGIN_HEADER,
    comparison_table,
    control_table,
    origin_table,
)
from embedlib.report.paper_table import PaperTable
from embedlib.report.plots import rank_panels, task_plots
from embedlib.report.templating import environment, sealed, template_text

TEXT_COLUMNS: Final = frozenset(
    ("Task", "Protocol", "Model", "Model A", "Model B", "Chosen", "Verdict", "Fingerprint")
)
"""Columns that sort as texts, and align to the left."""


def page_text(table: PaperTable, scores: Scores, *, facts: Facts, origin: str = "") -> str:
    """Write the page.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.
    scores : Scores
        What stands around it.
    facts : Facts
        Sources of the tasks.
    origin : str, optional
        What it was made from, when and by what; not escaped.

    Returns
    -------
    text : str
        HTML, `sealed`.
    """
    pages = environment()
    pages.filters |= {"points": points, "signed": signed, "span": span}
    return pages.get_template("page.html.j2").render(
        sealed(script=template_text("page.js"), style=template_text("page.css")),
        table=table,
        scores=scores,
        summary=_summary(table),
        origin=origin,
        metrics=("5F", "JD", "AD") if table.has_external else ("5F",),
        anchors={
            task: n for n, task in enumerate(dict.fromkeys(line.task for line in table.lines))
        },
        cautions=cautions(scores),
        legend=legend(table),
        ranks=rank_panels(scores.ranks),
        tasks=task_plots(table, facts=facts),
        text_columns=TEXT_COLUMNS,
        numbers=filled_columns(HEADER, long_table(table)),
        comparisons=(COMPARISON_HEADER, comparison_table(scores.comparisons)),
        comparison_sentence=COMPARISON_SENTENCE,
        controls=(CONTROL_HEADER, control_table(scores.controls)),
        control_sentence=CONTROL_SENTENCE,
        origins=(ORIGIN_HEADER, origin_table(scores.cells)),
    )


def _summary(table: PaperTable) -> str:
    counts = (
        (len({line.task for line in table.lines}), "task", "tasks"),
        (len(table.models), "model", "models"),
        (len(table.entries), "cell", "cells"),
    )
    variants = " and ".join(sorted({f"{line.protocol} ({line.split})" for line in table.lines}))
    numbers = ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts)
    return f"{numbers}. Protocol and split: {variants}."
