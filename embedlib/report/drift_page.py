"""A drift report as one page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

from embedlib.catalog.stores import Place
from embedlib.report.drift_figure import durations_svg
from embedlib.report.drift_records import Drift
from embedlib.report.drift_tables import (
    GROUPS_SENTENCE,
    SHIFT_SENTENCE,
    TEXT_COLUMNS,
    by_durations,
    count_table,
    duration_table,
    failure_table,
    group_table,
    new_group_table,
    shift_table,
)
from embedlib.report.drift_text import alarms, side_text
from embedlib.report.plots import Panel
from embedlib.report.svg import styled
from embedlib.report.templating import environment, sealed, template_text
from embedlib.tables.durable import refusals, whole_file


def drift_page_text(drift: Drift) -> str:
    """Write the page.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    text : str
        HTML, `sealed`.
    """
    style = template_text("page.css") + template_text("drift.css")
    return (
        environment()
        .get_template("drift.html.j2")
        .render(
            sealed(script=template_text("page.js"), style=style),
            before=side_text(drift.first),
            after=side_text(drift.second),
            alarms=alarms(drift),
            notes=drift.notes,
            text_columns=TEXT_COLUMNS,
            counts=count_table(drift),
            failures=failure_table(drift),
            panels=_panels(drift),
            durations=duration_table(drift),
            shifts=shift_table(drift),
            shift_sentence=SHIFT_SENTENCE,
            groups=group_table(drift),
            groups_sentence=GROUPS_SENTENCE,
            new_groups=new_group_table(drift),
        )
    )


def write_drift_page(drift: Drift, path: Place) -> None:
    """Write the page into a file, over one that is there.

    Parameters
    ----------
    drift : Drift
        All of it.
    path : Path or StorePath
        The file; its folder is made.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = drift_page_text(drift)
    with refusals(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        # A lone surrogate, from a file name that is no UTF-8, must not end the report.
        temporary.write_bytes(text.encode("utf-8", errors="replace"))


def _panels(drift: Drift) -> tuple[Panel, ...]:
    with styled():
        return tuple(
            Panel(models, durations_svg(durations, label=f"Durations of the tracks of {models}"))
            for models, durations in by_durations(drift)
            if durations.edges_s
        )
