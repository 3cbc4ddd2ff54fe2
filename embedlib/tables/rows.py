"""From the rows of a shard to an Arrow table, without a Python object per number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedlib.catalog.uris import stored
from embedlib.errors import OutputError
from embedlib.records import KEPT, Float32, Int32, TrackRow
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import STARTS, VECTOR, VECTORS
from embedlib.tables.vectors import VectorColumn, model_schema, vector_columns

_PLANNED: Final = ("track_id", "version")
_FOUND: Final = (
    "content_hash",
    "size",
    "error",
    "duration_s",
    "sr_hz",
    "n_channels",
    "n_samples",
    "n_bad_packets",
)


_ENGINE_FAULT: Final = "this is a fault of the model's engine, not of the track; report it"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Which rows have patches, and where these start."""

    mask: NDArray[np.bool_]
    starts: list[Int32]

    @property
    def n_patches(self) -> Int32:
        counts = np.zeros(len(self.mask), dtype=np.int32)
        counts[self.mask] = [len(each) for each in self.starts]
        return counts

    def lists(self, values: pa.Array, lengths: NDArray[np.integer], dtype: pa.DataType) -> pa.Array:
        """Give each row its share of `values`, null where the track failed."""
        return _lists(values, lengths, dtype=dtype, mask=pa.array(~self.mask))

    def nulls(self, dtype: pa.DataType) -> pa.Array:
        return pa.nulls(len(self.mask), dtype)


def rows_table(rows: Sequence[TrackRow], *, manifest: ModelManifest, shard_id: str) -> pa.Table:
    """Build the table of some tracks of one shard.

    Parameters
    ----------
    rows : sequence of TrackRow
        The tracks, in order; the values of one column may not add up to more than 2**31 - 1.
    manifest : ModelManifest
        Of the model table.
    shard_id : str
        The shard.

    Returns
    -------
    table : pyarrow.Table
        With the columns of `model_schema`. The vector of a track is the mean over all vectors of
        its patches, taken in float64.

    Raises
    ------
    OutputError
        If the vectors of a kept track do not fit the table.
    """
    kept_rows = [row for row in rows if row.decoded.status in KEPT]
    mask = np.array([row.decoded.status in KEPT for row in rows], dtype=bool)
    kept = _Kept(mask, [_starts(row) for row in kept_rows])
    columns = {
        **_track_columns(rows),
        "n_patches": kept.n_patches,
        "patch_t0_ms": _starts_column(kept) if manifest.patches else kept.nulls(STARTS),
        "shard_id": [shard_id] * len(rows),
        **_vector_columns(kept_rows, kept, manifest),
    }
    schema = model_schema(manifest)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _track_columns(rows: Sequence[TrackRow]) -> dict[str, object]:
    planned = {name: [getattr(row.track, name) for row in rows] for name in _PLANNED}
    found = {name: [getattr(row.decoded, name) for row in rows] for name in _FOUND}
    statuses = [row.decoded.status.value for row in rows]
    return {
        **planned,
        **found,
        "uri": [stored(row.track.uri) for row in rows],
        "status": statuses,
        "padded": [row.padded for row in rows],
    }


def _vector_columns(
    kept_rows: Sequence[TrackRow], kept: _Kept, manifest: ModelManifest
) -> dict[str, pa.Array]:
    kinds = vector_columns(manifest)
    fitting = [_fitting(row, kinds) for row in kept_rows]
    columns = {}
    for index, kind in enumerate(kinds):
        vectors = [each[index] for each in fitting]
        columns[kind.name] = _means(vectors, kind, kept)
        patches = _patches(vectors, kind, kept) if manifest.patches else kept.nulls(VECTORS)
        columns[kind.patches_name] = patches
    return columns


def _starts_column(kept: _Kept) -> pa.Array:
    flat = np.concatenate([np.empty(0, np.int32), *kept.starts])
    return kept.lists(pa.array(flat), kept.n_patches, STARTS)


def _means(vectors: Sequence[Float32], kind: VectorColumn, kept: _Kept) -> pa.Array:
    means = [each.mean(axis=0, dtype=np.float64).astype(np.float32) for each in vectors]
    flat = np.concatenate([np.empty(0, np.float32), *means])
    return kept.lists(pa.array(flat), np.where(kept.mask, kind.n_dims, 0), VECTOR)


def _patches(vectors: Sequence[Float32], kind: VectorColumn, kept: _Kept) -> pa.Array:
    flat = np.concatenate([np.empty((0, kind.n_dims), np.float32), *vectors])
    lengths = np.full(len(flat), kind.n_dims)
    inner = _lists(pa.array(flat.reshape(-1)), lengths, dtype=VECTOR)
    return kept.lists(inner, kept.n_patches * kind.n_vectors, VECTORS)


def _lists(
    values: pa.Array,
    lengths: NDArray[np.integer],
    *,
    dtype: pa.DataType,
    mask: pa.Array | None = None,
) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=dtype, mask=mask)


def _starts(row: TrackRow) -> Int32:
    if row.patch_t0_ms is None or not row.patch_t0_ms.size:
        raise OutputError(
            f"track {row.track.track_id} is {row.decoded.status} without a patch",
            fix=_ENGINE_FAULT,
        )
    return row.patch_t0_ms


def _fitting(row: TrackRow, kinds: Sequence[VectorColumn]) -> tuple[Float32, ...]:
    """Give the vectors of a row by kind; each patch must have as many as its kind says."""
    found = (row.patch_embeddings, *row.columns)
    if len(found) != len(kinds):
        raise OutputError(
            f"track {row.track.track_id} has {len(found) - 1} further columns of vectors, "
            f"not {len(kinds) - 1}",
            fix=_ENGINE_FAULT,
        )
    return tuple(_checked(each, kind, row) for each, kind in zip(found, kinds, strict=True))


def _checked(vectors: Float32 | None, kind: VectorColumn, row: TrackRow) -> Float32:
    shape = len(_starts(row)) * kind.n_vectors, kind.n_dims
    if (
        vectors is not None
        and vectors.shape == shape
        and vectors.dtype == np.float32
        and vectors.size <= np.iinfo(np.int32).max
    ):
        return vectors
    found = "none" if vectors is None else f"{vectors.dtype} of shape {vectors.shape}"
    raise OutputError(
        f"track {row.track.track_id} is {row.decoded.status} with {kind.patches_name} {found}, "
        f"not float32 of shape {shape} with at most 2**31 - 1 values",
        fix=_ENGINE_FAULT,
    )
