"""Planned tracks by shard, in a temporary database: ids of shards and sizes fit into memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final

from embedlib.catalog.shards import ShardSize, estimate_audio_s, placed_shard_id, shard_id_of
from embedlib.records import Shard, Track
from embedlib.tables.keys import StoredKey
from embedlib.tables.scratch import Scratch

TRACK_COLUMNS: Final = """
    track_id TEXT NOT NULL, uri TEXT, size INTEGER, version TEXT, start_s REAL, end_s REAL,
    shard_id TEXT, carried TEXT, audio_s REAL
"""
"""The fields of a track as columns, and the estimate of its length."""

TRACK_FIELDS: Final = "track_id, uri, size, version, start_s, end_s, shard_id, carried"

_TABLES: Final = {
    "planned": f"{TRACK_COLUMNS}, PRIMARY KEY (shard_id, track_id)",
    "done": """
        model TEXT, track_id TEXT, version TEXT, shard_id TEXT,
        PRIMARY KEY (model, track_id, version, shard_id)
    """,
}

_LEFT: Final = """
    NOT EXISTS (
        SELECT 1 FROM done WHERE model = ? AND done.track_id = planned.track_id
            AND done.version = planned.version AND done.shard_id = planned.shard_id
    )
"""


def row_of(track: Track, shard_id: str = "") -> tuple[object, ...]:
    """Give a track as a row of `TRACK_COLUMNS`.

    Parameters
    ----------
    track : Track
        Any.
    shard_id : str, optional
        Its shard, where it does not say so itself.

    Returns
    -------
    row : tuple
        For `Scratch.insert`.
    """
    return (
        track.track_id,
        track.uri,
        track.size,
        track.version,
        track.start_s,
        track.end_s,
        shard_id or track.shard_id,
        json.dumps(track.carried) if track.carried else None,
        estimate_audio_s(track),
    )


def track_of(row: tuple[Any, ...]) -> Track:
    """Give a track back.

    Parameters
    ----------
    row : tuple
        Of `TRACK_FIELDS`.

    Returns
    -------
    track : Track
        As it was.
    """
    *fields, text = row
    carried = tuple(map(tuple, json.loads(text))) if text else ()
    return Track(*(*fields, carried))


class PlannedTracks:
    """The tracks of a plan; iterating gives them in the order of their ids.

    Parameters
    ----------
    scratch : Scratch, optional
        Where they are kept, in place of others; by default in a database of their own.
    """

    def __init__(self, scratch: Scratch | None = None) -> None:
        self._scratch = scratch or Scratch()
        for name, columns in _TABLES.items():
            self._scratch.run(f"DROP TABLE IF EXISTS {name}")
            self._scratch.run(f"CREATE TABLE {name} ({columns}) WITHOUT ROWID")

    def __len__(self) -> int:
        return sum(size.n_tracks for size in self.sizes.values())

    def __iter__(self) -> Iterator[Track]:
        query = f"SELECT {TRACK_FIELDS} FROM planned ORDER BY track_id"
        return map(track_of, self._scratch.rows(query))

    def add(self, tracks: Iterable[Track], *, shard_id: str = "") -> None:
        """Take in tracks, before anything is asked.

        Parameters
        ----------
        tracks : iterable of Track
            In any order; fastest by shard.
        shard_id : str, optional
            Their shard, where they do not say so themselves.
        """
        self._scratch.insert("planned", (row_of(track, shard_id) for track in tracks))

    @cached_property
    def sizes(self) -> Mapping[str, ShardSize]:
        """How much each shard holds, by its id, in the order of ids."""
        return self.left("")

    @cached_property
    def intact(self) -> frozenset[str]:
        """Shards that have all the tracks that they were cut with; the others have lost some."""
        rows = self._scratch.rows(f"SELECT {TRACK_FIELDS} FROM planned ORDER BY shard_id, track_id")
        shards = groupby(map(track_of, rows), key=attrgetter("shard_id"))
        return frozenset(shard_id for shard_id, tracks in shards if _is_intact(shard_id, [*tracks]))

    def left(self, model: str) -> dict[str, ShardSize]:
        """Say how much of each shard a model has not done, as far as `mark_done` was told.

        Parameters
        ----------
        model : str
            Name of a model table.

        Returns
        -------
        sizes : dict of str to ShardSize
            Of the shards that something is left of, in the order of their ids.
        """
        query = f"SELECT shard_id, audio_s FROM planned WHERE {_LEFT} ORDER BY shard_id"
        sizes = {}
        for shard_id, rows in groupby(self._scratch.rows(query, (model,)), key=itemgetter(0)):
            lengths_s = [audio_s for _, audio_s in rows]
            sizes[shard_id] = ShardSize(len(lengths_s), math.fsum(lengths_s))
        return sizes

    def lengths_s(self, model: str, shard_ids: Mapping[str, object]) -> Iterator[float]:
        """Give the estimated length of each track that a model has not done.

        Parameters
        ----------
        model : str
            Name of a model table.
        shard_ids : mapping of str
            Shards to look at.

        Yields
        ------
        audio_s : float
            Seconds.
        """
        query = f"SELECT shard_id, audio_s FROM planned WHERE {_LEFT}"
        rows = self._scratch.rows(query, (model,))
        return (audio_s for shard_id, audio_s in rows if shard_id in shard_ids)

    def shard(self, shard_id: str, model: str = "") -> Shard:
        """Read one shard; any thread may ask.

        Parameters
        ----------
        shard_id : str
            Of a shard that is planned.
        model : str, optional
            Leave out what this model has done, as far as `mark_done` was told.

        Returns
        -------
        shard : Shard
            With its tracks in the order of their ids.
        """
        query = f"""
            SELECT {TRACK_FIELDS}, audio_s FROM planned WHERE shard_id = ? AND {_LEFT}
            ORDER BY track_id
        """
        rows = self._scratch.all_rows(query, (shard_id, model))
        tracks = tuple(track_of(row[:-1]) for row in rows)
        return Shard(shard_id, tracks, math.fsum(row[-1] for row in rows))

    def mark_done(self, model: str, keys: Iterable[tuple[str, str, str]]) -> int:
        """Say which tracks a model has rows of, in place of what was said before.

        Parameters
        ----------
        model : str
            Name of a model table.
        keys : iterable of (str, str, str)
            Id, version and shard. The shard counts, because a track is planned anew where
            something else than its version has changed: its size, its stretch or its place.

        Returns
        -------
        n_keys : int
            How many there were.
        """
        self._scratch.run("DELETE FROM done WHERE model = ?", (model,))
        return self._scratch.insert("done", ((model, *key) for key in keys))

    def strays(self, rows: Iterable[StoredKey]) -> Iterator[StoredKey]:
        """Pick the rows of a table that are not planned.

        Parameters
        ----------
        rows : iterable of StoredKey
            Of one table, in any order.

        Yields
        ------
        row : StoredKey
            By file, in the order of its rows.
        """
        columns = "file_no INTEGER, row_no INTEGER, track_id TEXT, version TEXT, shard_id TEXT"
        self._scratch.run("DROP TABLE IF EXISTS stored")
        self._scratch.run(f"CREATE TABLE stored ({columns})")
        self._scratch.insert("stored", rows)
        query = """
            SELECT * FROM stored WHERE NOT EXISTS (
                SELECT 1 FROM planned WHERE planned.shard_id = stored.shard_id
                    AND planned.track_id = stored.track_id AND planned.version = stored.version
            ) ORDER BY file_no, row_no
        """
        yield from map(StoredKey._make, self._scratch.rows(query))


def _is_intact(shard_id: str, tracks: Sequence[Track]) -> bool:
    return shard_id in {shard_id_of(tracks), placed_shard_id(tracks)}
