"""How far vectors are apart that should be equal, pair by pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_TINY = np.finfo(np.float64).tiny


def relative_l2(first: NDArray[np.generic], second: NDArray[np.generic]) -> Float64:
    """Measure how far each vector is from its counterpart, in lengths of the first.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n_vectors, n_dims), float]
        Pairs of vectors.

    Returns
    -------
    distances : np.ndarray [shape=(n_vectors,), float64]
        Zero for equal vectors, also for those of length zero; NaN where one holds NaN.

    Examples
    --------
    >>> relative_l2(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[3.0, 3.0], [0.0, 0.0]]))
    array([0.2, 0. ])
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    lengths = np.maximum(np.linalg.norm(one, axis=1), _TINY)
    distances: Float64 = np.linalg.norm(one - other, axis=1) / lengths
    return distances


def cosines(first: NDArray[np.generic], second: NDArray[np.generic]) -> Float64:
    """Measure the cosine of the angle between each vector and its counterpart.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n_vectors, n_dims), float]
        Pairs of vectors.

    Returns
    -------
    cosines : np.ndarray [shape=(n_vectors,), float64]
        One for two vectors of length zero, zero where only one is.

    Examples
    --------
    >>> cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 0.0]]))
    array([1., 1.])
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found = np.sum(one * other, axis=1) / np.maximum(lengths, _TINY)
    both_zero = ~one.any(axis=1) & ~other.any(axis=1)
    return np.where(both_zero, 1.0, found)
