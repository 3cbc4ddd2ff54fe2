"""What the very probes of a sweep do on fresh draws, held against what the sweep said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
from coverage_draws import Cell, class_counts

from embedlib.errors import OutputError
from embedlib.probes.choice import choose
from embedlib.probes.probe import Probe
from embedlib.probes.records import Fit, Float64, Role, derived_seed
from embedlib.probes.saved import load_probe
from embedlib.probes.score_records import Cell as ScoredCell
from embedlib.probes.score_records import Interval
from embedlib.probes.scores import read_scores
from embedlib.probes.statistics import balanced_accuracy
from embedlib.probes.table import kept_probe_place, read_fits

N_FRESH: Final = 20_000
"""Draws for each task and model, as many of each class."""

N_NULL: Final = 99_999
"""Scores of the best possible classifier that a score is held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One cell, as the sweep scores it and as it is. Accuracies are balanced, 0 to 1.

    Attributes
    ----------
    task, model : str
        Names.
    n_tracks : int
        Tracks that were scored.
    paper : float
        Five-fold accuracy of the paper.
    bayes : float
        What no classifier exceeds.
    five_fold : float
        What the sweep says.
    low, high : float
        Its 95 % interval.
    true : float
        Accuracy of the probes of all folds on fresh draws, mean over the folds.
    p_above : float
        Chance that the best possible classifier scores `five_fold` or more on as many tracks.
    """

    task: str
    model: str
    n_tracks: int
    paper: float
    bayes: float
    five_fold: float
    low: float
    high: float
    true: float
    p_above: float

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds what is true."""
        return self.true in Interval(self.low, self.high)


def judge(out: Path, cells: Sequence[Cell]) -> list[Verdict]:
    """Judge all cells of a sweep that kept its probes.

    Parameters
    ----------
    out : Path
        The output folder.
    cells : sequence of Cell
        What its embeddings were drawn from.

    Returns
    -------
    verdicts : list of Verdict
        In the order of `cells`.

    Raises
    ------
    OutputError
        If a cell was not scored, or a probe is missing or damaged.
    """
    scored = {(each.task, each.model): each for each in read_scores(out).cells}
    chosen = chosen_fits(read_fits(out))
    if missing := [cell for cell in cells if (cell.task, cell.model) not in scored]:
        raise OutputError(
            f"{out} has no score of {missing[0].model} on {missing[0].task}",
            fix="run the sweep to its end",
        )
    return [
        _verdict(cell, scored[cell.task, cell.model], _probes(out, chosen[cell.task, cell.model]))
        for cell in cells
    ]


def _verdict(cell: Cell, scored: ScoredCell, probes: Sequence[Probe]) -> Verdict:
    return Verdict(
        task=cell.task,
        model=cell.model,
        n_tracks=scored.n_scored,
        paper=cell.paper,
        bayes=cell.bayes,
        five_fold=scored.five_fold,
        low=scored.interval.low,
        high=scored.interval.high,
        true=true_accuracy(probes, cell),
        p_above=p_above_bayes(scored.five_fold, cell),
    )


def _probes(out: Path, fits: Sequence[Fit]) -> list[Probe]:
    return [load_probe(kept_probe_place(out, fit.fit_id))[0] for fit in fits]


def chosen_fits(fits: Sequence[Fit]) -> Mapping[tuple[str, str], list[Fit]]:
    """Pick the chosen fit of each fold of the first split.

    Parameters
    ----------
    fits : sequence of Fit
        Of an output with one split and protocol.

    Returns
    -------
    chosen : mapping of (str, str) to list of Fit
        By task and model, in the order of the folds.
    """
    first = [fit for fit in fits if fit.key.role is Role.CV and fit.key.repeat == 0]
    by_fold: dict[tuple[str, str], dict[int, list[Fit]]] = {}
    for fit in first:
        cell = by_fold.setdefault((fit.key.task, fit.key.model), {})
        cell.setdefault(fit.key.fold, []).append(fit)
    return {key: [choose(cell[fold]) for fold in sorted(cell)] for key, cell in by_fold.items()}


def true_accuracy(probes: Sequence[Probe], cell: Cell, *, n_fresh: int = N_FRESH) -> float:
    """Give the balanced accuracy of probes on draws that none of them has seen.

    Parameters
    ----------
    probes : sequence of Probe
        Of all folds.
    cell : Cell
        What they were trained for.
    n_fresh : int, optional
        How many to draw.

    Returns
    -------
    accuracy : float
        Mean over the probes.
    """
    y = np.arange(n_fresh) % len(cell.classes)
    x = cell.draw(y, purpose="fresh")
    return fmean(balanced_accuracy(y, probe.probabilities(x).argmax(axis=1)) for probe in probes)


def p_above_bayes(five_fold: float, cell: Cell, *, n_null: int = N_NULL) -> float:
    """Say how often the best possible classifier would score so high by chance.

    Parameters
    ----------
    five_fold : float
        Balanced accuracy that was scored.
    cell : Cell
        The cell.
    n_null : int, optional
        Scores to draw.

    Returns
    -------
    p : float
        One-sided; at least ``1 / (n_null + 1)``.
    """
    counts = class_counts(cell.n_tracks, len(cell.classes))
    rng = np.random.default_rng(derived_seed("null", cell.seed, cell.task, cell.model))
    recalls: Float64 = rng.binomial(counts, cell.bayes, size=(n_null, len(counts))) / counts
    n_as_high = int((recalls.mean(axis=1) >= five_fold - 1e-12).sum())
    return (1 + n_as_high) / (1 + n_null)
