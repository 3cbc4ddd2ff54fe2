"""The rows of a model table as they are read back, one by one, without a copy of their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from embedlib.records import Float32, Int32
from embedlib.tables.vectors import VectorColumn

_FACTS: Final = ("track_id", "status", "n_samples", "sr_hz", "n_patches")
_STARTS: Final = "patch_t0_ms"


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """One kind of vectors of one row as read.

    Attributes
    ----------
    mean : np.ndarray [shape=(n_dims,), float32] or None
        Of the track.
    lengths : np.ndarray [shape=(n_patches * n_vectors,), int32] or None
        Length of each vector of a patch.
    values : np.ndarray [shape=(n_patches * n_vectors * n_dims,), float32] or None
        These vectors, one after the other.
    """

    mean: Float32 | None
    lengths: Int32 | None
    values: Float32 | None


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row as read.

    Attributes
    ----------
    track_id, status : str
        As stored.
    n_samples, sr_hz, n_patches : int
        As stored.
    starts_ms : np.ndarray [shape=(n_patches,), int32] or None
        Start of each patch.
    vectors : tuple of StoredVectors
        Of each kind that was asked for.
    """

    track_id: str
    status: str
    n_samples: int
    sr_hz: int
    n_patches: int
    starts_ms: Int32 | None
    vectors: tuple[StoredVectors, ...]


def row_columns(kinds: Sequence[VectorColumn]) -> tuple[str, ...]:
    """Name the columns that rows are made of.

    Parameters
    ----------
    kinds : sequence of VectorColumn
        Vectors that are wanted.

    Returns
    -------
    names : tuple of str
        What `stored_rows` needs.
    """
    return *_FACTS, _STARTS, *(name for kind in kinds for name in (kind.name, kind.patches_name))


def stored_rows(batch: pa.RecordBatch, kinds: Sequence[VectorColumn]) -> Iterator[StoredRow]:
    """Take a batch apart; arrays are views of it.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        With the columns of `row_columns`.
    kinds : sequence of VectorColumn
        Vectors that are wanted.

    Yields
    ------
    row : StoredRow
        In order.
    """
    facts = batch.select(_FACTS).to_pylist()
    vectors = zip(*(_stored_vectors(batch, kind) for kind in kinds), strict=True)
    for fact, starts, each in zip(facts, batch[_STARTS], vectors, strict=True):
        yield StoredRow(**fact, starts_ms=_numbers(starts.values), vectors=each)


def _stored_vectors(batch: pa.RecordBatch, kind: VectorColumn) -> Iterator[StoredVectors]:
    for mean, patches in zip(batch[kind.name], batch[kind.patches_name], strict=True):
        inner = patches.values
        lengths = None if inner is None else inner.value_lengths()
        values = None if inner is None else inner.flatten()
        yield StoredVectors(*map(_numbers, (mean.values, lengths, values)))


def _numbers(array: pa.Array | None) -> np.ndarray | None:
    return None if array is None else array.to_numpy(zero_copy_only=False)
