"""A listing, sorted and held against the catalogue in a temporary database.

Both are streams: neither what the sources hold nor what the table holds is ever in memory as a
whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from embedlib.catalog.shards import cut_shards, shard_limits
from embedlib.catalog.uris import masked
from embedlib.errors import ConfigError
from embedlib.records import Track
from embedlib.tables.planned import TRACK_COLUMNS, TRACK_FIELDS, PlannedTracks, row_of, track_of
from embedlib.tables.scratch import Scratch

N_NAMED: Final = 10
"""Changed and vanished tracks that are named; all are counted."""

SORTED: Final = f"({TRACK_COLUMNS}, PRIMARY KEY (track_id)) WITHOUT ROWID"
"""A table of tracks by their ids."""

_AGAIN: Final = """
    SELECT track_id, uri FROM (
        SELECT rowid AS line, track_id, uri,
            row_number() OVER (PARTITION BY track_id ORDER BY rowid) AS nth
        FROM heard
    ) WHERE nth = 2 ORDER BY line LIMIT 1
"""

_NEW: Final = """
    FROM listed WHERE NOT EXISTS (SELECT 1 FROM known WHERE known.track_id = listed.track_id)
"""

_BOTH: Final = "FROM known JOIN listed USING (track_id)"

_CHANGED: Final = f"{_BOTH} WHERE known.version <> listed.version"

_VANISHED: Final = """
    FROM known WHERE NOT EXISTS (SELECT 1 FROM listed WHERE listed.track_id = known.track_id)
"""

# A known track stays as it was planned; only the signature of its URL, which the table does not
# keep, is given back to it.
_KEEP: Final = """
    INSERT INTO planned
    SELECT track_id,
        CASE WHEN listed.uri <> known.uri AND stored(listed.uri) = known.uri
            THEN listed.uri ELSE known.uri END,
        known.size, known.version, known.start_s, known.end_s, known.shard_id, known.carried,
        known.audio_s
    FROM known LEFT JOIN listed USING (track_id)
"""


@dataclass(frozen=True, slots=True)
class Changes:
    """How a listing differs from the catalogue.

    Attributes
    ----------
    n_new, n_known : int
        Listed tracks that the catalogue lacks, and those that it has.
    n_changed : int
        Listed tracks of another version than the catalogue has; it keeps the old one.
    n_vanished : int
        Tracks that the catalogue has and the listing has not; they stay planned.
    changed, vanished : tuple of str
        The first of their ids.
    """

    n_new: int
    n_known: int
    n_changed: int = 0
    n_vanished: int = 0
    changed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """What came in of a listing.

    Attributes
    ----------
    n_listed : int
        Tracks in the table ``listed``: of those with equal ids the first.
    n_again : int
        Others, which have the id of an earlier one; they are in the table ``heard`` alone.
    carried : dict of str to None
        Columns that some tracks carry along, in the order in which they came.
    """

    n_listed: int
    n_again: int
    carried: dict[str, None]


def hear(scratch: Scratch, tracks: Iterable[Track]) -> Heard:
    """Put a listing into a temporary database, as it comes (`heard`) and sorted (`listed`).

    Parameters
    ----------
    scratch : Scratch
        Without these tables so far.
    tracks : iterable of Track
        In any order; read to its end.

    Returns
    -------
    heard : Heard
        What came.

    Raises
    ------
    RunError
        If the temporary folder is full.
    """
    carried: dict[str, None] = {}

    def noted() -> Iterator[Track]:
        for track in tracks:
            carried.update(dict.fromkeys(name for name, _ in track.carried))
            yield track

    # As they come, then sorted: to put each in its place at once takes far longer.
    scratch.run(f"CREATE TABLE heard ({TRACK_COLUMNS})")
    n_heard = scratch.insert("heard", map(row_of, noted()))
    scratch.run(f"CREATE TABLE listed {SORTED}")
    query = "INSERT OR IGNORE INTO listed SELECT * FROM heard ORDER BY track_id, rowid"
    n_listed = scratch.run(query)
    return Heard(n_listed, n_heard - n_listed, carried)


class Listing:
    """What the sources hold.

    Parameters
    ----------
    tracks : iterable of Track
        In any order; read to its end.

    Attributes
    ----------
    carried : dict of str to None
        Columns that some tracks carry along, in the order in which they came.
    planned : PlannedTracks
        What is to be embedded: the known tracks, and those of `new_shards`.

    Raises
    ------
    ConfigError
        If two tracks have one id; the message names both files.
    RunError
        If the temporary folder is full.

    Examples
    --------
    >>> Listing([Track("a", "/x/a", 1, ""), Track("a", "/y/a", 1, "")])
    Traceback (most recent call last):
        ...
    embedlib.errors.ConfigError: track_id 'a' stands for both /x/a and /y/a; ...
    """

    def __init__(self, tracks: Iterable[Track]) -> None:
        self._scratch = Scratch()
        heard = hear(self._scratch, tracks)
        self.carried = heard.carried
        self._n_listed = heard.n_listed
        if heard.n_again:
            self._refuse()
        self._scratch.run("DROP TABLE heard")
        self.hold_against(())

    def _refuse(self) -> NoReturn:
        [(track_id, again)] = self._scratch.all_rows(_AGAIN)
        query = "SELECT uri FROM heard WHERE track_id = ? ORDER BY rowid LIMIT 1"
        [(first,)] = self._scratch.all_rows(query, (track_id,))
        raise ConfigError(
            f"track_id {track_id!r} stands for both {masked(first)} and {masked(again)}",
            fix="list a folder above both, or give each a track_id in a manifest",
        )

    def hold_against(self, known: Iterable[Track]) -> Changes:
        """Compare with the catalogue, whose tracks are planned from now on, and no others.

        Parameters
        ----------
        known : iterable of Track
            All of the catalogue, in any order; fastest by id.

        Returns
        -------
        changes : Changes
            What is new, changed or gone.
        """
        self._scratch.run("DROP TABLE IF EXISTS known")
        self._scratch.run(f"CREATE TABLE known {SORTED}")
        self._scratch.insert("known", map(row_of, known))
        self.planned = PlannedTracks(self._scratch)
        n_before = self._scratch.run(_KEEP)
        [(n_known,)] = self._scratch.all_rows(f"SELECT count(*) {_BOTH}")
        [(n_changed,)] = self._scratch.all_rows(f"SELECT count(*) {_CHANGED}")
        return Changes(
            n_new=self._n_listed - n_known,
            n_known=n_known,
            n_changed=n_changed,
            n_vanished=n_before - n_known,
            changed=self._first(_CHANGED) if n_changed else (),
            vanished=self._first(_VANISHED) if n_before > n_known else (),
        )

    def _first(self, those: str) -> tuple[str, ...]:
        query = f"SELECT known.track_id {those} ORDER BY known.track_id LIMIT {N_NAMED}"
        return tuple(track_id for (track_id,) in self._scratch.all_rows(query))

    def new_shards(self, *, shard_hours: float | None = None) -> Iterator[tuple[str, list[Track]]]:
        """Cut what is new into shards, which are planned as they are taken.

        Parameters
        ----------
        shard_hours : float, optional
            Hours of audio per shard; by default what fits the new tracks.

        Returns
        -------
        shards : iterator of (str, list of Track)
            Id and tracks, in the order of the ids of the tracks.

        Raises
        ------
        ConfigError
            If `shard_hours` is not positive.
        """
        [(n_new,)] = self._scratch.all_rows(f"SELECT count(*) {_NEW}")
        total_s = math.fsum(row[0] for row in self._scratch.rows(f"SELECT audio_s {_NEW}"))
        limits = shard_limits(n_new, total_s=total_s, shard_hours=shard_hours)
        rows = self._scratch.rows(f"SELECT {TRACK_FIELDS} {_NEW} ORDER BY track_id")
        return self._planning(cut_shards(map(track_of, rows), limits=limits))

    def _planning(
        self, shards: Iterator[tuple[str, list[Track]]]
    ) -> Iterator[tuple[str, list[Track]]]:
        for shard_id, tracks in shards:
            self.planned.add(tracks, shard_id=shard_id)
            yield shard_id, tracks
