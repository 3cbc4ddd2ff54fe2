"""The files of the catalogue table: how tracks are read from them, and written."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice, repeat
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import stored
from embedlib.records import PartResult, Track
from embedlib.tables.durable import whole_file
from embedlib.tables.layout import CATALOG_FOLDER
from embedlib.tables.parquet import parquet_file
from embedlib.tables.snapshot import LoggedFile

CATALOG_SCHEMA: Final = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("shard_id", pa.string(), nullable=False),
    ]
)
"""Columns of every catalogue; those that are carried along follow, as text or null."""

BATCH_TRACKS: Final = 8_192
"""Tracks that are written at a time, a few MB."""

FILE_TRACKS: Final = 1 << 17
"""Tracks of a file that takes the place of others: what one change has written anew, some 10 MB."""

_FIELDS: Final = tuple(field.name for field in fields(Track) if field.name != "carried")

Item = TypeVar("Item")


def catalog_schema(carried: Iterable[str]) -> pa.Schema:
    """Give the columns of a file of the catalogue.

    Parameters
    ----------
    carried : iterable of str
        Columns that are carried along.

    Returns
    -------
    schema : pyarrow.Schema
        `CATALOG_SCHEMA` and these.
    """
    return pa.schema([*CATALOG_SCHEMA, *(pa.field(name, pa.string()) for name in carried)])


def file_tracks(file: LoggedFile) -> Iterator[Track]:
    """Read the tracks of one file.

    Parameters
    ----------
    file : LoggedFile
        Each has the columns that were carried along when it was written.

    Yields
    ------
    track : Track
        With its shard.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    """
    with parquet_file(file.path) as part:
        for batch in part.iter_batches(BATCH_TRACKS):
            yield from _tracks_of(batch)


def track_batches(tracks: Iterable[Track], *, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Turn tracks into rows of the catalogue.

    Parameters
    ----------
    tracks : iterable of Track
        With shards.
    schema : pyarrow.Schema
        As `catalog_schema` gives it.

    Yields
    ------
    batch : pyarrow.RecordBatch
        At most `BATCH_TRACKS` rows.
    """
    for block in _blocks(map(_row, tracks), n_items=BATCH_TRACKS):
        yield pa.RecordBatch.from_pylist(block, schema=schema)


def write_files(
    folder: Place, tracks: Iterable[Track], *, carried: Iterable[str]
) -> Iterator[PartResult]:
    """Write tracks into files that no log names yet.

    Parameters
    ----------
    folder : Path or StorePath
        Of the catalogue.
    tracks : iterable of Track
        In the order of their ids, with shards.
    carried : iterable of str
        Columns of the table that are carried along.

    Yields
    ------
    part : PartResult
        At most `FILE_TRACKS` rows.

    Raises
    ------
    OutputError
        If the disk is full or may not be written.
    """
    batches = track_batches(tracks, schema=catalog_schema(carried))
    for first in batches:
        yield _write_file(folder, first, islice(batches, FILE_TRACKS // BATCH_TRACKS - 1))


def _tracks_of(batch: pa.RecordBatch) -> Iterator[Track]:
    names = [name for name in batch.schema.names if name not in CATALOG_SCHEMA.names]
    fixed, texts = (
        zip(*(batch[name].to_pylist() for name in wanted), strict=True)
        for wanted in (_FIELDS, names)
    )
    for values, row in zip(fixed, texts if names else repeat((), batch.num_rows), strict=True):
        carried = tuple((n, t) for n, t in zip(names, row, strict=True) if t is not None)
        yield Track(*(*values, carried))


def _row(track: Track) -> dict[str, object]:
    fixed = {name: getattr(track, name) for name in CATALOG_SCHEMA.names}
    return dict(track.carried) | fixed | {"uri": stored(track.uri)}


def _blocks(items: Iterable[Item], *, n_items: int) -> Iterator[list[Item]]:
    rest = iter(items)
    return iter(lambda: list(islice(rest, n_items)), [])


def _write_file(folder: Place, first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> PartResult:
    path = folder / f"part-{uuid.uuid4().hex}.parquet"
    n_rows = 0
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer,
    ):
        for batch in (first, *rest):
            writer.write_batch(batch)
            n_rows += batch.num_rows
    return PartResult(
        model=CATALOG_FOLDER,
        shard_id="",
        file_name=path.name,
        n_rows=n_rows,
        n_bytes=path.stat().st_size,
        n_patches=0,
        audio_s=0.0,
        statuses=(),
    )
