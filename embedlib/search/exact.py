"""Exact neighbours of many vectors in one pass over a table: what a search is held against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from embedlib.records import Float32
from embedlib.search.rows import EMBEDDING

TIE: Final = 1e-5
"""Distances that differ by less are equal: float32 sums of some hundred products differ by that."""


def unit_vectors(vectors: Float32) -> Float32:
    """Scale vectors to length one; those of length zero, which have no direction, become NaN.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, n_dims), float32]
        Any vectors.

    Returns
    -------
    units : np.ndarray [shape=(n, n_dims), float32]
        Of the same directions.

    Examples
    --------
    >>> unit_vectors(np.float32([[3, 4], [0, 0]]))
    array([[0.6, 0.8],
           [nan, nan]], dtype=float32)
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.full_like(vectors, np.nan)
    np.divide(vectors, lengths, out=units, where=lengths > 0)
    return units


def batch_matrix(batch: pa.RecordBatch) -> Float32:
    """Give the vectors of some rows of a search table as a matrix.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        With a column ``embedding`` of fixed-size lists.

    Returns
    -------
    vectors : np.ndarray [shape=(n_rows, n_dims), float32]
        A view.
    """
    column = batch[EMBEDDING]
    matrix: Float32 = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    return matrix


def nearest_distances(batches: Iterable[pa.RecordBatch], queries: Float32, *, k: int) -> Float32:
    """Find the distances of the nearest rows of each query, by comparing with all of them.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        The rows, in pieces; one piece and `k` distances per query are held at a time.
    queries : np.ndarray [shape=(n_queries, n_dims), float32]
        What is looked for.
    k : int > 0
        Rows per query.

    Returns
    -------
    distances : np.ndarray [shape=(n_queries, k), float32]
        Cosine distances, ascending; infinite where there are fewer rows.
    """
    nearest = np.full((len(queries), k), np.inf, np.float32)
    units = unit_vectors(queries)
    for batch in batches:
        distances = 1 - units @ unit_vectors(batch_matrix(batch)).T
        distances[np.isnan(distances)] = np.inf
        together = np.concatenate([nearest, distances], axis=1)
        nearest = np.partition(together, k - 1, axis=1)[:, :k]
    nearest.sort(axis=1)
    return nearest


def share_found(found: list[Float32], nearest: Float32) -> float:
    """Tell which part of the exact neighbours a search has found.

    A row as far away as the last exact neighbour counts as one: which of several equal recordings
    is named is no question of recall.

    Parameters
    ----------
    found : list of np.ndarray [shape=(n_found,), float32]
        Distances of what the search found, for each query.
    nearest : np.ndarray [shape=(n_queries, k), float32]
        Those of the exact neighbours.

    Returns
    -------
    recall : float in [0, 1]
        Mean over the queries.

    Examples
    --------
    >>> share_found([np.float32([0.1, 0.4])], np.float32([[0.1, 0.2]]))
    0.5
    """
    n_exact = np.isfinite(nearest).sum(axis=1)
    hits = sum(
        min(np.count_nonzero(own <= exact[n - 1] + TIE), n)
        for own, exact, n in zip(found, nearest, n_exact, strict=True)
        if n
    )
    return float(hits / max(1, n_exact.sum()))
