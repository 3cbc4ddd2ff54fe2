"""The catalog table: what the source holds, which is the plan.

Each (track, version) gets its shard once, when it is first listed. The table at a Delta version is
a plan, and what a model has still to do is the plan without the rows that its own table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError, RunError
from embedlib.records import Track
from embedlib.tables.catalog_files import catalog_schema, file_tracks, track_batches
from embedlib.tables.catalog_log import next_generation, open_catalog, try_to_commit
from embedlib.tables.durable import refusals
from embedlib.tables.layout import CATALOG_FOLDER, OutLike, output_root
from embedlib.tables.listed import Changes, Listing
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.snapshot import NO_TABLE, Snapshot, read_snapshot, snapshot_of
from embedlib.tables.sources import check_sources, claim_sources

MAX_ATTEMPTS: Final = 20
"""A refused commit means that another driver's went through; twenty in a row mean a fault."""


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
    table = open_catalog(folder)
    changes = listing.hold_against(_tracks(snapshot_of(table, folder)))
    shards = listing.new_shards(shard_hours=shard_hours)
    if changes.n_new and not _append(table, _to_arrow(shards, carried=listing.carried)):
        return None
    return Plan(listing.planned, changes)


def _append(table: DeltaTable, tracks: pa.RecordBatchReader) -> bool:
    """Commit tracks on top of the version that was read; False if that is not the newest."""
    return try_to_commit(
        table,
        lambda: write_deltalake(
            table,
            tracks,
            mode="append",
            schema_mode="merge",  # the columns carried along may be others than before
            commit_properties=next_generation(table),
        ),
    )


def _tracks(snapshot: Snapshot) -> Iterator[Track]:
    return chain.from_iterable(map(file_tracks, snapshot.files))


def _to_arrow(
    shards: Iterable[tuple[str, list[Track]]], *, carried: Iterable[str]
) -> pa.RecordBatchReader:
    tracks = (replace(track, shard_id=shard_id) for shard_id, shard in shards for track in shard)
    schema = catalog_schema(carried)
    return pa.RecordBatchReader.from_batches(schema, track_batches(tracks, schema=schema))
