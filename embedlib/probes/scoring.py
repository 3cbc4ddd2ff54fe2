"""Select the fits that scores are made of: complete, of one state of the data, chosen per fold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from embedlib.probes.choice import choose
from embedlib.probes.records import Fit, Int, Role, Split


class CellKey(NamedTuple):
    """What is scored together; sorts as reports show it.

    Attributes
    ----------
    protocol : str
        Name.
    split : Split
        How folds were made.
    task, model : str
        Names.
    """

    protocol: str
    split: Split
    task: str
    model: str

    def __str__(self) -> str:
        return f"{self.task} with {self.model} ({self.protocol}, {self.split})"


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What was predicted of the tracks of a cohort that were tested.

    Attributes
    ----------
    index : np.ndarray [shape=(n_tracks,), int64]
        Of the tracks in the cohort, sorted.
    truth, predicted : np.ndarray [shape=(n_tracks,), int64]
        Classes.
    """

    index: Int
    truth: Int
    predicted: Int


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A split, or a shuffle, of which every fold was fitted.

    Attributes
    ----------
    number : int >= 0
        Of the split, or of the shuffle.
    fits : tuple of Fit
        The chosen one of each fold, in their order.
    """

    number: int
    fits: tuple[Fit, ...]

    @property
    def predictions(self) -> Predictions:
        """Test predictions of all folds together."""
        index = np.concatenate([fit.test_index for fit in self.fits])
        order = np.argsort(index)
        truth = np.concatenate([fit.truth for fit in self.fits])
        predicted = np.concatenate([fit.predicted for fit in self.fits])
        return Predictions(index[order], truth[order], predicted[order])


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """The fits of one cell that count.

    Attributes
    ----------
    runs : tuple of Run
        Complete ones by their number; none where nothing is complete.
    notes : tuple of str
        What was left out.
    """

    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()


def by_cell(fits: Iterable[Fit], *, role: Role) -> dict[CellKey, list[Fit]]:
    """Sort the fits of one role into cells.

    Parameters
    ----------
    fits : iterable of Fit
        In any order.
    role : Role
        What they are for.

    Returns
    -------
    fits : dict of CellKey to list of Fit
        Sorted by key; those of a cell in the order in which they came.
    """
    found: dict[CellKey, list[Fit]] = defaultdict(list)
    for fit in fits:
        if fit.key.role is role:
            key = fit.key
            found[CellKey(key.protocol, key.split, key.task, key.model)].append(fit)
    return dict(sorted(found.items()))


def select(key: CellKey, fits: Sequence[Fit]) -> Selected:
    """Select what counts of one cell.

    Parameters
    ----------
    key : CellKey
        For the notes.
    fits : sequence of Fit
        Of the cell and of one role other than `Role.EXTERNAL`, in the order of the table.

    Returns
    -------
    selected : Selected
        Of the labels, embeddings, folds and schedule that came last, or else last of those whose
        first split is complete.
    """
    states = _states(fits)
    chosen = next((state for state in states if _is_whole(state)), states[0])
    notes = []
    if len(states) > 1:
        notes.append(
            f"{key}: fitted on {len(states)} states of labels, embeddings or settings; the scores "
            "are of the newest complete one"
        )
    runs, gaps = _runs(chosen)
    if gaps:
        notes.append(f"{key}: not fitted: {', '.join(gaps)}; run the sweep to its end")
    return Selected(runs, tuple(notes))


def external_fit(fits: Sequence[Fit], *, like: Fit) -> Fit | None:
    """Find the fit that was scored on an external set.

    Parameters
    ----------
    fits : sequence of Fit
        Of the cell and of `Role.EXTERNAL`, in the order of the table.
    like : Fit
        Any fit that counts of the cell.

    Returns
    -------
    fit : Fit or None
        The last one of the same labels, embeddings and number of folds.
    """
    return next((fit for fit in reversed(fits) if _data(fit) == _data(like)), None)


def _data(fit: Fit) -> tuple[str, str, int]:
    return fit.cohort_id, fit.embeddings_id, fit.key.n_folds


def _number(fit: Fit) -> int:
    return fit.key.shuffle if fit.key.role is Role.CONTROL else fit.key.repeat


def _states(fits: Sequence[Fit]) -> list[list[Fit]]:
    """Part fits by what went in; the part of the last fit comes first."""
    found: dict[tuple[object, ...], list[Fit]] = {}
    for fit in reversed(fits):
        found.setdefault((*_data(fit), fit.schedule), []).append(fit)
    return list(found.values())


def _by_fold(fits: Sequence[Fit]) -> dict[int, dict[int, list[Fit]]]:
    """Sort final fits by the number of their run, of which the first is always there, and fold."""
    numbers = sorted({0, *(_number(fit) for fit in fits)})
    found: dict[int, dict[int, list[Fit]]] = {number: defaultdict(list) for number in numbers}
    for fit in fits:
        if fit.is_final:
            found[_number(fit)][fit.key.fold].append(fit)
    return found


def _missing(folds: Iterable[int], *, like: Fit) -> list[int]:
    return sorted(set(range(like.key.n_folds)) - set(folds))


def _is_whole(fits: Sequence[Fit]) -> bool:
    """Whether the first run, which is the one that is reported, has all folds."""
    return not _missing(_by_fold(fits)[0], like=fits[0])


def _runs(fits: Sequence[Fit]) -> tuple[tuple[Run, ...], list[str]]:
    """Choose one fit per fold of each complete run, and name the folds that others lack."""
    runs, gaps = [], []
    for number, folds in _by_fold(fits).items():
        if missing := _missing(folds, like=fits[0]):
            name = "shuffle" if fits[0].key.role is Role.CONTROL else "split"
            gaps.append(f"fold {'+'.join(map(str, missing))} of {name} {number}")
        else:
            runs.append(Run(number, tuple(choose(folds[fold]) for fold in sorted(folds))))
    return tuple(runs), gaps
