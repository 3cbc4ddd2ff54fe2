"""The columns that every model table has: one row per track, also for those that failed.

`sr_hz`, `n_channels` and `n_samples` describe the audio as decoded, before mixing and resampling,
so that ``duration_s == n_samples / sr_hz``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from embedlib.errors import ConfigError

SCHEMA_VERSION: Final = 2
"""Of the columns and of `model.json`; a reader refuses what is newer than itself.

Version 1 had one vector per patch and no further columns; it reads as a table without them.
"""

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

TRACK_COLUMNS: Final = tuple(
    field.name for field in MODEL_SCHEMA if not pa.types.is_list(field.type)
)
"""Columns that hold one value per track, never null."""

PATCH_SCHEMA: Final = pa.schema(
    [
        _always("track_id", pa.string()),
        _always("patch", pa.int32()),
        _always("t0_ms", pa.int32()),
        _always("t1_ms", pa.int32()),
        _always("embedding", VECTOR),
    ]
)
"""Columns of the long form, one row per vector of a patch."""

BAND: Final = _always("band", pa.int32())
"""Column of the long form that follows ``patch`` where a patch has several vectors."""

_COLUMN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def patches_name(column: str) -> str:
    """Name the column that holds the vectors of single patches.

    Parameters
    ----------
    column : str
        Name of a further column of vectors.

    Returns
    -------
    name : str
        ``patch_<column>``.

    Examples
    --------
    >>> patches_name("activations")
    'patch_activations'
    """
    return f"patch_{column}"


def check_column_names(names: Iterable[str]) -> None:
    """Refuse names that further columns cannot have.

    Upper and lower case count as the same, because SQL engines do not tell them apart.

    Parameters
    ----------
    names : iterable of str
        Of the further columns of one table.

    Raises
    ------
    ConfigError
        If a name holds other characters than letters, digits, ``.``, ``_`` and ``-``, or if it or
        the name of its patches is that of another column.
    """
    taken = {name.casefold() for name in (*MODEL_SCHEMA.names, *PATCH_SCHEMA.names, BAND.name)}
    for name in names:
        if not _COLUMN_NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a column",
                fix="use letters, digits, '.', '_' and '-', with a letter or digit first",
            )
        own = {name.casefold(), patches_name(name).casefold()}
        if clashes := own & taken:
            raise ConfigError(
                f"the column {name!r} clashes with {min(clashes)!r}, which the table has already",
                fix="give it another name",
            )
        taken |= own
