"""What a sweep has to fit: pure functions from labels and settings to groups of fits and parcels.

A group is what one choice is made among: the fits of one fold, which differ in their parameters. A
parcel is some groups that one worker does in a few seconds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from embedlib.probes.deals import Deal
from embedlib.probes.fitting import N_FINAL, default_rungs
from embedlib.probes.records import FitKey, Int, Params, Protocol, Role
from embedlib.probes.settings import SweepConfig
from embedlib.tasks.cohort import Cohort

ASHA: Final = "asha"

PARCEL_S: Final = 4.0
"""About how long one parcel takes: a trial costs Tune 0.1 s, and a kill loses no more than this."""

# Measured with scikit-learn 1.9.1 on one core of a server CPU of 2024: they order parcels and say
# where to cut, nothing else depends on them.
_EPOCH_S: Final = 1.5e-3
_STEP_S: Final = 2e-4
_STEP_S_PER_WEIGHT: Final = 7e-9
_USUAL_EPOCHS: Final = 60
"""Of a training that may stop early."""


@dataclass(frozen=True, slots=True)
class MaterialKey:
    """Names the arrays that all fits of one model on one task share.

    Attributes
    ----------
    task, model : str
        Names.
    uses_patches : bool
        Whether there is a vector for each patch.
    """

    task: str
    model: str
    uses_patches: bool


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is probed: one model on one task.

    Attributes
    ----------
    cohort : Cohort
        The labelled tracks.
    protocol : Protocol
        How probes are trained.
    material : MaterialKey
        Where its arrays are found.
    embeddings_id : str
        Of its sample.
    n_dims : int
        Length of a vector.
    """

    cohort: Cohort
    protocol: Protocol
    material: MaterialKey
    embeddings_id: str
    n_dims: int


@dataclass(frozen=True, slots=True, eq=False)
class FitGroup:
    """Fits among which one is chosen; they are committed together.

    Attributes
    ----------
    keys : tuple of FitKey
        Which differ in their parameters.
    fit_ids : tuple of str
        One for each of them.
    group_id : str
        Hash of all of these.
    schedule : str
        As in `Fit`.
    rungs : tuple of int
        Epochs of the rungs; for an external set the one number of epochs.
    folds : np.ndarray [shape=(n_tracks,), int64]
        Fold of each track; -1 where all train.
    """

    keys: tuple[FitKey, ...]
    fit_ids: tuple[str, ...]
    group_id: str
    schedule: str
    rungs: tuple[int, ...]
    folds: Int


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """Groups of one model on one task, for one worker.

    Attributes
    ----------
    subject : Subject
        What is probed.
    groups : tuple of FitGroup
        At least one.
    cost_s : float
        About how long they take.
    """

    subject: Subject
    groups: tuple[FitGroup, ...]
    cost_s: float

    @property
    def n_fits(self) -> int:
        """Fits of all its groups."""
        return sum(len(group.keys) for group in self.groups)


def fold_groups(
    subject: Subject, *, role: Role, deals: Iterable[Deal], config: SweepConfig
) -> tuple[FitGroup, ...]:
    """List the groups of some deals, one for each fold.

    Parameters
    ----------
    subject : Subject
        What is probed.
    role : Role
        ``cv``, with all parameters; or ``control``, with the first.
    deals : iterable of Deal
        Folds.
    config : SweepConfig
        Its `params`, `rungs` and `scheduler`.

    Returns
    -------
    groups : tuple of FitGroup
        In the order of the deals.
    """
    space = tuple(config.params.space)
    params = space[:1] if role is Role.CONTROL else space
    rungs = _rungs(len(params), protocol=subject.protocol, config=config)
    is_asha = config.scheduler == ASHA and len(params) > 1
    schedule = ASHA if is_asha else f"sync:{','.join(map(str, rungs))}"
    return tuple(
        _group(
            subject,
            keys=_keys(subject, role=role, deal=deal, fold=fold, params=params),
            schedule=schedule,
            rungs=rungs,
            folds=deal.folds,
            made_of=[subject.cohort.cohort_id, subject.embeddings_id, deal.folds_id],
        )
        for deal in deals
        for fold in range(deal.n_folds)
    )


def external_group(
    subject: Subject,
    *,
    like: FitKey,
    setting: tuple[Params, int],
    test_cohort_id: str,
    test_embeddings_id: str,
) -> FitGroup:
    """Make the group of the one fit that is scored on an external set.

    Parameters
    ----------
    subject : Subject
        What is probed.
    like : FitKey
        Of any fold of the split by which the setting was chosen.
    setting : tuple of Params and int
        Parameters, and the number of epochs.
    test_cohort_id, test_embeddings_id : str
        Of the external set.

    Returns
    -------
    group : FitGroup
        With one key.
    """
    params, n_epochs = setting
    key = replace(like, role=Role.EXTERNAL, params=params, repeat=0, shuffle=-1, fold=-1)
    made_of = [subject.cohort.cohort_id, subject.embeddings_id, test_cohort_id, test_embeddings_id]
    return _group(
        subject,
        keys=(key,),
        schedule=f"whole:{n_epochs}",
        rungs=(n_epochs,),
        folds=np.full(len(subject.cohort), -1, dtype=np.int64),
        made_of=made_of,
    )


def parcels(
    subject: Subject, groups: Iterable[FitGroup], *, done: Collection[str]
) -> tuple[Parcel, ...]:
    """Put the groups that are left to do into parcels.

    Parameters
    ----------
    subject : Subject
        What is probed.
    groups : iterable of FitGroup
        Of this subject.
    done : collection of str
        Groups that are committed.

    Returns
    -------
    parcels : tuple of Parcel
        Of about `PARCEL_S` seconds, or one group where that takes longer.
    """
    left = [group for group in groups if group.group_id not in done]
    return tuple(
        Parcel(subject, tuple(bundle), sum(cost_s(subject, group) for group in bundle))
        for bundle in _bundles(subject, left)
    )


def cost_s(subject: Subject, group: FitGroup) -> float:
    """Estimate how long a group takes.

    Parameters
    ----------
    subject : Subject
        What is probed.
    group : FitGroup
        Fits of it.

    Returns
    -------
    cost_s : float
        Seconds on one core, right within a factor of a few.
    """
    bound = min(group.rungs[-1], _USUAL_EPOCHS if subject.protocol.stop_epochs else math.inf)
    first_s = sum(_epoch_s(subject, key.params) for key in group.keys)
    n_final = 0 if len(group.rungs) == 1 else N_FINAL / len(group.keys)
    return first_s * (min(bound, group.rungs[0]) + n_final * bound)


def _epoch_s(subject: Subject, params: Params) -> float:
    step_s = _STEP_S + _STEP_S_PER_WEIGHT * params.n_hidden * subject.n_dims
    return _EPOCH_S + step_s * len(subject.cohort) / params.batch_size


def _bundles(subject: Subject, groups: Sequence[FitGroup]) -> Iterator[list[FitGroup]]:
    bundle: list[FitGroup] = []
    total_s = 0.0
    for group in groups:
        bundle.append(group)
        total_s += cost_s(subject, group)
        if total_s >= PARCEL_S:
            yield bundle
            bundle, total_s = [], 0.0
    if bundle:
        yield bundle


def _rungs(n_params: int, *, protocol: Protocol, config: SweepConfig) -> tuple[int, ...]:
    if config.rungs is None or n_params == 1:
        return default_rungs(n_params, protocol=protocol)
    below = (rung for rung in config.rungs if rung < protocol.max_epochs)
    return *below, protocol.max_epochs


def _keys(
    subject: Subject, *, role: Role, deal: Deal, fold: int, params: Iterable[Params]
) -> tuple[FitKey, ...]:
    return tuple(
        FitKey(
            role=role,
            task=subject.cohort.task,
            model=subject.material.model,
            protocol=subject.protocol.name,
            split=deal.split,
            params=each,
            n_folds=deal.n_folds,
            repeat=deal.repeat,
            shuffle=deal.shuffle,
            fold=fold,
        )
        for each in params
    )


def _group(
    subject: Subject,
    *,
    keys: tuple[FitKey, ...],
    schedule: str,
    rungs: tuple[int, ...],
    folds: Int,
    made_of: list[str],
) -> FitGroup:
    """Name fits by all that determines their numbers, rivals for a place in a rung included."""
    rivals = sorted(key.params.text for key in keys)
    shared = [*made_of, asdict(subject.protocol), schedule, rungs, rivals]
    fit_ids = tuple(_hash([asdict(key), *shared]) for key in keys)
    return FitGroup(keys, fit_ids, _hash(sorted(fit_ids)), schedule, rungs, folds)


def _hash(content: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
