"""The table of the paper as records: lines of tasks, columns of models, what is best in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from embedlib.probes.records import Split
from embedlib.probes.score_records import Cell, Comparison, Control, Scores
from embedlib.report.facts import Facts
from embedlib.report.numbers import points
from embedlib.tasks.paper import PaperScore

SIGNIFICANCE = 0.05
"""A model is no worse than the best one where Holm's p is at least this."""


class Standing(StrEnum):
    """How a result compares to the others of its line; apart: not, for its labels are others."""

    BEST = "best"
    CLOSE = "close"
    OTHER = "other"
    APART = "apart"


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in one line.

    Attributes
    ----------
    cell : Cell
        Its scores.
    standing : Standing
        Of its 5F.
    external_standing : Standing
        Of its JD: best, other or apart, for nothing tests JD.
    paper : PaperScore or None
        What the paper says of the model on the task.
    """

    cell: Cell
    standing: Standing
    external_standing: Standing
    paper: PaperScore | None

    @property
    def remark(self) -> str:
        """What sets it apart, in words; empty where nothing does."""
        if self.standing is not Standing.APART:
            return ""
        return f"other labels, n = {self.cell.n_tracks:,}"

    @property
    def paper_five_fold(self) -> float | None:
        """5F of the paper, as a fraction."""
        return None if self.paper is None else self.paper.five_fold_pct / 100

    @property
    def paper_external(self) -> float | None:
        """JD of the paper, as a fraction: of other data."""
        if self.paper is None or self.paper.external_pct is None:
            return None
        return self.paper.external_pct / 100

    @property
    def difference(self) -> float | None:
        """Our 5F less that of the paper, as a fraction."""
        theirs = self.paper_five_fold
        return None if theirs is None else self.cell.five_fold - theirs


@dataclass(frozen=True, slots=True)
class Line:
    """One task under one protocol and split.

    Attributes
    ----------
    task, group : str
        Names.
    protocol : str
        Name of the protocol.
    split : Split
        How folds were made.
    n_found : int
        Labelled tracks that the catalogue holds.
    n_expected : int or None
        Tracks that the paper counts.
    unit : str
        What they are.
    chance : float
        Balanced accuracy of guessing: 1 / number of classes that have tracks.
    shuffled : float or None
        Mean balanced accuracy of controls, whose labels are shuffled; None without any.
    entries : tuple of Entry or None
        In the order of the models of the table; None where there is no score.
    """

    task: str
    group: str
    protocol: str
    split: Split
    n_found: int
    n_expected: int | None
    unit: str
    chance: float
    shuffled: float | None
    entries: tuple[Entry | None, ...]

    @property
    def variant(self) -> str:
        """Protocol and split in words."""
        return f"{self.protocol}, {self.split}"

    @property
    def size(self) -> str:
        """Tracks found, against those expected where that is known."""
        if self.n_expected is None:
            return f"{self.n_found:,} {self.unit}"
        return f"{self.n_found:,} of {self.n_expected:,} {self.unit}"

    @property
    def floor(self) -> str:
        """What no probe should fall below, in percent."""
        chance = f"chance {points(self.chance)}"
        return chance if self.shuffled is None else f"{chance}, shuffled {points(self.shuffled)}"

    @property
    def is_off_size(self) -> bool:
        """Whether it is not the number of tracks that the paper counts."""
        return self.n_expected not in (None, self.n_found)

    @property
    def scored(self) -> tuple[Entry, ...]:
        """The entries that are there."""
        return tuple(entry for entry in self.entries if entry is not None)


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The table of the paper.

    Attributes
    ----------
    models : tuple of str
        Its columns.
    lines : tuple of Line
        By group and task; the variants of a task one below the other.
    """

    models: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def has_external(self) -> bool:
        """Whether any entry has a JD."""
        return any(entry.cell.external is not None for entry in self.entries)

    @property
    def has_paper(self) -> bool:
        """Whether the paper has a number of any entry."""
        return any(entry.paper is not None for entry in self.entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, line by line."""
        return tuple(entry for line in self.lines for entry in line.scored)


def paper_table(scores: Scores, *, facts: Facts) -> PaperTable:
    """Arrange scores as the paper does.

    Parameters
    ----------
    scores : Scores
        All of them.
    facts : Facts
        Order, sizes, and the paper's numbers.

    Returns
    -------
    table : PaperTable
        Empty without cells.
    """
    models = tuple(sorted({cell.model for cell in scores.cells}, key=facts.model_place))
    by_line: dict[tuple[str, str, Split], dict[str, Cell]] = {}
    for cell in scores.cells:
        by_line.setdefault((cell.task, cell.protocol, cell.split), {})[cell.model] = cell
    keys = sorted(by_line, key=lambda key: (facts.task_place(key[0]), key[1:]))
    return PaperTable(
        models,
        tuple(_line(by_line[key], models, scores=scores, facts=facts) for key in keys),
    )


def _line(
    cells: Mapping[str, Cell],
    models: tuple[str, ...],
    *,
    scores: Scores,
    facts: Facts,
) -> Line:
    any_cell = next(iter(_comparable(cells).values()))
    known = facts.tasks.get(any_cell.task)
    entries = _entries(cells, comparisons=scores.comparisons, facts=facts)
    return Line(
        task=any_cell.task,
        group=facts.group(any_cell.task),
        protocol=any_cell.protocol,
        split=any_cell.split,
        n_found=max(cell.n_tracks for cell in _comparable(cells).values()),
        n_expected=known.size if known else None,
        unit=known.unit if known else "tracks",
        chance=1 / sum(any(row) for row in any_cell.confusion),
        shuffled=_shuffled(any_cell, controls=scores.controls),
        entries=tuple(entries.get(model) for model in models),
    )


def _shuffled(line: Cell, *, controls: Iterable[Control]) -> float | None:
    means = [
        each.mean
        for each in controls
        if (each.task, each.protocol, each.split) == (line.task, line.protocol, line.split)
    ]
    return fmean(means) if means else None


def _entries(
    cells: Mapping[str, Cell], *, comparisons: Iterable[Comparison], facts: Facts
) -> dict[str, Entry]:
    compared = _comparable(cells)
    best = max(cell.five_fold for cell in compared.values())
    externals = sorted(cell.external for cell in compared.values() if cell.external is not None)
    best_models = {model for model, cell in compared.items() if cell.five_fold == best}
    close = _equals(best_models, next(iter(cells.values())), comparisons=comparisons)

    def standing(cell: Cell, *, is_best: bool, is_close: bool = False) -> Standing:
        return _standing(is_best, is_close) if cell.model in compared else Standing.APART

    return {
        model: Entry(
            cell=cell,
            standing=standing(cell, is_best=model in best_models, is_close=model in close),
            external_standing=standing(cell, is_best=cell.external in externals[-1:]),
            paper=facts.paper.get((cell.task, model)),
        )
        for model, cell in cells.items()
    }


def _comparable(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Leave out what was scored on other labels than the line."""
    return {model: cell for model, cell in cells.items() if not cell.has_other_labels}


def _equals(best_models: set[str], line: Cell, *, comparisons: Iterable[Comparison]) -> set[str]:
    """Models that no test tells from the best ones of a line."""
    pairs = [
        (each.model_a, each.model_b)
        for each in comparisons
        if (each.task, each.protocol, each.split) == (line.task, line.protocol, line.split)
        and each.p_holm >= SIGNIFICANCE
    ]
    return {name for pair in pairs for name in pair if not best_models.isdisjoint(pair)}


def _standing(is_best: bool, is_close: bool) -> Standing:
    if is_best:
        return Standing.BEST
    return Standing.CLOSE if is_close else Standing.OTHER
