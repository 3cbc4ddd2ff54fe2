"""A column of vectors as one matrix, its row groups decoded side by side into their places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedlib.errors import OutputError
from embedlib.records import Float32
from embedlib.tables.parquet import REPAIR, parquet_file
from embedlib.tables.snapshot import LoggedFile, Snapshot

# What is decoded at a time. Measured on 64 MB of patches (pyarrow 26, one core): 1 to 8 MB are
# equally fast, because levels and numbers stay in the caches; 256 KB and 32 MB are a tenth slower.
_PIECE_BYTES: Final = 2**22


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group, and how many vectors it has at most."""

    file: LoggedFile
    metadata: pq.FileMetaData
    index: int
    n_most: int


def read_matrix(snapshot: Snapshot, column: str, n_dims: int) -> Float32:
    """Read the vectors of one column, from as many row groups at a time as there are cores.

    Parameters
    ----------
    snapshot : Snapshot
        The files.
    column : str
        Of vectors, or of lists of them.
    n_dims : int > 0
        Length of each vector.

    Returns
    -------
    matrix : np.ndarray [shape=(n_vectors, n_dims), float32]
        In the order of the files; rows without vectors are left out.

    Raises
    ------
    OutputError
        If a file is missing or damaged, lacks the column, or has vectors of other lengths in it.
    """
    with ThreadPoolExecutor(_n_cores()) as pool:
        found = pool.map(lambda file: _groups(file, column, n_dims), snapshot.files)
        groups = [group for each in found for group in each]
        starts = np.cumsum([0, *(group.n_most for group in groups)]).tolist()
        matrix = np.empty((starts[-1], n_dims), np.float32)
        rooms = [matrix[start:stop] for start, stop in pairwise(starts)]
        counts = list(pool.map(lambda group, room: _fill(room, group, column), groups, rooms))
    return _without_gaps(matrix, starts, counts)


def _n_cores() -> int:
    is_bound = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if is_bound else os.cpu_count() or 1


def _groups(file: LoggedFile, column: str, n_dims: int) -> list[_Group]:
    with parquet_file(file.path) as parquet:
        metadata, names = parquet.metadata, parquet.schema_arrow.names
    if column not in names:
        raise OutputError(f"{file.path} has no column {column!r}", fix=REPAIR)
    # Each column of a model table has one leaf. A row without vectors counts as one value of it.
    leaf = names.index(column)
    return [
        _Group(file, metadata, index, metadata.row_group(index).column(leaf).num_values // n_dims)
        for index in range(metadata.num_row_groups)
    ]


def _fill(room: Float32, group: _Group, column: str) -> int:
    """Decode a row group into its place, and tell how many vectors it had."""
    n_rows = group.metadata.row_group(group.index).num_rows
    n_at_a_time = max(1, n_rows * _PIECE_BYTES // max(1, room.nbytes))
    n_vectors = 0
    with parquet_file(group.file.path, metadata=group.metadata) as parquet:
        pieces = parquet.iter_batches(
            n_at_a_time, row_groups=[group.index], columns=[column], use_threads=False
        )
        for piece in pieces:
            vectors = _vectors(group.file, piece[column], room.shape[1])
            room[n_vectors : n_vectors + len(vectors)] = vectors
            n_vectors += len(vectors)
    return n_vectors


def _vectors(file: LoggedFile, column: pa.Array, n_dims: int) -> Float32:
    while pa.types.is_list(column.type):
        column = column.flatten()
    if len(column) % n_dims:
        raise OutputError(f"{file.path} holds vectors of other lengths than {n_dims}", fix=REPAIR)
    numbers: Float32 = column.to_numpy()
    return numbers.reshape(-1, n_dims)


def _without_gaps(matrix: Float32, starts: Sequence[int], counts: Sequence[int]) -> Float32:
    """Close the gaps that many rows without vectors leave behind those with."""
    stop = 0
    for start, n_vectors in zip(starts, counts, strict=False):
        if start != stop:
            matrix[stop : stop + n_vectors] = matrix[start : start + n_vectors]
        stop += n_vectors
    return matrix[:stop]
