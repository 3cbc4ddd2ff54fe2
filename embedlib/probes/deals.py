"""How the tracks of a task are dealt to folds, before any embedding is looked at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from embedlib.errors import ConfigError
from embedlib.probes.folds import assign_folds, shuffled
from embedlib.probes.records import Int, Protocol, Split
from embedlib.probes.settings import SweepConfig
from embedlib.tasks.cohort import Cohort


@dataclass(frozen=True, slots=True, eq=False)
class Deal:
    """The folds of one split of a task.

    Attributes
    ----------
    split : Split
        How they were made.
    repeat, shuffle : int
        As in `FitKey`.
    n_folds : int
        Their number.
    folds : np.ndarray [shape=(n_tracks,), int64]
        Fold of each track.
    """

    split: Split
    repeat: int
    shuffle: int
    n_folds: int
    folds: Int

    @property
    def folds_id(self) -> str:
        """Hash of the folds."""
        return hashlib.sha256(np.ascontiguousarray(self.folds).data).hexdigest()[:16]


def splits_of(cohort: Cohort, *, protocol: Protocol, config: SweepConfig) -> tuple[Split, ...]:
    """Say how the tracks of a task are dealt.

    Parameters
    ----------
    cohort : Cohort
        The labelled tracks.
    protocol : Protocol
        Which says whether groups stay together, where the configuration does not.
    config : SweepConfig
        Its `folds` and `groups`.

    Returns
    -------
    splits : tuple of Split
        One, or two where both are wanted and groups are known.
    """
    if config.folds == "official":
        return (Split.OFFICIAL,)
    if not cohort.groups or config.groups == "ignore":
        return (Split.STRATIFIED,)
    if config.groups == "both":
        return Split.STRATIFIED, Split.GROUPED
    is_grouped = config.groups == "keep" or protocol.is_grouped
    return (Split.GROUPED if is_grouped else Split.STRATIFIED,)


def deals(cohort: Cohort, *, split: Split, config: SweepConfig) -> tuple[Deal, ...]:
    """Deal the tracks of a task, once for each repeat.

    Parameters
    ----------
    cohort : Cohort
        The labelled tracks.
    split : Split
        How; published folds are dealt once.
    config : SweepConfig
        Its `folds` and `repeats`.

    Returns
    -------
    deals : tuple of Deal
        By repeat.

    Raises
    ------
    ConfigError
        If a class would be missing from a fold.
    """
    n_repeats = 1 if split is Split.OFFICIAL else config.repeats
    return tuple(
        _deal(cohort, split=split, repeat=repeat, shuffle=-1, config=config)
        for repeat in range(n_repeats)
    )


def control_deals(cohort: Cohort, *, split: Split, config: SweepConfig) -> tuple[Deal, ...]:
    """Deal the tracks of a task with shuffled labels, once for each shuffle.

    Parameters
    ----------
    cohort : Cohort
        The labelled tracks, with their true labels.
    split : Split
        How.
    config : SweepConfig
        Its `folds` and `controls`.

    Returns
    -------
    deals : tuple of Deal
        By shuffle. Where groups or published folds are given, a shuffle may leave a fold without
        some class: it is left out.
    """
    found = []
    for shuffle in range(config.controls):
        labels = shuffled(cohort, shuffle=shuffle)
        try:
            found.append(_deal(labels, split=split, repeat=0, shuffle=shuffle, config=config))
        except ConfigError:
            continue
    return tuple(found)


def _deal(cohort: Cohort, *, split: Split, repeat: int, shuffle: int, config: SweepConfig) -> Deal:
    if config.folds != "official":
        n_folds = config.folds
    elif cohort.folds:
        n_folds = max(cohort.folds) + 1
    else:
        raise ConfigError(
            f"{cohort.task}: its labels have no published folds", fix="give a number of folds"
        )
    folds = assign_folds(cohort, n_folds=n_folds, repeat=repeat, split=split)
    return Deal(split, repeat, shuffle, n_folds, folds)
