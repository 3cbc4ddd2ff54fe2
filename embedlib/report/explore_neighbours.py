"""The nearest neighbours of every track, exact, by the angle between vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedlib.records import Float32, Int32


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Who is near whom.

    Attributes
    ----------
    index : np.ndarray [shape=(n_tracks, k), int32]
        Rows of the neighbours, nearest first; the track itself is left out.
    distance : np.ndarray [shape=(n_tracks, k), float32]
        Cosine distances, from 0 for the same direction to 2 for the opposite one.
    """

    index: Int32
    distance: Float32

    @property
    def k(self) -> int:
        """How many each track has."""
        return int(self.index.shape[1])


def nearest(units: NDArray[np.float64], *, k: int) -> Neighbours:
    """Compare each vector with each other one.

    It is done block by block, so that memory grows with the number of tracks, and time with its
    square. For vectors of length one the cosine distance is half the squared Euclidean one, which
    scikit-learn computes in float64 on all cores. A vector of zeros has no direction: it counts as
    at right angles to all but its like.

    Parameters
    ----------
    units : np.ndarray [shape=(n_tracks, n_dims), float64]
        Of length one, or zero.
    k : int >= 0
        How many to keep; fewer where there are not so many others.

    Returns
    -------
    neighbours : Neighbours
        Equally near ones in the order of their rows. Which of them are kept, where not all are, is
        open.

    Examples
    --------
    >>> found = nearest(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), k=2)
    >>> found.index[0], found.distance[0].round(1)
    (array([2, 1], dtype=int32), array([0.4, 1. ], dtype=float32))
    """
    n_tracks = len(units)
    kept = min(k, n_tracks - 1)
    if kept < 1:
        return Neighbours(np.empty((n_tracks, 0), np.int32), np.empty((n_tracks, 0), np.float32))
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=kept + 1, algorithm="brute", metric="sqeuclidean")
    directions = _with_zeros_aside(units)
    squared, index = search.fit(directions).kneighbors(directions)
    index, distance = _without_self(index, np.maximum(squared / 2, 0.0), kept)
    # Equal vectors differ by rounding, which must not decide on their order.
    order = np.lexsort((index, distance.round(12)), axis=1)
    return Neighbours(
        np.take_along_axis(index, order, axis=1).astype(np.int32),
        np.take_along_axis(distance, order, axis=1).astype(np.float32),
    )


def _with_zeros_aside(units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give vectors of zeros a direction of their own, at right angles to all others."""
    is_zero = ~units.any(axis=1)
    return np.column_stack([units, is_zero]) if is_zero.any() else units


def _without_self(
    index: NDArray[np.int64], distance: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Drop the track itself, which twins may have crowded out: then the farthest of them."""
    is_self = index == np.arange(len(index))[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    return index[~is_self].reshape(-1, k), distance[~is_self].reshape(-1, k)
