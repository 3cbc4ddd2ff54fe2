"""From the rows of a shard to an Arrow table, without a Python object per number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedlib.errors import OutputError
from embedlib.records import KEPT, Float32, Int32, TrackRow
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import MODEL_SCHEMA, STARTS, VECTOR, VECTORS

_PLANNED: Final = ("track_id", "uri", "version")
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


def rows_table(rows: Sequence[TrackRow], *, manifest: ModelManifest, shard_id: str) -> pa.Table:
    """Build the table of some tracks of one shard.

    Parameters
    ----------
    rows : sequence of TrackRow
        The tracks, in order; their patches may not add up to more than 2**31 - 1 values.
    manifest : ModelManifest
        Of the model table.
    shard_id : str
        The shard.

    Returns
    -------
    table : pyarrow.Table
        With the columns of `MODEL_SCHEMA`. The pooled embedding is the mean over patches, taken
        in float64.

    Raises
    ------
    OutputError
        If the patches of a kept track do not fit the table.
    """
    kept = np.array([row.decoded.status in KEPT for row in rows], dtype=bool)
    fitting = [_fitting(row, manifest) for row in rows if row.decoded.status in KEPT]
    patches, starts = [pair[0] for pair in fitting], [pair[1] for pair in fitting]
    n_patches = np.zeros(len(rows), dtype=np.int32)
    n_patches[kept] = [len(each) for each in patches]
    columns = {
        **_track_columns(rows),
        "n_patches": n_patches,
        "shard_id": [shard_id] * len(rows),
        "embedding": _pooled(patches, kept=kept, n_dims=manifest.n_dims),
        **_patch_columns(patches, starts, n_patches=n_patches, kept=kept, manifest=manifest),
    }
    return pa.table([columns[name] for name in MODEL_SCHEMA.names], schema=MODEL_SCHEMA)


def _track_columns(rows: Sequence[TrackRow]) -> dict[str, list[object]]:
    planned = {name: [getattr(row.track, name) for row in rows] for name in _PLANNED}
    found = {name: [getattr(row.decoded, name) for row in rows] for name in _FOUND}
    statuses = [row.decoded.status.value for row in rows]
    return {**planned, **found, "status": statuses, "padded": [row.padded for row in rows]}


def _pooled(patches: Sequence[Float32], *, kept: NDArray[np.bool_], n_dims: int) -> pa.Array:
    means = [each.mean(axis=0, dtype=np.float64).astype(np.float32) for each in patches]
    flat = np.concatenate([np.empty(0, np.float32), *means])
    return _lists(pa.array(flat), np.where(kept, n_dims, 0), kept=kept, dtype=VECTOR)


def _patch_columns(
    patches: Sequence[Float32],
    starts: Sequence[Int32],
    *,
    n_patches: Int32,
    kept: NDArray[np.bool_],
    manifest: ModelManifest,
) -> dict[str, pa.Array]:
    if not manifest.patches:
        return {
            "patch_t0_ms": pa.nulls(len(kept), STARTS),
            "patch_embeddings": pa.nulls(len(kept), VECTORS),
        }
    flat = np.concatenate([np.empty((0, manifest.n_dims), np.float32), *patches])
    everywhere = np.ones(len(flat), dtype=bool)
    lengths = np.full(len(flat), manifest.n_dims)
    vectors = _lists(pa.array(flat.reshape(-1)), lengths, kept=everywhere, dtype=VECTOR)
    times = pa.array(np.concatenate([np.empty(0, np.int32), *starts]))
    return {
        "patch_t0_ms": _lists(times, n_patches, kept=kept, dtype=STARTS),
        "patch_embeddings": _lists(vectors, n_patches, kept=kept, dtype=VECTORS),
    }


def _lists(
    values: pa.Array, lengths: NDArray[np.integer], *, kept: NDArray[np.bool_], dtype: pa.DataType
) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=dtype, mask=pa.array(~kept))


def _fitting(row: TrackRow, manifest: ModelManifest) -> tuple[Float32, Int32]:
    patches, starts = row.patch_embeddings, row.patch_t0_ms
    if (
        patches is not None
        and starts is not None
        and patches.dtype == np.float32
        and patches.shape == (len(starts), manifest.n_dims)
        and 0 < patches.size <= np.iinfo(np.int32).max
    ):
        return patches, starts
    shapes = tuple(None if array is None else array.shape for array in (patches, starts))
    raise OutputError(
        f"track {row.track.track_id} is {row.decoded.status} with patches of shape {shapes[0]} "
        f"and starts of shape {shapes[1]}, not (n, {manifest.n_dims}) float32 and (n,)",
        fix="this is a fault of the model's engine, not of the track; report it",
    )
