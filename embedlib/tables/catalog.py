"""The catalog table: what the source holds, which is the plan.

Each (track, version) gets its shard once, when it is first listed. The table at a Delta version is
a plan, and what a model has still to do is the plan without the rows that its own table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from embedlib.catalog.shards import assign_shards, group_shards
from embedlib.catalog.stores import Place
from embedlib.catalog.uris import one_line, stored
from embedlib.errors import OutputError, RunError
from embedlib.records import Shard, Track
from embedlib.tables.delta import table_place
from embedlib.tables.durable import refusals
from embedlib.tables.layout import CATALOG_FOLDER, OutLike, model_folder, output_root
from embedlib.tables.parquet import parquet_file
from embedlib.tables.snapshot import NO_TABLE, read_snapshot, snapshot_of
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


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be embedded, and how it differs from what was known before.

    Attributes
    ----------
    tracks : tuple of Track
        All of the table, with `shard_id`, in the order of their ids.
    n_new, n_known : int
        Listed tracks that this listing added, and those that the table had.
    changed : tuple of str
        Ids of listed tracks of another version than the table has; it keeps the old one.
    vanished : tuple of str
        Ids of tracks that the table has and the listing has not; they stay planned.
    """

    tracks: tuple[Track, ...]
    n_new: int
    n_known: int
    changed: tuple[str, ...]
    vanished: tuple[str, ...]


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
        What the sources hold now, with distinct ids.
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
        If the output belongs to other sources, or `out` cannot be an output.
    OutputError
        If the output cannot be written or its catalogue is damaged.
    RunError
        If the table refuses every commit.
    """
    folder = output_root(out) / CATALOG_FOLDER
    with refusals(folder):
        check_sources(folder, sources)
    tracks = list(listed)
    with refusals(folder):
        claim_sources(folder, sources)
        for _ in range(MAX_ATTEMPTS):
            plan = _try_to_adopt(folder, tracks, shard_hours)
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
        What the sources hold now, with distinct ids.
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
        If the output belongs to other sources, or `out` cannot be an output.
    OutputError
        If the catalogue of the output is damaged.
    """
    folder = output_root(out) / CATALOG_FOLDER
    check_sources(folder, sources)
    is_there = read_snapshot(folder).version != NO_TABLE
    known = {track.track_id: track for track in read_plan(out)} if is_there else {}
    tracks = list(listed)
    new = [track for track in tracks if track.track_id not in known]
    return _plan(tracks, known, assign_shards(new, shard_hours=shard_hours))


def read_plan(out: OutLike) -> tuple[Track, ...]:
    """Read all planned tracks of an output.

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
    folder = output_root(out) / CATALOG_FOLDER
    if read_snapshot(folder).version == NO_TABLE:
        raise OutputError(f"{folder} holds no catalogue", fix="give the folder that a run wrote")
    return _read_tracks(_open(folder), folder)


def pending_shards(out: OutLike, model: str, plan: Plan) -> list[Shard]:
    """Tell what a model has still to do.

    Parameters
    ----------
    out : str or path-like
        Output folder.
    model : str
        Name of the model table, which need not exist yet.
    plan : Plan
        What is to be embedded.

    Returns
    -------
    shards : list of Shard
        The planned tracks without a row of their id and version, whatever its status, by shard.

    Raises
    ------
    OutputError
        If the model table is damaged.
    """
    done: set[tuple[str, str]] = set()
    for batch in read_snapshot(model_folder(out, model)).batches(["track_id", "version"]):
        track_ids, versions = (batch[name].to_pylist() for name in ("track_id", "version"))
        done.update(zip(track_ids, versions, strict=True))
    return group_shards(t for t in plan.tracks if (t.track_id, t.version) not in done)


def _try_to_adopt(folder: Place, listed: Sequence[Track], shard_hours: float | None) -> Plan | None:
    """Compare with the newest table and append what is new; None if somebody else was faster."""
    table = _open(folder)
    known = {track.track_id: track for track in _read_tracks(table, folder)}
    new = [track for track in listed if track.track_id not in known]
    assigned = assign_shards(new, shard_hours=shard_hours)
    if assigned and not _append(table, assigned):
        return None
    return _plan(listed, known, assigned)


def _plan(listed: Sequence[Track], known: Mapping[str, Track], new: Sequence[Track]) -> Plan:
    version_of = {track.track_id: track.version for track in listed}
    uri_of = {track.track_id: track.uri for track in listed}
    openable = (_openable(track, uri_of.get(track.track_id, "")) for track in known.values())
    return Plan(
        tracks=tuple(sorted((*openable, *new), key=lambda track: track.track_id)),
        n_new=len(new),
        n_known=len(version_of) - len(new),
        changed=tuple(i for i, t in known.items() if version_of.get(i, t.version) != t.version),
        vanished=tuple(i for i in known if i not in version_of),
    )


def _openable(track: Track, listed_uri: str) -> Track:
    """Give back to a known track the signature of its URL, which the table does not keep."""
    return replace(track, uri=listed_uri) if stored(listed_uri) == track.uri else track


def _append(table: DeltaTable, tracks: Sequence[Track]) -> bool:
    """Commit tracks on top of the version that was read; False if that is not the newest."""
    generation = (table.transaction_version(TRANSACTION_ID) or 0) + 1
    properties = CommitProperties(
        app_transactions=[Transaction(TRANSACTION_ID, generation)], max_commit_retries=0
    )
    try:
        write_deltalake(
            table,
            _to_arrow(tracks),
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


def _read_tracks(table: DeltaTable, folder: Place) -> tuple[Track, ...]:
    # File by file, because each has the columns that were carried along when it was written.
    tracks: list[Track] = []
    for file in snapshot_of(table, folder).files:
        with parquet_file(file.path) as part:
            for batch in part.iter_batches():
                tracks.extend(map(_track, batch.to_pylist()))
    return tuple(sorted(tracks, key=lambda track: track.track_id))


def _track(row: Mapping[str, object]) -> Track:
    fixed = {name: row[name] for name in CATALOG_SCHEMA.names}
    carried = ((name, value) for name, value in row.items() if name not in fixed)
    texts = tuple((name, str(value)) for name, value in carried if value is not None)
    return Track(**fixed, carried=texts)  # type: ignore[arg-type]


def _to_arrow(tracks: Sequence[Track]) -> pa.Table:
    carried = list(dict.fromkeys(name for track in tracks for name, _ in track.carried))
    texts = [dict(track.carried) for track in tracks]
    safe = [replace(track, uri=stored(track.uri)) for track in tracks]
    columns = [[getattr(track, name) for track in safe] for name in CATALOG_SCHEMA.names]
    columns += [[text.get(name) for text in texts] for name in carried]
    schema = pa.schema([*CATALOG_SCHEMA, *(pa.field(name, pa.string()) for name in carried)])
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)
