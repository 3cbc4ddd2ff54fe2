"""Score one model on one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from embedlib.probes.records import Fit, Float64, Int, derived_seed
from embedlib.probes.score_records import Cell, Interval
from embedlib.probes.scoring import CellKey, Predictions, Run, Selected
from embedlib.probes.statistics import (
    accuracy_draws,
    balanced_accuracy,
    confusion_matrix,
    count_units,
    interval_of,
)
from embedlib.tasks.cohort import Cohort

ASHA = "asha"
"""Schedule whose choices depend on the order in which trials end."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredCell:
    """A cell with what comparisons need beside it.

    Attributes
    ----------
    key : CellKey
        What it is.
    cell : Cell
        Its scores.
    cohort : Cohort
        The labelled tracks.
    predictions : Predictions
        Of the split that is reported.
    external : Fit or None
        What was scored on an external set.
    notes : tuple of str
        What a reader must know beside the numbers.
    """

    key: CellKey
    cell: Cell
    cohort: Cohort
    predictions: Predictions
    external: Fit | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """The accuracy of one set of tracks, with draws of it."""

    accuracy: float
    interval: Interval
    draws: Float64
    confusion: tuple[tuple[int, ...], ...]
    n_tracks: int


def score_cell(
    key: CellKey,
    selected: Selected,
    external: Fit | None,
    *,
    cohorts: Mapping[str, Cohort],
    seed: int,
) -> ScoredCell | None:
    """Score one model on one task.

    Parameters
    ----------
    key : CellKey
        What it is.
    selected : Selected
        The fits that count.
    external : Fit or None
        The fit that was scored on an external set.
    cohorts : mapping of str to Cohort
        Labelled tracks by their id.
    seed : int
        Of all scores; the draws of this cell depend on its key beside it.

    Returns
    -------
    scored : ScoredCell or None
        None where the split that is reported lacks a fold, or no track was tested.
    """
    if not selected.runs or selected.runs[0].number != 0:
        return None
    reported = selected.runs[0]
    cohort, predictions = cohorts[reported.fits[0].cohort_id], reported.predictions
    if not len(predictions.index):
        return None
    inside = _judge(predictions, cohort, seed=derived_seed("interval", *key, seed))
    tested = None if external is None else cohorts[external.test_cohort_id]
    outside = None
    if external is not None and tested is not None and len(external.test_index):
        found = Predictions(external.test_index, external.truth, external.predicted)
        outside = _judge(found, tested, seed=derived_seed("external", *key, seed))
    cell = _cell(key, selected.runs, cohort, inside, outside)
    notes = _notes(cell, cohort, predictions.truth, tested, external)
    return ScoredCell(key, cell, cohort, predictions, external, tuple(notes))


def _judge(found: Predictions, cohort: Cohort, *, seed: int) -> _Judged:
    counted = count_units(cohort.units[found.index], found.truth, found.predicted)
    draws = accuracy_draws(counted, seed=seed)
    confusion = confusion_matrix(found.truth, found.predicted, n_classes=len(cohort.classes))
    return _Judged(
        accuracy=counted.accuracy,
        interval=interval_of(draws, counted.accuracy),
        draws=draws,
        confusion=tuple(map(tuple, confusion.tolist())),
        n_tracks=len(found.index),
    )


def _cell(
    key: CellKey, runs: Sequence[Run], cohort: Cohort, inside: _Judged, outside: _Judged | None
) -> Cell:
    reported = runs[0].fits
    used = list(chain.from_iterable(run.fits for run in runs))
    repeats = [run_accuracy(run) for run in runs]
    drop = None if outside is None else inside.accuracy - outside.accuracy
    return Cell(
        task=key.task,
        model=key.model,
        protocol=key.protocol,
        split=key.split,
        classes=cohort.classes,
        n_tracks=len(cohort),
        n_scored=inside.n_tracks,
        five_fold=inside.accuracy,
        interval=inside.interval,
        fold_std=_fold_std(reported),
        n_repeats=len(runs),
        repeat_std=float(np.std(repeats, ddof=1)) if len(runs) > 1 else None,
        external=outside.accuracy if outside else None,
        external_interval=outside.interval if outside else None,
        n_external=outside.n_tracks if outside else 0,
        drop=drop,
        drop_interval=_drop_interval(inside, outside),
        confusion=inside.confusion,
        external_confusion=outside.confusion if outside else None,
        chosen=tuple(fit.key.params for fit in reported),
        curves=tuple(fit.val_curve for fit in reported),
        train_curves=tuple(fit.train_curve for fit in reported),
        is_reproducible=all(fit.schedule != ASHA for fit in used),
        fingerprint=reported[-1].fingerprint,
        table_versions=tuple(sorted({fit.table_version for fit in used})),
    )


def run_accuracy(run: Run) -> float:
    """Score one split, or one shuffle.

    Parameters
    ----------
    run : Run
        With at least one tested track.

    Returns
    -------
    accuracy : float
        Balanced accuracy of the test predictions of all folds together.
    """
    found = run.predictions
    return balanced_accuracy(found.truth, found.predicted)


def _fold_std(fits: Sequence[Fit]) -> float:
    """Deviate as the paper's code does: `numpy.std` of the folds, divisor their number."""
    accuracies = [balanced_accuracy(fit.truth, fit.predicted) for fit in fits if len(fit.truth)]
    return float(np.std(accuracies))


def _drop_interval(inside: _Judged, outside: _Judged | None) -> Interval | None:
    if outside is None:
        return None
    return interval_of(inside.draws - outside.draws, inside.accuracy - outside.accuracy)


def _notes(
    cell: Cell, cohort: Cohort, truth: Int, tested: Cohort | None, external: Fit | None
) -> Iterator[str]:
    if lost := cell.n_tracks - cell.n_scored:
        yield (
            f"{cell.task}: {lost} of {cell.n_tracks} tracks have no embedding of {cell.model} and "
            "are not scored"
        )
    yield from _absent(cell.task, cohort, truth)
    if tested is None or external is None:
        return
    name = f"external set of {cell.task}"
    if not len(external.truth):
        yield f"{name}: no track has an embedding of {cell.model}, so that there is no score"
        return
    if lost := len(tested) - len(external.truth):
        yield (
            f"{name}: {lost} of {len(tested)} tracks have no embedding of {cell.model} and are not "
            "scored"
        )
    yield from _absent(name, tested, external.truth)


def _absent(name: str, cohort: Cohort, truth: Int) -> Iterator[str]:
    """Say which classes the balanced accuracy leaves out."""
    absent = [cohort.classes[y] for y in sorted(set(range(len(cohort.classes))) - set(truth))]
    if absent:
        yield (
            f"{name}: no scored track is of {', '.join(absent)}; the balanced accuracy is over the "
            f"other {len(cohort.classes) - len(absent)} of {len(cohort.classes)} classes"
        )
