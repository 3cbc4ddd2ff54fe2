"""The part file that a worker writes: the rows of one model for one shard, not yet committed."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedlib.catalog.stores import Place
from embedlib.engines.processor import processor_name
from embedlib.records import PartResult, Status, TrackNote, TrackRow
from embedlib.tables.durable import whole_file
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.rows import rows_table
from embedlib.tables.schema import SCHEMA_VERSION, TRACK_COLUMNS
from embedlib.tables.vectors import model_schema, vector_columns

ROW_GROUP_BYTES: Final = 32 * 2**20
"""Of vectors of patches in a row group, before compression; what a reader holds at a time."""

FOOTER_PREFIX: Final = "embedlib."
"""Of the keys of a footer that are ours."""

# Measured on embeddings of the real msd-musicnn-1 of real music (568 patches, pyarrow 26, one
# core): byte-stream split with zstd 1 gives 0.81 of the raw size and writes 340 MB/s, zstd 1 alone
# 0.91 and 350 MB/s, byte-stream split with zstd 9 gives 0.79 at half the speed. Reading would gain
# little without compression: of drawn vectors, 0.14 of the speed of a .npy file instead of 0.11,
# because where lists end takes longer to find than numbers to decompress.
_ZSTD_LEVEL = 1


def part_name(shard_id: str, attempt_id: str) -> str:
    """Name the part file of one attempt at one shard.

    Parameters
    ----------
    shard_id : str
        The shard.
    attempt_id : str
        Never used twice for a shard.

    Returns
    -------
    name : str
        Inside the folder of the model.

    Examples
    --------
    >>> part_name("0f3a", "2b")
    'part-0f3a-2b.parquet'
    """
    return f"part-{shard_id}-{attempt_id}.parquet"


def write_part(
    folder: Place,
    *,
    manifest: ModelManifest,
    shard_id: str,
    attempt_id: str,
    rows: Sequence[TrackRow],
    provenance: Mapping[str, str],
    stage_s: Mapping[str, float] | None = None,
) -> PartResult:
    """Write the rows of one shard, whole or not at all.

    Parameters
    ----------
    folder : Path or StorePath
        Of the model table; it must be there.
    manifest : ModelManifest
        Of the table.
    shard_id : str
        The shard.
    attempt_id : str
        Never used twice for a shard.
    rows : sequence of TrackRow
        One for each track of the shard, in that order.
    provenance : mapping of str to str
        Kept in the footer: versions, engine, device; ``machine`` and ``processor`` are those of
        this host if not given.
    stage_s : mapping of str to float, optional
        Seconds that went into the rows before, by stage.

    Returns
    -------
    part : PartResult
        What was written, with the seconds of `stage_s` and those of ``write``.

    Raises
    ------
    OutputError
        If the disk is full or not writable, or the rows do not fit the table.
    """
    started_s = time.perf_counter()
    name = part_name(shard_id, attempt_id)
    schema = model_schema(manifest).with_metadata(_footer(manifest, provenance))
    groups = (
        rows_table(group, manifest=manifest, shard_id=shard_id) for group in _row_groups(rows)
    )
    n_patches = write_groups(folder / name, groups, schema=schema, manifest=manifest)
    return PartResult(
        model=manifest.model,
        shard_id=shard_id,
        file_name=name,
        n_rows=len(rows),
        n_bytes=(folder / name).stat().st_size,
        n_patches=n_patches,
        audio_s=sum(row.decoded.duration_s for row in rows),
        statuses=tuple(sorted(Counter(row.decoded.status.value for row in rows).items())),
        stage_s=(*(stage_s or {}).items(), ("write", time.perf_counter() - started_s)),
        notes=tuple(_note(row) for row in rows if row.decoded.status is not Status.OK),
    )


def write_groups(
    path: Place, groups: Iterable[pa.Table], *, schema: pa.Schema, manifest: ModelManifest
) -> int:
    """Write a part file from tables, whole or not at all.

    Parameters
    ----------
    path : Path or StorePath
        The file, in the folder of the model table.
    groups : iterable of pyarrow.Table
        One row group each.
    schema : pyarrow.Schema
        Of all of them, with the footer as its metadata.
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    n_patches : int
        Over all rows.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    OSError
        If a store does not take the file.
    """
    leaves = [leaf for column in vector_columns(manifest) for leaf in column.leaves]
    with whole_file(path) as temporary:
        return _write_rows(temporary, groups, schema=schema, float_leaves=leaves)


def _write_rows(
    path: Path, groups: Iterable[pa.Table], *, schema: pa.Schema, float_leaves: list[str]
) -> int:
    n_patches = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        # Repeated ids and statuses gain from a dictionary, floats never; pyarrow prefers a
        # dictionary over byte-stream split where both are asked for.
        use_dictionary=list(TRACK_COLUMNS),
        use_byte_stream_split=float_leaves,
        write_statistics=list(TRACK_COLUMNS),
    ) as writer:
        for table in groups:
            writer.write_table(table.replace_schema_metadata(schema.metadata))
            n_patches += pc.sum(table["n_patches"]).as_py()
    return n_patches


def _footer(manifest: ModelManifest, provenance: Mapping[str, str]) -> dict[str, str]:
    own = {
        "schema_version": str(SCHEMA_VERSION),
        "model": manifest.model,
        "n_dims": str(manifest.n_dims),
        "n_vectors": str(manifest.n_vectors),
    }
    here = {"machine": platform.node(), "processor": processor_name()}
    facts = {**here, **provenance, **own}
    return {FOOTER_PREFIX + key: value for key, value in facts.items()}


def _note(row: TrackRow) -> TrackNote:
    return TrackNote(row.track.track_id, row.decoded.status.value, row.decoded.error)


def _row_groups(rows: Sequence[TrackRow]) -> Iterator[list[TrackRow]]:
    """Cut before each row that would take a group over its bytes; a larger row stands alone."""
    group: list[TrackRow] = []
    n_bytes = 0
    for row in rows:
        size = _n_bytes(row)
        if group and n_bytes + size > ROW_GROUP_BYTES:
            yield group
            group, n_bytes = [], 0
        group.append(row)
        n_bytes += size
    yield group


def _n_bytes(row: TrackRow) -> int:
    embeddings = 0 if row.patch_embeddings is None else row.patch_embeddings.nbytes
    return embeddings + sum(vectors.nbytes for vectors in row.columns)
