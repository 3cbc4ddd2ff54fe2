"""Train one probe on one fold: draw, step, validate, and keep the best epoch.

Every random number follows from `FitKey.seed`: a ``RandomState`` of it starts the weights and
orders the batches, a ``numpy.random.default_rng`` of it draws the vectors of each epoch. What ran
before in the process, and in how many pieces, changes no bit.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from embedlib.errors import ConfigError
from embedlib.probes.network import Network, plain_numerics
from embedlib.probes.outcome import Outcome
from embedlib.probes.probe import Probe, Weights, forward, standardise, track_means
from embedlib.probes.records import FitKey, Float64, Int, Parts, Protocol, Sample
from embedlib.probes.rows import FoldData, fold_data, rows_of
from embedlib.records import Float32

MIN_PROBABILITY: Final = float(np.finfo(np.float64).eps)
"""Clips the log loss, as in ``sklearn.metrics.log_loss``."""

RATE_FACTOR: Final = 0.5
"""On the rate after `Protocol.patience_epochs` (the paper's code, Oct 2020)."""


class Training:
    """A probe in training, which can be continued until it is over.

    Parameters
    ----------
    key : FitKey
        What is fitted.
    sample : Sample
        Vectors of all tracks.
    y : np.ndarray [shape=(n_tracks,), int64]
        Their classes; those of the tested tracks are not looked at.
    classes : tuple of str
        At least two.
    parts : Parts
        Tracks with vectors. Where none validates, the last epoch is kept.
    protocol : Protocol
        How to train.
    data : FoldData, optional
        What is shared with other trainings of these parts; made here by default.

    Attributes
    ----------
    key : FitKey
        What is fitted.
    val_loss : float
        Least loss on the validation tracks so far; infinite before any.

    Raises
    ------
    ConfigError
        When a class has no vector to train on.
    """

    def __init__(
        self,
        key: FitKey,
        *,
        sample: Sample,
        y: Int,
        classes: tuple[str, ...],
        parts: Parts,
        protocol: Protocol,
        data: FoldData | None = None,
    ) -> None:
        _require_classes(key, y[parts.train], classes)
        self.key: Final = key
        self.val_loss = np.inf
        self._sample, self._parts, self._protocol = sample, parts, protocol
        self._classes = classes
        self._data = data or fold_data(sample, parts=parts, protocol=protocol)
        self._train_y, self._val_y = y[parts.train], y[parts.val]
        self._network = Network(
            key.params, n_classes=len(classes), n_rows=len(parts.train), seed=key.seed
        )
        self._rng = np.random.default_rng(key.seed)
        self._rate = key.params.rate
        self._n_stale = 0  # epochs since the last gain or change of the rate
        self._best_epoch = 0
        self._best_weights: Weights | None = None
        self._train_curve: list[float] = []
        self._val_curve: list[float] = []
        self._wall_s = 0.0

    @property
    def n_epochs(self) -> int:
        """Epochs that were run."""
        return len(self._train_curve)

    @property
    def is_over(self) -> bool:
        """Whether the protocol allows no further epoch."""
        stop = self._protocol.stop_epochs
        n_without_gain = len(self._val_curve) - self._best_epoch
        return self.n_epochs >= self._protocol.max_epochs or 0 < stop <= n_without_gain

    def advance(self, to_epoch: int) -> None:
        """Train on, but not beyond the end.

        Parameters
        ----------
        to_epoch : int
            Epochs to have run, counted from the very start.

        Raises
        ------
        ConfigError
            When the weights are no longer finite.
        """
        started = time.perf_counter()
        with plain_numerics():
            while self.n_epochs < to_epoch and not self.is_over:
                self._run_epoch()
        self._wall_s += time.perf_counter() - started

    def outcome(self, rung: int, is_final: bool) -> Outcome:
        """Judge the tested tracks by the best epoch so far; at least one must have been run.

        Parameters
        ----------
        rung : int
            Last rung of successive halving that it took part in, from 0.
        is_final : bool
            Whether that was the last of all.

        Returns
        -------
        outcome : Outcome
            With its own copy of the weights.
        """
        has_val = bool(self._val_curve)
        probe = self._probe()
        return Outcome(
            key=self.key,
            probe=probe,
            n_epochs=self.n_epochs,
            best_epoch=self._best_epoch if has_val else self.n_epochs,
            rung=rung,
            is_final=is_final,
            n_train=len(self._parts.train),
            n_val=len(self._parts.val),
            val_loss=self.val_loss if has_val else np.nan,
            train_curve=tuple(self._train_curve),
            val_curve=tuple(self._val_curve),
            test_index=self._parts.test,
            predicted=predicted_classes(probe, self._sample, self._parts.test),
            wall_s=self._wall_s,
        )

    def _run_epoch(self) -> None:
        loss = self._network.run_epoch(self._drawn(), self._train_y)
        self._train_curve.append(loss)
        if len(self._val_y):
            self._validate()

    def _drawn(self) -> Float32:
        """One vector of each training track, anew for each epoch."""
        starts, counts = self._sample.starts[:-1], np.diff(self._sample.starts)
        tracks = self._parts.train
        x: Float32 = self._sample.x[starts[tracks] + self._rng.integers(counts[tracks])]
        if not self._protocol.standardises:
            return x
        return standardise(x, self._data.shift, self._data.scale)

    def _validate(self) -> None:
        weights = self._network.weights
        rows = forward(self._data.val_x, weights)
        loss = balanced_log_loss(track_means(rows, self._data.val_starts), self._val_y)
        self._val_curve.append(loss)
        self._n_stale += 1
        if loss < self.val_loss:
            self.val_loss, self._best_epoch, self._n_stale = loss, self.n_epochs, 0
            self._best_weights = weights.astype(np.float32)
        elif self._n_stale == self._protocol.patience_epochs:
            self._rate, self._n_stale = self._rate * RATE_FACTOR, 0
            self._network.set_rate(self._rate)

    def _probe(self) -> Probe:
        weights = (self._best_weights or self._network.weights).astype(np.float32)
        return Probe(self._classes, self._data.shift, self._data.scale, *weights.arrays)


def predicted_classes(probe: Probe, sample: Sample, tracks: Int) -> Int:
    """Decide on tracks by the mean of the probabilities of their vectors.

    Parameters
    ----------
    probe : Probe
        A trained one.
    sample : Sample
        Vectors of all tracks.
    tracks : np.ndarray [shape=(n_tracks,), int64]
        Indices of tracks with vectors.

    Returns
    -------
    predicted : np.ndarray [shape=(n_tracks,), int64]
        The first of the most probable classes.
    """
    with plain_numerics():
        probabilities = probe.track_probabilities(*rows_of(sample, tracks))
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def balanced_log_loss(probabilities: Float64, y: Int) -> float:
    """Log loss in which all classes weigh the same, however many tracks they have.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes), float64]
        Of each class.
    y : np.ndarray [shape=(n_tracks,), int64]
        True classes; one that no track has does not count.

    Returns
    -------
    loss : float >= 0
        In nats: mean over classes of the mean over their tracks.

    Examples
    --------
    >>> sure, torn = [1.0, 0.0], [0.5, 0.5]
    >>> round(balanced_log_loss(np.array([sure, sure, torn]), np.array([0, 0, 1])), 3)
    0.347
    """
    of_truth = probabilities[np.arange(len(y)), y]
    losses = -np.log(np.clip(of_truth, MIN_PROBABILITY, None))
    counts = np.bincount(y)
    sums = np.bincount(y, weights=losses)
    has_tracks = counts > 0
    return float(np.mean(sums[has_tracks] / counts[has_tracks]))


def _require_classes(key: FitKey, train_y: Int, classes: tuple[str, ...]) -> None:
    counts = np.bincount(train_y, minlength=len(classes))
    if not counts.all():
        name = classes[int(np.argmin(counts))]
        raise ConfigError(
            f"{key.task}: class {name!r} has no track with an embedding of {key.model} to train on "
            f"(fold {key.fold} tests)",
            fix="see the status of its tracks, or leave the class out",
        )
