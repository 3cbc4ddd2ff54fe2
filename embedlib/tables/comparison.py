"""A listing held against the catalogue, in a temporary database.

Three things make a track another one: what it is called (id and stretch), where it lies, and which
file lies there (size and version). A track of which all are as planned is unchanged. All others
have *arrived*, and what the catalogue has in their place, or has no longer, has *departed*; a move
is a pair of both with equal content, found by `embedlib.tables.matching`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Final

from embedlib.catalog.duplicates import duplicate_id
from embedlib.catalog.shards import cut_shards, placed_shard_id, shard_limits
from embedlib.records import Track
from embedlib.tables.listed import hear
from embedlib.tables.move import Move
from embedlib.tables.planned import TRACK_COLUMNS, TRACK_FIELDS, PlannedTracks, row_of, track_of
from embedlib.tables.scratch import Scratch

_TABLES: Final = {
    "known": f"{TRACK_COLUMNS}, file INTEGER, PRIMARY KEY (track_id)",
    "arrived": """
        track_id TEXT PRIMARY KEY, place TEXT, size INTEGER, version TEXT, start_s REAL, end_s REAL,
        is_known INTEGER, is_new_place INTEGER DEFAULT 1
    """,
    "departed": """
        track_id TEXT PRIMARY KEY, place TEXT, size INTEGER, version TEXT, start_s REAL, end_s REAL,
        shard_id TEXT, is_listed INTEGER, is_vanished INTEGER DEFAULT 1, content_hash TEXT
    """,
    "relabelled": "track_id TEXT PRIMARY KEY",
    "moved": "track_id TEXT PRIMARY KEY, old_track_id TEXT, old_version TEXT, old_shard_id TEXT",
    "assigned": "track_id TEXT PRIMARY KEY, shard_id TEXT",
}
"""Made anew for each version of the catalogue; ``listed`` and ``duplicates`` stay."""

_SAME: Final = """(
    known.version = listed.version AND known.size = listed.size
    AND known.start_s IS listed.start_s AND known.end_s IS listed.end_s
    AND (known.uri = listed.uri OR known.uri = stored(listed.uri))
)"""

_ARRIVED: Final = f"""
    INSERT INTO arrived (track_id, place, size, version, start_s, end_s, is_known)
    SELECT listed.track_id, stored(listed.uri), listed.size, listed.version, listed.start_s,
        listed.end_s, known.track_id IS NOT NULL
    FROM listed LEFT JOIN known USING (track_id)
    WHERE known.track_id IS NULL OR NOT {_SAME}
"""

_DEPARTED: Final = f"""
    INSERT INTO departed (track_id, place, size, version, start_s, end_s, shard_id, is_listed)
    SELECT known.track_id, known.uri, known.size, known.version, known.start_s, known.end_s,
        known.shard_id, listed.track_id IS NOT NULL
    FROM known LEFT JOIN listed USING (track_id)
    WHERE listed.track_id IS NULL OR NOT {_SAME}
"""

_RELABELLED: Final = """
    INSERT INTO relabelled SELECT track_id FROM listed JOIN known USING (track_id)
    WHERE listed.carried IS NOT known.carried
        AND NOT EXISTS (SELECT 1 FROM arrived WHERE arrived.track_id = listed.track_id)
"""

_LATER: Final = f"""
    SELECT {TRACK_FIELDS} FROM (
        SELECT *, rowid AS line, row_number() OVER (PARTITION BY track_id ORDER BY rowid) AS nth
        FROM heard
    ) WHERE nth > 1 ORDER BY line
"""

_UNMATCHED: Final = "NOT EXISTS (SELECT 1 FROM moved WHERE moved.track_id = arrived.track_id)"

NEW: Final = f"FROM arrived WHERE NOT is_known AND {_UNMATCHED}"
CHANGED: Final = f"FROM arrived WHERE is_known AND {_UNMATCHED}"
MOVED: Final = "FROM moved"
DELETED: Final = """
    FROM departed WHERE NOT is_listed AND track_id NOT IN (SELECT old_track_id FROM moved)
"""
DUPLICATES: Final = "FROM duplicates"
VANISHED: Final = "FROM departed WHERE NOT is_listed"
"""What may be counted and named."""

_LISTED_FIELDS: Final = ", ".join(f"listed.{name.strip()}" for name in TRACK_FIELDS.split(","))

_TO_CUT: Final = f"FROM listed JOIN arrived USING (track_id) WHERE {_UNMATCHED}"

_TOUCHED: Final = """
    SELECT DISTINCT file FROM known WHERE track_id IN (SELECT track_id FROM departed)
        OR track_id IN (SELECT track_id FROM relabelled)
"""

# What the listing has not carried along was not asked for, and stays as it is.
_AS_PLANNED: Final = """
    listed.track_id, listed.uri, listed.size, listed.version, listed.start_s, listed.end_s,
    coalesce(assigned.shard_id, known.shard_id),
    CASE WHEN ? THEN listed.carried ELSE known.carried END
"""

_ALL: Final = """
    FROM listed LEFT JOIN known USING (track_id) LEFT JOIN assigned USING (track_id)
"""


class Comparison:
    """What the sources hold against what the catalogue has; neither is in memory as a whole.

    Parameters
    ----------
    tracks : iterable of Track
        The listing, in any order; read to its end. Of equal ids the first keeps it.

    Attributes
    ----------
    scratch : Scratch
        Where both are.
    carried : tuple of str
        Columns that listed tracks carry along.
    n_listed : int
        Tracks, those with ids that were taken included.

    Raises
    ------
    RunError
        If the temporary folder is full.
    """

    def __init__(self, tracks: Iterable[Track]) -> None:
        self.scratch = Scratch()
        heard = hear(self.scratch, map(_in_order, tracks))
        self.carried = tuple(heard.carried)
        self.scratch.run("CREATE TABLE duplicates (track_id TEXT PRIMARY KEY) WITHOUT ROWID")
        if heard.n_again:
            self._name_duplicates()
        self.scratch.run("DROP TABLE heard")
        self.n_listed = heard.n_listed + self.count(DUPLICATES)

    def _name_duplicates(self) -> None:
        later = (track_of(row) for row in self.scratch.rows(_LATER))
        for track in (replace(track, track_id=duplicate_id(track)) for track in later):
            self.scratch.insert("duplicates", [(track.track_id,)])
            self.scratch.insert("listed", [row_of(track)])

    def hold_against(self, files: Iterable[Iterable[Track]]) -> None:
        """Compare with a version of the catalogue, in place of the one before.

        Parameters
        ----------
        files : iterable of iterable of Track
            The tracks of each file of the table.
        """
        for name, columns in _TABLES.items():
            self.scratch.run(f"DROP TABLE IF EXISTS {name}")
            self.scratch.run(f"CREATE TABLE {name} ({columns}) WITHOUT ROWID")
        for number, tracks in enumerate(files):
            rows = ((*row_of(_in_order(track)), number) for track in tracks)
            self.scratch.insert("known", rows)
        self.scratch.run(_ARRIVED)
        self.scratch.run(_DEPARTED)
        if self.carried:
            self.scratch.run(_RELABELLED)

    def assign_shards(self, *, shard_hours: float | None = None) -> None:
        """Give a shard to each track that has arrived, once it is known what was moved.

        Moved tracks that shared a shard share one again, so that a model that has the rows of some
        of them has those of all.

        Parameters
        ----------
        shard_hours : float, optional
            Hours of audio per shard; by default what fits the tracks.

        Raises
        ------
        ConfigError
            If `shard_hours` is not positive.
        """
        [(n_tracks,)] = self.scratch.all_rows(f"SELECT count(*) {_TO_CUT}")
        total_s = math.fsum(row[0] for row in self.scratch.rows(f"SELECT listed.audio_s {_TO_CUT}"))
        limits = shard_limits(n_tracks, total_s=total_s, shard_hours=shard_hours)
        rows = self.scratch.rows(f"SELECT {_LISTED_FIELDS} {_TO_CUT} ORDER BY track_id")
        for _, tracks in cut_shards(map(track_of, rows), limits=limits):
            self._assign(tracks)
        query = f"""
            SELECT old_shard_id, {_LISTED_FIELDS} FROM moved JOIN listed USING (track_id)
            ORDER BY old_shard_id, track_id
        """
        for _, group in groupby(self.scratch.rows(query), key=itemgetter(0)):
            self._assign([track_of(row[1:]) for row in group])

    def _assign(self, tracks: Sequence[Track]) -> None:
        shard_id = placed_shard_id(tracks)
        self.scratch.insert("assigned", ((track.track_id, shard_id) for track in tracks))

    def count(self, those: str) -> int:
        """Count tracks.

        Parameters
        ----------
        those : str
            `NEW`, `CHANGED`, `MOVED`, `DELETED`, `VANISHED` or `DUPLICATES`.

        Returns
        -------
        n_tracks : int
            Of this kind.
        """
        [(n_tracks,)] = self.scratch.all_rows(f"SELECT count(*) {those}")
        return int(n_tracks)

    def first(self, those: str, *, limit: int) -> tuple[str, ...]:
        """Name tracks.

        Parameters
        ----------
        those : str
            As for `count`.
        limit : int
            How many at most.

        Returns
        -------
        track_ids : tuple of str
            The first in the order of ids.
        """
        query = f"SELECT track_id {those} ORDER BY track_id LIMIT ?"
        return tuple(track_id for (track_id,) in self.scratch.all_rows(query, (limit,)))

    def moves(self) -> Iterator[Move]:
        """Give all moves.

        Yields
        ------
        move : Move
            In the order of the new ids.
        """
        query = f"""
            SELECT old_track_id, old_version, assigned.shard_id, {_LISTED_FIELDS} FROM moved
            JOIN listed USING (track_id) JOIN assigned USING (track_id) ORDER BY track_id
        """
        for old_track_id, old_version, shard_id, *fields in self.scratch.rows(query):
            track = replace(track_of(tuple(fields)), shard_id=shard_id)
            yield Move(old_track_id, old_version, track)

    def touched_files(self) -> frozenset[int]:
        """Say which files hold a track that is no longer what it was.

        Returns
        -------
        numbers : frozenset of int
            Of the files, as they came.
        """
        return frozenset(number for (number,) in self.scratch.rows(_TOUCHED))

    def rewritten(self) -> Iterator[Track]:
        """Give what the files of the table lack that are not touched.

        Yields
        ------
        track : Track
            With its shard, in the order of ids.
        """
        query = f"""
            SELECT {_AS_PLANNED} {_ALL} WHERE assigned.shard_id IS NOT NULL
                OR known.file IN ({_TOUCHED})
            ORDER BY listed.track_id
        """
        return map(track_of, self.scratch.rows(query, (bool(self.carried),)))

    def planned(self) -> PlannedTracks:
        """Give what the catalogue holds when all is committed, with the signatures of URLs.

        Returns
        -------
        tracks : PlannedTracks
            All that was listed.
        """
        tracks = PlannedTracks(self.scratch)
        query = f"INSERT INTO planned SELECT {_AS_PLANNED}, listed.audio_s {_ALL}"
        self.scratch.run(query, (bool(self.carried),))
        return tracks


def _in_order(track: Track) -> Track:
    """Sort what a track carries along, so that equal ones are equal as texts."""
    return replace(track, carried=tuple(sorted(track.carried))) if track.carried else track
