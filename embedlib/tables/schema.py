"""The columns of a model table: one row per track, also for those that failed.

`sr_hz`, `n_channels` and `n_samples` describe the audio as decoded, before mixing and resampling,
so that ``duration_s == n_samples / sr_hz``.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = 1
"""Of the columns below and of `model.json`; a reader refuses what is newer than itself."""

# Elements are never null: readers skip a level, and no reader has to ask.
VECTOR: Final = pa.list_(pa.field("element", pa.float32(), nullable=False))
VECTORS: Final = pa.list_(pa.field("element", VECTOR, nullable=False))
STARTS: Final = pa.list_(pa.field("element", pa.int32(), nullable=False))


def _always(name: str, dtype: pa.DataType) -> pa.Field:
    return pa.field(name, dtype, nullable=False)


MODEL_SCHEMA: Final = pa.schema(
    [
        _always("track_id", pa.string()),
        _always("uri", pa.string()),
        _always("version", pa.string()),
        _always("content_hash", pa.string()),
        _always("size", pa.int64()),
        _always("status", pa.string()),
        _always("error", pa.string()),
        _always("duration_s", pa.float64()),
        _always("sr_hz", pa.int32()),
        _always("n_channels", pa.int32()),
        _always("n_samples", pa.int64()),
        _always("n_bad_packets", pa.int32()),
        _always("n_patches", pa.int32()),
        _always("padded", pa.bool_()),
        pa.field("embedding", VECTOR),
        pa.field("patch_t0_ms", STARTS),
        pa.field("patch_embeddings", VECTORS),
        _always("shard_id", pa.string()),
    ]
)

VECTOR_COLUMNS: Final = ("embedding", "patch_t0_ms", "patch_embeddings")
"""Columns that hold lists, null where there is no embedding."""

TRACK_COLUMNS: Final = tuple(name for name in MODEL_SCHEMA.names if name not in VECTOR_COLUMNS)
"""Columns that hold one value per track, never null."""

FLOAT_LEAVES: Final = (
    "embedding.list.element",
    "patch_embeddings.list.element.list.element",
)
"""Parquet paths of the columns that make up nearly all of a file."""
