"""How a search table is asked: exactly while it is small, by an index that was measured above.

The index is IVF with vectors kept in 8 bits per value (``IVF_SQ``), and the exact distances of five
times as many candidates as are wanted. Of what LanceDB 0.40 has, with 200 values on two cores: it
is trained in seconds where product quantisation takes minutes and HNSW a quarter of one, and it
loses nothing on noise, where one bit per value (``IVF_RQ``) finds less than half. How many
partitions a query looks into is not set but measured, table by table: as many as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from embedlib.records import Float32
from embedlib.search.exact import batch_matrix, nearest_distances, share_found
from embedlib.search.rows import EMBEDDING
from embedlib.search.store import METRIC

if TYPE_CHECKING:
    from lancedb.expr import Expr
    from lancedb.table import Table

EXACT_ROWS: Final = 50_000
"""Tables up to this size get no index: comparing with all rows of 200 values takes 35 ms."""

RECALL_K: Final = 10
"""Neighbours that recall is about."""

TARGET_RECALL: Final = 0.97
"""What a build does not go below on its sample, so that 0.95 holds on any other."""

N_QUERIES: Final = 200
"""Tracks of a table that its recall is measured with."""

DISTANCE: Final = "_distance"
"""What LanceDB calls the column of distances."""

_PARTITION_ROWS: Final = 4_096
_REFINED: Final = 5
_FIRST_PROBES: Final = 8
_BATCH_ROWS: Final = 8_192


@dataclass(frozen=True, slots=True)
class Tuned:
    """How far a query has to look.

    Attributes
    ----------
    n_probes : int
        Partitions; 0 where all rows are compared.
    recall : float
        At 10, on a sample.
    """

    n_probes: int
    recall: float


def train(table: Table, n_rows: int) -> None:
    """Make the index of a table, in place of the one that it may have.

    Parameters
    ----------
    table : lancedb.Table
        The search table.
    n_rows : int > 0
        Of the table.
    """
    from lancedb.index import IvfSq

    config = IvfSq(distance_type=METRIC, num_partitions=_n_partitions(n_rows))
    table.create_index(EMBEDDING, config=config, replace=True)


def tune(table: Table, n_rows: int, *, target: float = TARGET_RECALL) -> Tuned:
    """Find how many partitions a query must look into.

    Parameters
    ----------
    table : lancedb.Table
        The search table, with an index.
    n_rows : int > 0
        Of the table.
    target : float in (0, 1], optional
        Recall to reach; where even all partitions do not, they are what is taken.

    Returns
    -------
    tuned : Tuned
        The least power of two that does.
    """
    queries = sample_vectors(table, n_rows)
    nearest = _exact_distances(table, queries)
    n_probes, n_partitions = _FIRST_PROBES, _n_partitions(n_rows)
    while True:
        recall = _recall(table, queries, nearest, n_probes=n_probes)
        if recall >= target or n_probes >= n_partitions:
            return Tuned(n_probes, recall)
        n_probes *= 2


def measure_recall(table: Table, n_rows: int, *, n_probes: int, n_queries: int, seed: int) -> float:
    """Measure which part of the exact neighbours of some tracks a search finds.

    Parameters
    ----------
    table : lancedb.Table
        The search table.
    n_rows : int > 0
        Of the table.
    n_probes : int >= 0
        Partitions that a query looks into; 0 for no index.
    n_queries : int > 0
        Tracks to ask for.
    seed : int
        Which tracks.

    Returns
    -------
    recall : float in [0, 1]
        At 10.
    """
    queries = sample_vectors(table, n_rows, n_queries=n_queries, seed=seed)
    return _recall(table, queries, _exact_distances(table, queries), n_probes=n_probes)


def nearest_rows(
    table: Table,
    vector: Float32,
    *,
    k: int,
    n_probes: int,
    columns: tuple[str, ...] = (),
    where: str | Expr | None = None,
) -> pa.Table:
    """Ask a search table for the neighbours of a vector.

    Parameters
    ----------
    table : lancedb.Table
        The search table.
    vector : np.ndarray [shape=(n_dims,), float32]
        What is looked for.
    k : int > 0
        Rows wanted.
    n_probes : int >= 0
        Partitions to look into, or more where a filter leaves fewer than `k` rows in them; 0 to
        compare with all rows.
    columns : tuple of str, optional
        What to give of each row beside ``_distance``.
    where : str or lancedb.expr.Expr, optional
        What must hold of a row. It is applied first, so that `k` rows come back where there are
        as many.

    Returns
    -------
    rows : pyarrow.Table
        At most `k`, the nearest first.
    """
    # The types of LanceDB 0.40 do not tell that a search for a vector is more than a query.
    search: Any = table.search(vector, vector_column_name=EMBEDDING, query_type="vector")
    search = search.distance_type(METRIC).select([*columns, DISTANCE]).limit(k)
    if n_probes:
        search = search.minimum_nprobes(n_probes).maximum_nprobes(0).refine_factor(_REFINED)
    else:
        search = search.bypass_vector_index()
    if where is not None:
        search = search.where(where, prefilter=True)
    return search.to_arrow()


def sample_vectors(
    table: Table, n_rows: int, *, n_queries: int = N_QUERIES, seed: int = 0
) -> Float32:
    """Draw the vectors of some tracks; those without direction are left out.

    Parameters
    ----------
    table : lancedb.Table
        The search table.
    n_rows : int > 0
        Of the table.
    n_queries : int > 0, optional
        How many, where there are as many.
    seed : int, optional
        Of the generator.

    Returns
    -------
    vectors : np.ndarray [shape=(n_drawn, n_dims), float32]
        Of different rows.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(n_rows, size=min(n_queries, n_rows), replace=False)
    rows = table.take_offsets(sorted(drawn.tolist())).select([EMBEDDING]).to_arrow()
    vectors: Float32 = np.concatenate([batch_matrix(batch) for batch in rows.to_batches()])
    return vectors[vectors.any(axis=1)]


def _exact_distances(table: Table, queries: Float32) -> Float32:
    """Give the distances of all but the nearest row, which is the query itself."""
    batches = table.search().select([EMBEDDING]).to_batches(_BATCH_ROWS)
    return nearest_distances(batches, queries, k=RECALL_K + 1)[:, 1:]


def _recall(table: Table, queries: Float32, nearest: Float32, *, n_probes: int) -> float:
    found = [
        nearest_rows(table, query, k=RECALL_K + 1, n_probes=n_probes)[DISTANCE].to_numpy()[1:]
        for query in queries
    ]
    return share_found(found, nearest)


def _n_partitions(n_rows: int) -> int:
    return max(1, n_rows // _PARTITION_ROWS)
