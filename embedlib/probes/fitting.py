"""Fit the probes of one fold by successive halving, or one probe on all tracks.

The rungs are synchronous: all probes of a rung are trained before any is dropped, so that which
ones go on depends on the data and the seeds alone (Jamieson & Talwalkar 2016, arXiv 1502.07943).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from embedlib.errors import ConfigError
from embedlib.probes.outcome import Outcome
from embedlib.probes.probe import Probe
from embedlib.probes.records import FitKey, Int, Parts, Protocol, Sample
from embedlib.probes.rows import fold_data
from embedlib.probes.training import Training

__all__ = ("Outcome", "default_rungs", "fit_group", "fit_whole")

REDUCTION: Final = 3
"""One in so many goes on to the next rung (as in Hyperband, arXiv 1603.06560, section 3)."""

N_FINAL: Final = 3
"""So many may train to the end: no rung is added to have fewer."""

FIRST_RUNG: Final = 1 / 20
"""Share of all epochs in the first rung."""


def fit_group(
    keys: Sequence[FitKey],
    *,
    sample: Sample,
    y: Int,
    classes: tuple[str, ...],
    parts: Parts,
    protocol: Protocol,
    rungs: tuple[int, ...],
) -> tuple[Outcome, ...]:
    """Fit the parameters of one fold by successive halving.

    The tested tracks take no part in the choice.

    Parameters
    ----------
    keys : sequence of FitKey
        Which differ in their parameters alone.
    sample : Sample
        Vectors of all tracks.
    y : np.ndarray [shape=(n_tracks,), int64]
        Their classes.
    classes : tuple of str
        At least two.
    parts : Parts
        Tracks with vectors.
    protocol : Protocol
        How to train.
    rungs : tuple of int
        Ascending epochs. After each but the last, the better third (rounded up) by validation
        loss goes on; of equal ones those of least parameters.

    Returns
    -------
    outcomes : tuple of Outcome
        In the order of `keys`.

    Raises
    ------
    ConfigError
        When rungs do not ascend, nothing validates, or a class has nothing to train on.
    """
    _require_choice(keys, parts, rungs)
    data = fold_data(sample, parts=parts, protocol=protocol)
    trainings = [
        Training(
            key, sample=sample, y=y, classes=classes, parts=parts, protocol=protocol, data=data
        )
        for key in keys
    ]
    last_rungs = _halve(trainings, rungs)
    return tuple(
        training.outcome(rung, rung == len(rungs) - 1)
        for training, rung in zip(trainings, last_rungs, strict=True)
    )


def fit_whole(
    key: FitKey,
    *,
    sample: Sample,
    y: Int,
    classes: tuple[str, ...],
    protocol: Protocol,
    n_epochs: int,
) -> tuple[Probe, tuple[float, ...]]:
    """Fit one probe on all tracks, for use on others.

    Parameters
    ----------
    key : FitKey
        What is fitted.
    sample : Sample
        Vectors of all tracks; those without any are left out.
    y : np.ndarray [shape=(n_tracks,), int64]
        Their classes.
    classes : tuple of str
        At least two.
    protocol : Protocol
        How to train; its bounds do not count here, and the rate stays as it is.
    n_epochs : int > 0
        Epochs, for nothing says when to stop.

    Returns
    -------
    probe : Probe
        With the weights of the last epoch.
    train_curve : tuple of float
        Loss after each epoch.

    Raises
    ------
    ConfigError
        When a class has nothing to train on.
    """
    nothing = np.array([], dtype=np.int64)
    training = Training(
        key,
        sample=sample,
        y=y,
        classes=classes,
        parts=Parts(np.flatnonzero(sample.has_vectors), nothing, nothing),
        protocol=replace(protocol, max_epochs=n_epochs),
    )
    training.advance(n_epochs)
    outcome = training.outcome(0, True)
    return outcome.probe, outcome.train_curve


def default_rungs(n_params: int, *, protocol: Protocol) -> tuple[int, ...]:
    """Choose rungs that leave about three to train to the end.

    Parameters
    ----------
    n_params : int > 0
        Parameters to choose among.
    protocol : Protocol
        Whose bound is the last rung.

    Returns
    -------
    rungs : tuple of int
        Ascending epochs: a twentieth of the bound, then three times as many for each further.

    Examples
    --------
    >>> from embedlib.probes.records import POOLED
    >>> default_rungs(1, protocol=POOLED), default_rungs(27, protocol=POOLED)
    ((200,), (10, 30, 200))
    """
    rungs = []
    n_epochs = max(1, round(protocol.max_epochs * FIRST_RUNG))
    while n_params > N_FINAL and n_epochs < protocol.max_epochs:
        rungs.append(n_epochs)
        n_params, n_epochs = _n_better(n_params), n_epochs * REDUCTION
    return (*rungs, protocol.max_epochs)


def _halve(trainings: Sequence[Training], rungs: tuple[int, ...]) -> list[int]:
    """Train, drop, train on; gives the last rung of each."""
    last_rungs = [0] * len(trainings)
    alive = list(range(len(trainings)))
    for rung, to_epoch in enumerate(rungs):
        for number in alive:
            trainings[number].advance(to_epoch)
            last_rungs[number] = rung
        alive.sort(key=lambda number: (trainings[number].val_loss, trainings[number].key.params))
        alive = alive[: _n_better(len(alive))]
    return last_rungs


def _n_better(n: int) -> int:
    return -(-n // REDUCTION)


def _require_choice(keys: Sequence[FitKey], parts: Parts, rungs: tuple[int, ...]) -> None:
    if not rungs or list(rungs) != sorted({*rungs} - {0}):
        raise ConfigError(f"rungs={rungs} do not ascend", fix="give ascending numbers of epochs")
    if keys and not len(parts.val):
        raise ConfigError(
            f"{keys[0].task}: fold {keys[0].fold} of {keys[0].model} has no track with an "
            "embedding to validate on",
            fix="give fewer folds",
        )
