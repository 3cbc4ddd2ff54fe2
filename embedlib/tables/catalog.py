"""The catalog table: what the source holds, which is the plan.

Each (track, version) gets its shard once, when it is first listed. The table at a Delta version is
a plan, and what a model has still to do is the plan without the rows that its own table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import islice, repeat
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import one_line, stored
from embedlib.errors import OutputError, RunError
from embedlib.records import Track
from embedlib.tables.delta import table_place
from embedlib.tables.durable import refusals
from embedlib.tables.layout import CATALOG_FOLDER, OutLike, output_root
from embedlib.tables.listed import Changes, Listing
from embedlib.tables.parquet import parquet_file
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.snapshot import NO_TABLE, Snapshot, read_snapshot, snapshot_of
from embedlib.tables.sources import check_sources, claim_sources

TRANSACTION_ID: Final = "catalog"
"""Application transaction of every commit to the table; its version counts the generations."""

MAX_ATTEMPTS: Final = 20
"""A refused commit means that another driver's went through; twenty in a row mean a fault."""

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


_FIELDS: Final = tuple(field.name for field in fields(Track) if field.name != "carried")

BATCH_TRACKS: Final = 8_192
"""Tracks that are written at a time, a few MB."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be embedded, and how it differs from what was known before.

    Attributes
    ----------
    tracks : PlannedTracks
        All of the table, with `shard_id`; they are kept in a temporary database.
    changes : Changes
        What is new, changed or gone.
    """

    tracks: PlannedTracks
    changes: Changes


def adopt(
    out: OutLike,
    listed: Iterable[Track],
    *,
    sources: Sequence[str],
    shard_hours: float | None = None,
) -> Plan:
    """Bring a listing into the catalogue of an output, and give the plan.

    Tracks with new ids are added in shards of their own. When two drivers do so at once, the one
    that comes second adopts what the first has written.

    Parameters
    ----------
    out : str or path-like
        Output folder; made if it does not exist.
    listed : iterable of Track
        What the sources hold now, in any order; a stream will do.
    sources : sequence of str
        Where that was listed from; an output belongs to one set of sources.
    shard_hours : float, optional
        Hours of audio per shard; by default what fits the catalogue.

    Returns
    -------
    plan : Plan
        All tracks, and what is new, changed or gone.

    Raises
    ------
    ConfigError
        If the output belongs to other sources, `out` cannot be an output, or two tracks have one
        id.
    OutputError
        If the output cannot be written or its catalogue is damaged.
    RunError
        If the table refuses every commit, or the temporary folder is full.
    """
    folder = output_root(out) / CATALOG_FOLDER
    with refusals(folder):
        check_sources(folder, sources)
    listing = Listing(listed)
    with refusals(folder):
        claim_sources(folder, sources)
        for _ in range(MAX_ATTEMPTS):
            plan = _try_to_adopt(folder, listing, shard_hours)
            if plan is not None:
                return plan
    raise RunError(
        f"{folder} refused {MAX_ATTEMPTS} commits in a row",
        fix="stop the other drivers of this output, then run the same command again",
    )


def preview(
    out: OutLike,
    listed: Iterable[Track],
    *,
    sources: Sequence[str],
    shard_hours: float | None = None,
) -> Plan:
    """Give the plan that `adopt` would; nothing is written.

    Parameters
    ----------
    out : str or path-like
        Output folder, which need not exist.
    listed : iterable of Track
        What the sources hold now, in any order; a stream will do.
    sources : sequence of str
        Where that was listed from.
    shard_hours : float, optional
        Hours of audio per shard; by default what fits the catalogue.

    Returns
    -------
    plan : Plan
        All tracks, and what is new, changed or gone.

    Raises
    ------
    ConfigError
        If the output belongs to other sources, `out` cannot be an output, or two tracks have one
        id.
    OutputError
        If the catalogue of the output is damaged.
    """
    folder = output_root(out) / CATALOG_FOLDER
    check_sources(folder, sources)
    snapshot = read_snapshot(folder)
    listing = Listing(listed)
    changes = listing.hold_against(_tracks(snapshot))
    for _ in listing.new_shards(shard_hours=shard_hours):
        pass
    return Plan(listing.planned, changes)


def read_plan(out: OutLike) -> tuple[Track, ...]:
    """Read all planned tracks of an output into memory.

    Parameters
    ----------
    out : str or path-like
        Output folder.

    Returns
    -------
    tracks : tuple of Track
        With `shard_id`, in the order of their ids.

    Raises
    ------
    OutputError
        If there is no catalogue, or it is damaged.
    """
    return tuple(sorted(read_tracks(out), key=lambda track: track.track_id))


def read_tracks(out: OutLike) -> Iterator[Track]:
    """Read all planned tracks of an output as a stream.

    Parameters
    ----------
    out : str or path-like
        Output folder.

    Yields
    ------
    track : Track
        With `shard_id`; in the order of ids where they were adopted at once.

    Raises
    ------
    OutputError
        If there is no catalogue, or it is damaged.
    """
    folder = output_root(out) / CATALOG_FOLDER
    snapshot = read_snapshot(folder)
    if snapshot.version == NO_TABLE:
        raise OutputError(f"{folder} holds no catalogue", fix="give the folder that a run wrote")
    yield from _tracks(snapshot)


def _try_to_adopt(folder: Place, listing: Listing, shard_hours: float | None) -> Plan | None:
    """Compare with the newest table and append what is new; None if somebody else was faster."""
    table = _open(folder)
    changes = listing.hold_against(_tracks(snapshot_of(table, folder)))
    shards = listing.new_shards(shard_hours=shard_hours)
    if changes.n_new and not _append(table, _to_arrow(shards, carried=listing.carried)):
        return None
    return Plan(listing.planned, changes)


def _append(table: DeltaTable, tracks: pa.RecordBatchReader) -> bool:
    """Commit tracks on top of the version that was read; False if that is not the newest."""
    generation = (table.transaction_version(TRANSACTION_ID) or 0) + 1
    properties = CommitProperties(
        app_transactions=[Transaction(TRANSACTION_ID, generation)], max_commit_retries=0
    )
    try:
        write_deltalake(
            table,
            tracks,
            mode="append",
            schema_mode="merge",  # the columns carried along may be others than before
            commit_properties=properties,
        )
    except CommitFailedError:
        return False
    except DeltaError as exc:
        raise OutputError(
            f"cannot write to {table.table_uri}: {one_line(exc)}",
            fix="mend the disk or its permissions, then run the same command again",
        ) from exc
    return True


def _open(folder: Place) -> DeltaTable:
    """Open the table, made if absent; of several drivers that make it at once one succeeds."""
    try:
        with suppress(CommitFailedError):
            # Without retries, else the second driver would create it once more on top.
            once = CommitProperties(max_commit_retries=0)
            return DeltaTable.create(
                **table_place(folder), schema=CATALOG_SCHEMA, mode="ignore", commit_properties=once
            )
        return DeltaTable(**table_place(folder))
    except DeltaError as exc:
        raise OutputError(
            f"cannot read the log of {folder}: {one_line(exc)}", fix="restore it from a copy"
        ) from exc


def _tracks(snapshot: Snapshot) -> Iterator[Track]:
    # File by file, because each has the columns that were carried along when it was written.
    for file in snapshot.files:
        with parquet_file(file.path) as part:
            for batch in part.iter_batches(BATCH_TRACKS):
                yield from _tracks_of(batch)


def _tracks_of(batch: pa.RecordBatch) -> Iterator[Track]:
    names = [name for name in batch.schema.names if name not in CATALOG_SCHEMA.names]
    fixed, texts = (
        zip(*(batch[name].to_pylist() for name in wanted), strict=True)
        for wanted in (_FIELDS, names)
    )
    for values, row in zip(fixed, texts if names else repeat((), batch.num_rows), strict=True):
        carried = tuple((n, t) for n, t in zip(names, row, strict=True) if t is not None)
        yield Track(*(*values, carried))


def _to_arrow(
    shards: Iterable[tuple[str, list[Track]]], *, carried: Iterable[str]
) -> pa.RecordBatchReader:
    schema = pa.schema([*CATALOG_SCHEMA, *(pa.field(name, pa.string()) for name in carried)])
    rows = (_row(track, shard_id) for shard_id, tracks in shards for track in tracks)
    blocks = iter(lambda: list(islice(rows, BATCH_TRACKS)), [])
    batches = (pa.RecordBatch.from_pylist(block, schema=schema) for block in blocks)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _row(track: Track, shard_id: str) -> dict[str, object]:
    fixed = {name: getattr(track, name) for name in CATALOG_SCHEMA.names}
    return dict(track.carried) | fixed | {"uri": stored(track.uri), "shard_id": shard_id}
