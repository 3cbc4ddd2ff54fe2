"""The frozen records of probing: what is fitted, on what, and what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedlib.records import Float32

Int = NDArray[np.int64]
Float64 = NDArray[np.float64]


class Split(StrEnum):
    """How the tracks of a task are dealt to folds."""

    STRATIFIED = "stratified"
    GROUPED = "grouped"
    OFFICIAL = "official"


class Role(StrEnum):
    """What a fit is for."""

    CV = "cv"
    CONTROL = "control"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How probes are trained and judged.

    Attributes
    ----------
    name : str
        ``paper`` or ``pooled``.
    uses_patches : bool
        Train on one patch per track and epoch, and decide by the mean of the probabilities of all;
        else there is one vector per track, the mean over its patches.
    standardises : bool
        Shift and scale each dimension by mean and deviation of the training tracks.
    is_grouped : bool
        Keep tracks of one group in one fold, where groups are known.
    max_epochs : int > 0
        Bound of the training.
    patience_epochs : int >= 0
        Epochs without a better validation loss after which the rate is halved; 0: never.
    stop_epochs : int >= 0
        Epochs without a better validation loss after which training ends; 0: never.
    """

    name: str
    uses_patches: bool
    standardises: bool
    is_grouped: bool
    max_epochs: int
    patience_epochs: int
    stop_epochs: int


PAPER: Final = Protocol("paper", True, False, False, 1000, 75, 0)
"""The classifier of the paper's code (Oct 2020); bound and use of folds are ours."""

POOLED: Final = Protocol("pooled", False, True, True, 200, 0, 15)
"""Ours: fast, on what every table has."""

PROTOCOLS: Final = {protocol.name: protocol for protocol in (PAPER, POOLED)}


@dataclass(frozen=True, slots=True, order=True)
class Params:
    """Hyper-parameters of a probe; the defaults are the paper's.

    Attributes
    ----------
    n_hidden : int > 0
        Units of the hidden layer.
    rate : float > 0
        Initial learning rate of Adam.
    l2 : float >= 0
        Weight decay: ``l2 / 2 * sum of squares`` is added to the mean loss of a batch.
    batch_size : int > 0
        Tracks per step.
    """

    n_hidden: int = 100
    rate: float = 1e-3
    l2: float = 1e-5
    batch_size: int = 32

    @property
    def text(self) -> str:
        """As JSON with sorted keys, equal for equal parameters."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Values to try, of which all combinations are fitted.

    Attributes
    ----------
    n_hidden, rate, l2, batch_size : tuple
        Values of the field of `Params`.
    """

    n_hidden: tuple[int, ...] = (100,)
    rate: tuple[float, ...] = (1e-3,)
    l2: tuple[float, ...] = (1e-5,)
    batch_size: tuple[int, ...] = (32,)

    def __iter__(self) -> Iterator[Params]:
        for values in product(self.n_hidden, self.rate, self.l2, self.batch_size):
            yield Params(*values)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What one model says of the tracks of a cohort.

    Attributes
    ----------
    model : str
        Name of its table.
    x : np.ndarray [shape=(n_rows, n_dims), float32]
        Vectors: one for each track, or one for each patch, in the order of the cohort.
    starts : np.ndarray [shape=(n_tracks + 1,), int64]
        ``x[starts[i]:starts[i + 1]]`` belongs to track i; no row where it has no embedding.
    embeddings_id : str
        Hash of the manifest of the table and of all vectors: what these numbers were made by.
    fingerprint : str
        Hash of the manifest of the table.
    table_version : int
        Version of the table.
    """

    model: str
    x: Float32
    starts: Int
    embeddings_id: str
    fingerprint: str = ""
    table_version: int = 0

    @property
    def has_vectors(self) -> NDArray[np.bool_]:
        """Whether each track has an embedding [shape=(n_tracks,)]."""
        return np.diff(self.starts) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The tracks of one fit, as indices into a cohort.

    Attributes
    ----------
    train, val, test : np.ndarray [int64]
        Sorted and disjoint; `val` may be empty where nothing is to be chosen.
    """

    train: Int
    val: Int
    test: Int


@dataclass(frozen=True, slots=True)
class FitKey:
    """What a fit is, apart from the numbers that go in.

    Attributes
    ----------
    role : Role
        What it is for.
    task, model : str
        Names.
    protocol : str
        Name of the protocol.
    split : Split
        How folds were made.
    params : Params
        Hyper-parameters.
    n_folds : int >= 2
        Folds of the split.
    repeat : int >= 0
        Number of the split; 0 is the one that is reported.
    shuffle : int
        Number of the shuffled labels of a control; -1: true labels.
    fold : int
        The fold that tests; -1 where the whole task set trains.
    """

    role: Role
    task: str
    model: str
    protocol: str
    split: Split
    params: Params
    n_folds: int
    repeat: int = 0
    shuffle: int = -1
    fold: int = -1

    @property
    def seed(self) -> int:
        """Of the fit: 32 bits that follow from this key alone."""
        return derived_seed(json.dumps(asdict(self), sort_keys=True))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One probe that was fitted: a row of ``OUT/probes``.

    Attributes
    ----------
    fit_id : str
        Hash of the key, the cohorts, the folds, the embeddings and the schedule.
    group_id : str
        Hash of the fits that were chosen among: they are committed together.
    key : FitKey
        What it is.
    cohort_id : str
        Tracks that were trained on.
    test_cohort_id : str
        Tracks that were tested: the same, or an external set.
    embeddings_id, test_embeddings_id : str
        What made the vectors of either.
    fingerprint : str
        Hash of the manifest of the model table that trained.
    table_version : int
        Version of that table when it was read: for people, `embeddings_id` says the rest.
    schedule : str
        ``sync:10,30,200``: epochs of the rungs; or ``asha``, whose choices depend on the order in
        which trials end, so that they are not reproducible.
    seed : int
        Of the fit.
    n_train, n_val : int
        Tracks with an embedding.
    test_index : np.ndarray [shape=(n_test,), int64]
        Tested tracks with an embedding, as indices into the tested cohort.
    truth, predicted : np.ndarray [shape=(n_test,), int64]
        Classes.
    n_epochs : int
        Epochs that were run.
    best_epoch : int
        From 1; the one whose weights are kept.
    rung : int
        Last rung of successive halving that it took part in, from 0.
    is_final : bool
        Whether it took part in the last rung: only such fits can be chosen.
    val_loss : float
        Class-balanced log loss of the validation tracks at `best_epoch`; NaN without any.
    train_curve, val_curve : tuple of float
        Loss after each epoch.
    wall_s : float
        Seconds it took.
    """

    fit_id: str
    group_id: str
    key: FitKey
    cohort_id: str
    test_cohort_id: str
    embeddings_id: str
    test_embeddings_id: str
    fingerprint: str
    table_version: int
    schedule: str
    seed: int
    n_train: int
    n_val: int
    test_index: Int
    truth: Int
    predicted: Int
    n_epochs: int
    best_epoch: int
    rung: int
    is_final: bool
    val_loss: float
    train_curve: tuple[float, ...]
    val_curve: tuple[float, ...]
    wall_s: float


def derived_seed(*parts: str | int) -> int:
    """Derive a seed from what it is for, and from nothing else.

    Parameters
    ----------
    *parts : str or int
        What it is for.

    Returns
    -------
    seed : int
        32 bits.

    Examples
    --------
    >>> derived_seed("folds", "gtzan", 0) == derived_seed("folds", "gtzan", 0)
    True
    """
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4], "big")
