"""Which arrived tracks are departed ones that lie elsewhere now, told by their content.

What a departed file held is known from the rows of the model tables. Only a few files are hashed:
those at a new place with the size of a file that has vanished, and those that have taken a known
place together with the size and the version of another one, as when two files swap their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import stored
from embedlib.records import Status, Track
from embedlib.tables.layout import model_names
from embedlib.tables.planned import TRACK_FIELDS, track_of
from embedlib.tables.scratch import Scratch
from embedlib.tables.snapshot import read_snapshot

OF_CONTENT: Final = frozenset(
    {
        Status.OK,
        Status.DAMAGED,
        Status.TRUNCATED,
        Status.EMPTY,
        Status.UNDECODABLE,
        Status.TOO_SHORT,
        Status.TOO_LONG,
        Status.NONFINITE,
    }
)
"""Statuses that follow from the bytes of a file: such rows are as right at another place."""

_COLUMNS: Final = ("track_id", "version", "shard_id", "status", "content_hash")

_ALIKE: Final = """(
    departed.size = arrived.size AND departed.start_s IS arrived.start_s
    AND departed.end_s IS arrived.end_s
)"""

_WANTED_SHARDS: Final = f"""
    SELECT DISTINCT shard_id FROM departed
    WHERE size >= 0 AND EXISTS (SELECT 1 FROM arrived WHERE {_ALIKE})
"""

# Places of tracks that stay as they are; the order of the join is fixed, for `known` has no index.
_STILL_LISTED: Final = """
    UPDATE departed SET is_vanished = 0 WHERE place IN (SELECT place FROM arrived)
        OR place IN (
            SELECT known.uri FROM known CROSS JOIN departed ON departed.place = known.uri
            WHERE known.track_id NOT IN (SELECT track_id FROM departed)
        )
"""
_ALREADY_KNOWN: Final = """
    UPDATE arrived SET is_new_place = 0 WHERE place IN (
        SELECT known.uri FROM known CROSS JOIN arrived ON arrived.place = known.uri
    )
"""

# Known where the rows of all models are of one content, and follow from it.
_REMEMBERED: Final = """
    UPDATE departed SET content_hash = (
        SELECT CASE WHEN min(is_of_content) AND min(told.content_hash) = max(told.content_hash)
            THEN nullif(min(told.content_hash), '') END
        FROM told WHERE told.track_id = departed.track_id AND told.version = departed.version
            AND told.shard_id = departed.shard_id
    )
"""

_CANDIDATES: Final = f"""
    INSERT INTO candidates SELECT track_id FROM arrived
    WHERE NOT EXISTS (SELECT 1 FROM duplicates WHERE duplicates.track_id = arrived.track_id) AND (
        is_new_place AND EXISTS (
            SELECT 1 FROM departed
            WHERE {_ALIKE} AND is_vanished = 1 AND content_hash IS NOT NULL
        ) OR version <> '' AND EXISTS (
            SELECT 1 FROM departed
            WHERE {_ALIKE} AND departed.version = arrived.version
                AND departed.place <> arrived.place AND content_hash IS NOT NULL
        )
    )
"""

_TO_HASH: Final = """
    INSERT INTO to_hash SELECT track_id FROM candidates JOIN arrived USING (track_id)
    WHERE NOT EXISTS (
        SELECT 1 FROM hashed
        WHERE (hashed.place, hashed.size, hashed.version)
            = (arrived.place, arrived.size, arrived.version)
    ) GROUP BY place
"""

_PAIRS: Final = """
    INSERT INTO moved SELECT new.track_id, old.track_id, old.version, old.shard_id FROM (
        SELECT track_id, hashed.content_hash, size, start_s, end_s, row_number() OVER (
            PARTITION BY hashed.content_hash, size, start_s, end_s
            ORDER BY is_new_place DESC, track_id
        ) AS nth
        FROM candidates JOIN arrived USING (track_id) JOIN hashed USING (place, size, version)
        WHERE hashed.content_hash <> ''
    ) AS new JOIN (
        SELECT *, row_number() OVER (
            PARTITION BY content_hash, size, start_s, end_s ORDER BY is_vanished DESC, track_id
        ) AS nth
        FROM departed WHERE content_hash IS NOT NULL
    ) AS old ON old.content_hash = new.content_hash AND old.size = new.size
        AND old.start_s IS new.start_s AND old.end_s IS new.end_s AND old.nth = new.nth
"""

_TABLES: Final = {
    "told": "track_id TEXT, version TEXT, shard_id TEXT, is_of_content INTEGER, content_hash TEXT",
    "candidates": "track_id TEXT PRIMARY KEY",
    "to_hash": "track_id TEXT PRIMARY KEY",
}

_INDEXES: Final = ("arrived (size, start_s, end_s)", "arrived (place)", "departed (place)")

# Corpora of clips have a hundred thousand files of one size: each is to be looked up, not for.
_INDEXES_OF_REMEMBERED: Final = (
    "departed (size, is_vanished, start_s, end_s) WHERE content_hash IS NOT NULL",
    "departed (version, size) WHERE content_hash IS NOT NULL",
)

_FIELDS: Final = ", ".join(f"listed.{name.strip()}" for name in TRACK_FIELDS.split(","))


def match_moves(scratch: Scratch, *, root: Place, content_hash: Callable[[Track], str]) -> None:
    """Pair arrived tracks with departed ones of equal content, size and stretch.

    Where several have the same content, they are paired in the order of their ids, each once.

    Parameters
    ----------
    scratch : Scratch
        With the tables of a `Comparison`; `moved` is filled.
    root : Path or StorePath
        The output, whose model tables tell what was where.
    content_hash : callable
        Hashes a listed file as they do; empty where it cannot be read, or is no longer what was
        listed. Asked once per file, also where the comparison is made again.

    Raises
    ------
    OutputError
        If a model table is damaged.
    RunError
        If the temporary folder is full.
    """
    if not _are_there(scratch, "arrived", "departed"):
        return
    _index(scratch, _INDEXES)
    shard_ids = {shard_id for (shard_id,) in scratch.rows(_WANTED_SHARDS)}
    if not shard_ids:
        return
    for name, columns in _TABLES.items():
        scratch.run(f"DROP TABLE IF EXISTS {name}")
        scratch.run(f"CREATE TABLE {name} ({columns})")
    _remember(scratch, root, frozenset(shard_ids))
    _index(scratch, _INDEXES_OF_REMEMBERED)
    for statement in (_STILL_LISTED, _ALREADY_KNOWN, _CANDIDATES):
        scratch.run(statement)
    _hash(scratch, content_hash)
    scratch.run(_PAIRS)


def _are_there(scratch: Scratch, *tables: str) -> bool:
    return all(scratch.all_rows(f"SELECT 1 FROM {name} LIMIT 1") for name in tables)


def _index(scratch: Scratch, indexes: Iterable[str]) -> None:
    for columns in indexes:
        scratch.run(f'CREATE INDEX "{columns}" ON {columns}')


def _remember(scratch: Scratch, root: Place, shard_ids: frozenset[str]) -> None:
    """Look up in the model tables what the departed files held."""
    for model in model_names(root) if root.is_dir() else ():
        scratch.insert("told", _told(root / model, shard_ids))
    _index(scratch, ["told (track_id)"])
    scratch.run(_REMEMBERED)


def _told(folder: Place, shard_ids: frozenset[str]) -> Iterator[tuple[object, ...]]:
    wanted, where = pa.array(shard_ids, pa.string()), shard_ids | {""}
    files = (file for file in read_snapshot(folder).files if file.shard_id in where)
    for batch in chain.from_iterable(file.batches(_COLUMNS) for file in files):
        found = batch.filter(pc.is_in(batch["shard_id"], wanted))
        *keys, statuses, hashes = (found[name].to_pylist() for name in _COLUMNS)
        yield from zip(*keys, map(OF_CONTENT.__contains__, statuses), hashes, strict=True)


def _hash(scratch: Scratch, content_hash: Callable[[Track], str]) -> None:
    columns = "place TEXT, size INTEGER, version TEXT, content_hash TEXT"
    scratch.run(
        f"CREATE TABLE IF NOT EXISTS hashed ({columns}, PRIMARY KEY (place, size, version))"
    )
    scratch.run(_TO_HASH)
    query = f"SELECT {_FIELDS} FROM to_hash JOIN listed USING (track_id) ORDER BY track_id"
    for track in map(track_of, scratch.rows(query)):
        place, found = stored(track.uri), content_hash(track)
        scratch.insert("hashed", [(place, track.size, track.version, found)])
