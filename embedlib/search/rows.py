"""The tracks of a model table that have an embedding, with the facts that filters may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import MODEL_SCHEMA, TRACK_COLUMNS
from embedlib.tables.tracks import TrackTable

FACTS: Final = tuple(name for name in TRACK_COLUMNS if name not in {"error", "shard_id"})
"""What is kept of a track beside its vector: how a run was cut into shards helps nobody here."""

EMBEDDING: Final = "embedding"


def fixed_vector(n_dims: int) -> pa.DataType:
    """Give the type of vectors of one length, which search engines ask for.

    Parameters
    ----------
    n_dims : int > 0
        Length of each.

    Returns
    -------
    dtype : pyarrow.DataType
        ``fixed_size_list<float32>``, with elements named as Lance names them.
    """
    return pa.list_(pa.field("item", pa.float32()), n_dims)


def fixed_vectors(vectors: pa.Array, n_dims: int) -> pa.Array:
    """Turn lists of one length into an array of fixed-size lists, without a copy.

    Parameters
    ----------
    vectors : pyarrow.ListArray
        Lists of `n_dims` float32 values, none of them null.
    n_dims : int > 0
        Length of each.

    Returns
    -------
    vectors : pyarrow.FixedSizeListArray
        The same values.

    Examples
    --------
    >>> fixed_vectors(pa.array([[1, 2], [3, 4]], pa.list_(pa.float32())), 2).type.list_size
    2
    """
    return pa.FixedSizeListArray.from_arrays(vectors.flatten(), type=fixed_vector(n_dims))


def search_schema(manifest: ModelManifest) -> pa.Schema:
    """Give the columns of a search table.

    Parameters
    ----------
    manifest : ModelManifest
        Of the model table that it is derived from.

    Returns
    -------
    schema : pyarrow.Schema
        `FACTS`, and ``embedding``.
    """
    facts = [MODEL_SCHEMA.field(name) for name in FACTS]
    return pa.schema([*facts, pa.field(EMBEDDING, fixed_vector(manifest.n_dims), nullable=False)])


def keys(table: pa.Table) -> pa.ChunkedArray:
    r"""Name the content of rows: the same track in the same version has the same embedding.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns ``track_id`` and ``version``.

    Returns
    -------
    keys : pyarrow.ChunkedArray
        One string for each row.

    Examples
    --------
    >>> keys(pa.table({"track_id": ["a"], "version": ["7"]}))[0].as_py()
    'a\x007'
    """
    # A path holds no NUL, so that two different pairs never give one key.
    return pc.binary_join_element_wise(table["track_id"], table["version"], "\x00")


def track_keys(tracks: TrackTable) -> pa.Table:
    """Read which tracks a model table has, and which of them have an embedding.

    Parameters
    ----------
    tracks : TrackTable
        The table.

    Returns
    -------
    table : pyarrow.Table
        ``track_id``, ``version``, ``n_patches``: some 70 bytes a row, in the order of the files.
    """
    return tracks.to_arrow(["track_id", "version", "n_patches"])


def embedded_batches(
    tracks: TrackTable, columns: Sequence[str], *, wanted: NDArray[np.bool_] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read rows with an embedding in pieces of bounded size.

    Parameters
    ----------
    tracks : TrackTable
        The table.
    columns : sequence of str
        Names of columns.
    wanted : np.ndarray [shape=(n_rows,), bool], optional
        Which rows of the table; all by default. Files without such a row are not opened.

    Yields
    ------
    batch : pyarrow.RecordBatch
        Some rows, with these columns in this order.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    names = list(dict.fromkeys((*columns, "n_patches")))
    first = 0
    for file in tracks.snapshot.files:
        own = None if wanted is None else wanted[first : first + file.n_rows]
        first += file.n_rows
        if own is not None and not own.any():
            continue
        done = 0
        for batch in file.batches(names):
            mask = pc.greater(batch["n_patches"], 0)
            if own is not None:
                mask = pc.and_(mask, pa.array(own[done : done + len(batch)]))
            done += len(batch)
            yield batch.filter(mask).select(list(columns))


def search_batches(
    tracks: TrackTable, *, wanted: NDArray[np.bool_] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read rows as a search table holds them.

    Parameters
    ----------
    tracks : TrackTable
        The model table.
    wanted : np.ndarray [shape=(n_rows,), bool], optional
        Which rows of it; all that have an embedding by default.

    Yields
    ------
    batch : pyarrow.RecordBatch
        Of `search_schema`.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    schema, n_dims = search_schema(tracks.manifest), tracks.manifest.n_dims
    for batch in embedded_batches(tracks, (*FACTS, EMBEDDING), wanted=wanted):
        vectors = fixed_vectors(batch[EMBEDDING], n_dims)
        yield pa.record_batch([*(batch[name] for name in FACTS), vectors], schema=schema)
