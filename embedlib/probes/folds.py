"""Deal the tracks of a task to folds, before any embedding is looked at.

All models of a task therefore have the same folds. Fold f tests, the next one validates, and the
others train.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from embedlib.errors import ConfigError
from embedlib.probes.records import Int, Parts, Split, derived_seed
from embedlib.tasks.cohort import Cohort

MIN_FOLDS = 3  # one tests, one validates, one trains


def assign_folds(cohort: Cohort, *, n_folds: int, repeat: int, split: Split) -> Int:
    """Deal tracks to folds.

    Parameters
    ----------
    cohort : Cohort
        Labelled tracks; their order does not matter.
    n_folds : int >= 3
        Folds; for `Split.OFFICIAL` as many as the data set publishes.
    repeat : int >= 0
        Another number gives other folds; 0 for `Split.OFFICIAL`.
    split : Split
        ``stratified``: the counts of a class in two folds differ by one at most. ``grouped``:
        tracks of one group are in one fold, and classes about as even as that allows; the same
        as ``stratified`` where no two tracks share a group. ``official``: the published folds.

    Returns
    -------
    folds : np.ndarray [shape=(n_tracks,), int64]
        From 0; each class is in each fold.

    Raises
    ------
    ConfigError
        When a class would be missing from a fold, or the published folds cannot be had.
    """
    if split is Split.OFFICIAL:
        _require_published(cohort, n_folds=n_folds, repeat=repeat)
    if n_folds < MIN_FOLDS:
        raise ConfigError(
            f"n_folds={n_folds} leaves nothing to train on, for one fold tests and one validates",
            fix=f"give at least {MIN_FOLDS}",
        )
    if split is Split.OFFICIAL:
        folds = np.array(cohort.folds, dtype=np.int64)
    else:
        folds = _dealt(cohort, n_folds=n_folds, repeat=repeat, is_grouped=split is Split.GROUPED)
    _require_all_classes(cohort, folds, n_folds=n_folds)
    return folds


def fold_parts(folds: Int, *, fold: int, has_vectors: NDArray[np.bool_]) -> Parts:
    """Choose what tests, validates and trains.

    Parameters
    ----------
    folds : np.ndarray [shape=(n_tracks,), int64]
        Fold of each track, from 0.
    fold : int
        The one that tests; the next one validates, and after the last comes the first.
    has_vectors : np.ndarray [shape=(n_tracks,), bool]
        Tracks without an embedding are in no part.

    Returns
    -------
    parts : Parts
        Indices of tracks.

    Examples
    --------
    >>> parts = fold_parts(np.array([0, 1, 2, 0]), fold=2, has_vectors=np.ones(4, dtype=bool))
    >>> parts.test, parts.val, parts.train
    (array([2]), array([0, 3]), array([1]))
    """
    is_test = folds == fold
    is_val = folds == (fold + 1) % (folds.max() + 1)
    roles = (~is_test & ~is_val, is_val, is_test)
    return Parts(*(np.flatnonzero(role & has_vectors) for role in roles))


def shuffled(cohort: Cohort, *, shuffle: int) -> Cohort:
    """Permute the labels, for a control that must score at chance.

    Parameters
    ----------
    cohort : Cohort
        Labelled tracks.
    shuffle : int
        Another number gives another permutation; -1: the true labels.

    Returns
    -------
    cohort : Cohort
        The same tracks, groups and folds.
    """
    if shuffle < 0:
        return cohort
    rng = np.random.default_rng(derived_seed("labels", cohort.task, shuffle))
    order = _sorted_order(cohort)
    y = np.empty_like(cohort.y)
    y[order] = rng.permutation(cohort.y[order])
    return replace(cohort, y=y)


def _require_published(cohort: Cohort, *, n_folds: int, repeat: int) -> None:
    if not cohort.folds or min(cohort.folds) < 0:
        raise ConfigError(
            f"{cohort.task}: not every track has a published fold", fix="give another split"
        )
    if max(cohort.folds) + 1 != n_folds:
        raise ConfigError(
            f"{cohort.task}: n_folds={n_folds}, but its data set publishes other folds",
            fix=f"give n_folds={max(cohort.folds) + 1}",
        )
    if repeat:
        raise ConfigError(
            f"{cohort.task}: repeat={repeat}, but published folds are only one split",
            fix="give repeat=0",
        )


def _dealt(cohort: Cohort, *, n_folds: int, repeat: int, is_grouped: bool) -> Int:
    order = _sorted_order(cohort)
    y, units = cohort.y[order], cohort.units[order]
    has_groups = is_grouped and len(np.unique(units)) < len(units)
    _require_enough(cohort, y, units if has_groups else np.arange(len(y)), n_folds=n_folds)
    kind = StratifiedGroupKFold if has_groups else StratifiedKFold
    splitter = kind(n_folds, shuffle=True, random_state=derived_seed("folds", cohort.task, repeat))
    folds = np.empty(len(y), dtype=np.int64)
    for fold, (_, tested) in enumerate(splitter.split(y, y, units if has_groups else None)):
        folds[order[tested]] = fold
    return folds


def _sorted_order(cohort: Cohort) -> Int:
    return np.array(sorted(range(len(cohort)), key=cohort.track_ids.__getitem__), dtype=np.int64)


def _require_enough(cohort: Cohort, y: Int, units: Int, *, n_folds: int) -> None:
    """Refuse a class with fewer units (groups, or tracks on their own) than folds."""
    for number, name in enumerate(cohort.classes):
        n_units = len(np.unique(units[y == number]))
        if n_units < n_folds:
            what = "tracks" if len(np.unique(units)) == len(units) else "groups"
            raise ConfigError(
                f"{cohort.task}: class {name!r} has {n_units} {what} for {n_folds} folds",
                fix="add tracks, drop the class, or give fewer folds",
            )


def _require_all_classes(cohort: Cohort, folds: Int, *, n_folds: int) -> None:
    for number, name in enumerate(cohort.classes):
        counts = np.bincount(folds[cohort.y == number], minlength=n_folds)
        if not counts.all():
            raise ConfigError(
                f"{cohort.task}: class {name!r} is missing from fold {int(np.argmin(counts))}",
                fix="give another split, or fewer folds",
            )
