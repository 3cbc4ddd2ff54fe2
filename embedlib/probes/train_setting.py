"""How to train on all tracks of a task: as a sweep has chosen, else as an inner split says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from embedlib.probes.card import CardScore
from embedlib.probes.choice import choose, whole_setting
from embedlib.probes.fitting import fit_group
from embedlib.probes.folds import assign_folds
from embedlib.probes.records import Fit, FitKey, Params, Parts, Protocol, Role, Sample, Split
from embedlib.probes.scores import score_all
from embedlib.tasks.cohort import Cohort

N_INNER_FOLDS: Final = 5
"""Where no sweep has chosen, one of so many parts validates, to find the number of epochs."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """What a probe is trained on, and how.

    Attributes
    ----------
    cohort : Cohort
        Labelled tracks.
    sample : Sample
        Their embeddings.
    protocol : Protocol
        How to train.
    """

    cohort: Cohort
    sample: Sample
    protocol: Protocol

    @property
    def split(self) -> Split:
        """How tracks are dealt to folds where nothing else is said."""
        is_grouped = self.protocol.is_grouped and bool(self.cohort.groups)
        return Split.GROUPED if is_grouped else Split.STRATIFIED


@dataclass(frozen=True, slots=True)
class Setting:
    """How to train on all tracks, where none are left to validate on.

    Attributes
    ----------
    params : Params
        Hyper-parameters.
    n_epochs : int
        Epochs to run.
    split : Split
        How tracks were dealt to folds where that was found out.
    n_folds : int
        Folds of that split.
    score : CardScore or None
        By cross-validation; None where no sweep has measured it.
    """

    params: Params
    n_epochs: int
    split: Split
    n_folds: int
    score: CardScore | None = None


def swept_setting(fits: Iterable[Fit], given: TrainingSet) -> Setting | None:
    """Take over what a sweep of the same tracks, labels and embeddings has chosen.

    Parameters
    ----------
    fits : iterable of Fit
        Of an output.
    given : TrainingSet
        What is to be trained on.

    Returns
    -------
    setting : Setting or None
        Of the split that the protocol prefers, else of another one, whose first repeat is whole;
        None where there is none.
    """
    own: dict[tuple[Split, int], list[Fit]] = defaultdict(list)
    for fit in fits:
        if _is_first_repeat(fit, given):
            own[fit.key.split, fit.key.n_folds].append(fit)
    for split, n_folds in sorted(own, key=lambda each: (each[0] != given.split, each)):
        chosen = _chosen(own[split, n_folds], n_folds=n_folds)
        if chosen:
            params, n_epochs = whole_setting(chosen)
            score = _score(own[split, n_folds], given.cohort)
            return Setting(params, n_epochs, split, n_folds, score)
    return None


def inner_setting(given: TrainingSet) -> Setting:
    """Take the parameters of the paper, and find out by one inner split how long to train.

    Parameters
    ----------
    given : TrainingSet
        What is to be trained on.

    Returns
    -------
    setting : Setting
        With the best epoch on the tracks that were left out.

    Raises
    ------
    ConfigError
        If a class has fewer tracks, or groups, than there are inner folds.
    """
    cohort, sample, protocol = given.cohort, given.sample, given.protocol
    folds = assign_folds(cohort, n_folds=N_INNER_FOLDS, repeat=0, split=given.split)
    setting = Setting(Params(), protocol.max_epochs, given.split, N_INNER_FOLDS)
    (outcome,) = fit_group(
        [key_of(given, setting, role=Role.CV, fold=0)],
        sample=sample,
        y=cohort.y,
        classes=cohort.classes,
        parts=Parts(
            train=np.flatnonzero((folds > 0) & sample.has_vectors),
            val=np.flatnonzero((folds == 0) & sample.has_vectors),
            test=np.empty(0, dtype=np.int64),
        ),
        protocol=protocol,
        rungs=(protocol.max_epochs,),
    )
    return Setting(Params(), outcome.best_epoch, given.split, N_INNER_FOLDS)


def key_of(given: TrainingSet, setting: Setting, *, role: Role, fold: int = -1) -> FitKey:
    """Name a fit.

    Parameters
    ----------
    given : TrainingSet
        What it is trained on.
    setting : Setting
        How.
    role : Role
        What for.
    fold : int, optional
        What is left out; -1 for nothing.

    Returns
    -------
    key : FitKey
        Its seed follows from it.
    """
    return FitKey(
        role=role,
        task=given.cohort.task,
        model=given.sample.model,
        protocol=given.protocol.name,
        split=setting.split,
        params=setting.params,
        n_folds=setting.n_folds,
        fold=fold,
    )


def _is_first_repeat(fit: Fit, given: TrainingSet) -> bool:
    """Whether a fit is of the first split of the very same data."""
    key = fit.key
    found = (key.role, key.protocol, key.repeat, key.task, key.model)
    wanted = (Role.CV, given.protocol.name, 0, given.cohort.task, given.sample.model)
    data = (fit.cohort_id, fit.embeddings_id)
    return found == wanted and data == (given.cohort.cohort_id, given.sample.embeddings_id)


def _chosen(fits: Sequence[Fit], *, n_folds: int) -> list[Fit]:
    """Give the chosen fit of each fold; none where one has none."""
    finals = [[f for f in fits if f.is_final and f.key.fold == fold] for fold in range(n_folds)]
    return [choose(each) for each in finals] if all(finals) else []


def _score(fits: Sequence[Fit], cohort: Cohort) -> CardScore | None:
    """Score the first split of a sweep; None where that leaves no cell."""
    cells = score_all(fits, {cohort.cohort_id: cohort}).cells
    if not cells:
        return None
    cell = cells[0]
    return CardScore(
        balanced_accuracy=cell.five_fold,
        low=cell.interval.low,
        high=cell.interval.high,
        n_tracks=cell.n_scored,
        split=cell.split,
        is_reproducible=cell.is_reproducible,
    )
