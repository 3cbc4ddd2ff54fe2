"""Which plots a page shows, and what stands below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup

from embedlib.probes.score_records import Ranks
from embedlib.report.facts import Facts
from embedlib.report.figures import confusion_svg, curves_svg
from embedlib.report.numbers import points
from embedlib.report.other_tables import ranks_sentence
from embedlib.report.paper_table import Entry, Line, PaperTable
from embedlib.report.rank_figure import ranks_svg
from embedlib.report.svg import styled


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot and what stands below it.

    Attributes
    ----------
    caption : str
        Not escaped.
    svg : Markup
        The plot.
    """

    caption: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Multiples:
    """Plots of one kind, one for each model.

    Attributes
    ----------
    title : str
        What they are.
    panels : tuple of Panel
        In the order of the models of the table.
    """

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class TaskPlots:
    """All plots of a task.

    Attributes
    ----------
    task : str
        Its name.
    source : str
        Where its data come from, under which terms, and whom to name; empty where not known.
    tracks : str
        How many of each class were scored.
    rows : tuple of Multiples
        Protocol by protocol.
    """

    task: str
    source: str
    tracks: str
    rows: tuple[Multiples, ...]


def task_plots(table: PaperTable, *, facts: Facts) -> tuple[TaskPlots, ...]:
    """Draw confusion matrices and learning curves.

    Parameters
    ----------
    table : PaperTable
        The table of the paper.
    facts : Facts
        Sources of the tasks.

    Returns
    -------
    plots : tuple of TaskPlots
        In the order of the table.
    """
    lines: dict[str, list[Line]] = {}
    for line in table.lines:
        lines.setdefault(line.task, []).append(line)
    with styled():
        return tuple(
            TaskPlots(
                task,
                _source(task, facts=facts),
                _tracks(group[0]),
                tuple(multiples for line in group for multiples in _multiples(line)),
            )
            for task, group in lines.items()
        )


def rank_panels(ranks: Iterable[Ranks]) -> tuple[Panel, ...]:
    """Draw critical-difference diagrams.

    Parameters
    ----------
    ranks : iterable of Ranks
        One for each protocol and split.

    Returns
    -------
    panels : tuple of Panel
        In their order.
    """
    with styled():
        return tuple(_rank_panel(each) for each in ranks)


def _rank_panel(ranks: Ranks) -> Panel:
    name = f"{ranks.protocol}, {ranks.split}"
    return Panel(
        f"{name}. {ranks_sentence(ranks)}",
        ranks_svg(ranks, label=f"Critical-difference diagram, {name}"),
    )


def _source(task: str, *, facts: Facts) -> str:
    known = facts.tasks.get(task)
    if known is None:
        return ""
    licence = f"Licence: {known.licence}" if known.licence else ""
    parts = (known.source, licence, known.citation)
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def _tracks(line: Line) -> str:
    """Count the tracks of each class, as the first model of the line that is comparable has it."""
    cell = next(entry.cell for entry in line.scored if not entry.remark)
    counts = zip(cell.classes, map(sum, cell.confusion), strict=True)
    return f"Tracks per class: {', '.join(f'{name} {n:,}' for name, n in counts)}."


def _multiples(line: Line) -> list[Multiples]:
    kinds: tuple[tuple[str, Callable[[Entry, str], Panel | None]], ...] = (
        ("Confusion of 5F", _confusion),
        ("Confusion of JD", _external_confusion),
        ("Learning curves", _curves),
    )
    found = [(f"{kind} · {line.variant}", tuple(_drawn(line, kind, draw))) for kind, draw in kinds]
    return [Multiples(title, panels) for title, panels in found if panels]


def _drawn(line: Line, kind: str, draw: Callable[[Entry, str], Panel | None]) -> Iterable[Panel]:
    for entry in line.scored:
        label = f"{kind}: {entry.cell.model} on {line.task}, {line.variant}"
        if (panel := draw(entry, label)) is not None:
            yield panel


def _confusion(entry: Entry, label: str) -> Panel:
    cell = entry.cell
    svg = confusion_svg(cell.confusion, classes=cell.classes, label=label)
    return Panel(f"{cell.model}, {points(cell.five_fold)} %", svg)


def _external_confusion(entry: Entry, label: str) -> Panel | None:
    cell = entry.cell
    if cell.external_confusion is None:
        return None
    svg = confusion_svg(cell.external_confusion, classes=cell.classes, label=label)
    return Panel(f"{cell.model}, {points(cell.external)} %", svg)


def _curves(entry: Entry, label: str) -> Panel | None:
    cell = entry.cell
    if not any((*cell.curves, *cell.train_curves)):
        return None
    return Panel(cell.model, curves_svg(cell, label=label))
