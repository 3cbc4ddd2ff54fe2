"""A trained probe: the weights of a network with one hidden layer, and what it makes of vectors.

Training and use go through the same two functions here, `standardise` and `forward`, so that a
probe that was saved sees exactly what it saw when it was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from embedlib.probes.records import Float64, Int
from embedlib.records import Float32

Array: TypeAlias = NDArray[np.floating[Any]]

ROWS_AT_ONCE: Final = 4096
"""Rows of one product: 20 MB as float64 where there are 1280 dimensions, the most of any model."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The four arrays of a network.

    Attributes
    ----------
    w1 : np.ndarray [shape=(n_dims, n_hidden)]
        Into the hidden layer.
    b1 : np.ndarray [shape=(n_hidden,)]
        Its offsets.
    w2 : np.ndarray [shape=(n_hidden, n_outputs)]
        Into the outputs: one for each class, or a single one for the second of two classes.
    b2 : np.ndarray [shape=(n_outputs,)]
        Their offsets.
    """

    w1: Array
    b1: Array
    w2: Array
    b2: Array

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """All four, in the order of the fields."""
        return self.w1, self.b1, self.w2, self.b2

    def astype(self, dtype: type[np.floating[Any]]) -> Weights:
        """Copy all four to a type; a copy also where they have it."""
        return Weights(*(array.astype(dtype) for array in self.arrays))


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A network with one hidden layer of ReLU on standardised vectors.

    Attributes
    ----------
    classes : tuple of str
        In the order of the probabilities.
    shift, scale : np.ndarray [shape=(n_dims,), float32]
        A vector x enters as ``(x - shift) / scale``.
    w1 : np.ndarray [shape=(n_dims, n_hidden), float32]
        Into the hidden layer.
    b1 : np.ndarray [shape=(n_hidden,), float32]
        Its offsets.
    w2 : np.ndarray [shape=(n_hidden, n_outputs), float32]
        Into the outputs: a softmax with one for each class, or for two classes the one of a
        logistic function, which has the same functions as a softmax of two.
    b2 : np.ndarray [shape=(n_outputs,), float32]
        Their offsets.

    Examples
    --------
    >>> one = np.ones((1, 1), dtype=np.float32)
    >>> probe = Probe(("low", "high"), 0 * one[0], one[0], one, 0 * one[0], one, 0 * one[0])
    >>> probe.probabilities(np.array([[0.0], [9.0]], dtype=np.float32)).round(2)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    classes: tuple[str, ...]
    shift: Float32
    scale: Float32
    w1: Float32
    b1: Float32
    w2: Float32
    b2: Float32

    def probabilities(self, x: Float32) -> Float64:
        """Judge vectors, in double precision: a row has the same result in any company.

        Parameters
        ----------
        x : np.ndarray [shape=(n_rows, n_dims), float32]
            As the model gives them.

        Returns
        -------
        probabilities : np.ndarray [shape=(n_rows, n_classes), float64]
            Each row sums to one.
        """
        # The products in single precision depend on the number of rows in their last bits.
        weights = Weights(self.w1, self.b1, self.w2, self.b2).astype(np.float64)
        result = np.empty((len(x), len(self.classes)))
        for start in range(0, len(x), ROWS_AT_ONCE):
            rows = standardise(x[start : start + ROWS_AT_ONCE], self.shift, self.scale)
            result[start : start + len(rows)] = forward(rows.astype(np.float64), weights)
        return result

    def track_probabilities(self, x: Float32, starts: Int) -> Float64:
        """Judge tracks by the mean over their vectors.

        Parameters
        ----------
        x : np.ndarray [shape=(n_rows, n_dims), float32]
            As the model gives them.
        starts : np.ndarray [shape=(n_tracks + 1,), int64]
            ``x[starts[i]:starts[i + 1]]`` belongs to track i.

        Returns
        -------
        probabilities : np.ndarray [shape=(n_tracks, n_classes), float64]
            NaN where a track has no vector.
        """
        return track_means(self.probabilities(x), starts)


def standardise(x: Float32, shift: Float32, scale: Float32) -> Float32:
    """Bring vectors to the range that a probe was trained on.

    Parameters
    ----------
    x : np.ndarray [shape=(n_rows, n_dims), float32]
        As the model gives them; left as they are.
    shift, scale : np.ndarray [shape=(n_dims,), float32]
        Mean and deviation.

    Returns
    -------
    rows : np.ndarray [shape=(n_rows, n_dims), float32]
        ``(x - shift) / scale``, computed in single precision.
    """
    rows: Float32 = np.subtract(x, shift)
    rows /= scale
    return rows


def forward(x: Array, weights: Weights) -> Float64:
    """Send vectors through a network, with products in the precision of the arrays.

    Parameters
    ----------
    x : np.ndarray [shape=(n_rows, n_dims)]
        Standardised.
    weights : Weights
        Of the type of `x`.

    Returns
    -------
    probabilities : np.ndarray [shape=(n_rows, n_classes), float64]
        Each row sums to one.
    """
    hidden = x @ weights.w1
    hidden += weights.b1
    np.maximum(hidden, 0, out=hidden)
    outputs = (hidden @ weights.w2 + weights.b2).astype(np.float64)
    if outputs.shape[1] > 1:
        return np.asarray(softmax(outputs, axis=1))
    second = expit(outputs)
    return np.hstack([1 - second, second])


def track_means(values: Float64, starts: Int) -> Float64:
    """Mean over the rows of each track.

    Parameters
    ----------
    values : np.ndarray [shape=(n_rows, n_classes), float64]
        One row for each vector.
    starts : np.ndarray [shape=(n_tracks + 1,), int64]
        ``values[starts[i]:starts[i + 1]]`` belongs to track i.

    Returns
    -------
    means : np.ndarray [shape=(n_tracks, n_classes), float64]
        NaN where a track has no row.

    Examples
    --------
    >>> track_means(np.array([[1.0], [3.0], [4.0]]), np.array([0, 2, 2, 3]))
    array([[ 2.],
           [nan],
           [ 4.]])
    """
    counts = np.diff(starts)
    has_rows = counts > 0
    means = np.full((len(counts), values.shape[1]), np.nan)
    if has_rows.any():
        sums = np.add.reduceat(values, starts[:-1][has_rows], axis=0)
        means[has_rows] = sums / counts[has_rows, None]
    return means
