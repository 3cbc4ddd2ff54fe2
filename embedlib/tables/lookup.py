"""One track of an output: what was planned of it, and its row in the table of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from embedlib.errors import OutputError
from embedlib.records import Track
from embedlib.tables.catalog_files import CATALOG_SCHEMA
from embedlib.tables.layout import CATALOG_FOLDER
from embedlib.tables.parquet import read_rows
from embedlib.tables.reader import Output
from embedlib.tables.schema import TRACK_COLUMNS
from embedlib.tables.snapshot import LoggedFile, read_snapshot
from embedlib.tables.tracks import TrackTable

_KEY: Final = ("track_id", "version", "shard_id")

_N_NEAR: Final = 5
_N_COMPARED: Final = 20_000
"""Ids that are compared letter by letter with one that there is not: half a second."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of a model table, and where it lies.

    Attributes
    ----------
    tracks : TrackTable
        The table.
    file : LoggedFile
        The file that it is in.
    facts : dict of str to Any
        What the row says, without lists of numbers.
    planned : Track or None
        What the catalogue says of the track; None where it lists it no longer, or as another
        version.
    """

    tracks: TrackTable
    file: LoggedFile
    facts: dict[str, Any]
    planned: Track | None

    def cells(self, columns: Sequence[str]) -> pa.Table:
        """Read columns of the row.

        Parameters
        ----------
        columns : sequence of str
            Any of the table.

        Returns
        -------
        cells : pyarrow.Table
            One row.

        Raises
        ------
        OutputError
            If the file is missing or damaged.
        """
        where = [pc.field(name) == self.facts[name] for name in _KEY]
        return read_rows([self.file.path], columns, where=where[0] & where[1] & where[2])


def find_row(output: Output, model: str, track_id: str) -> FoundRow:
    """Find the row of a track.

    Parameters
    ----------
    output : Output
        As it is now, or one of its states.
    model : str
        Name of the model table.
    track_id : str
        The track.

    Returns
    -------
    found : FoundRow
        The row of what the catalogue has planned; where it plans that no longer, the one there is.

    Raises
    ------
    OutputError
        If there is no such table or track; ids that are near to it are named. If a file is missing
        or damaged.
    """
    tracks = output.tracks(model)
    planned = planned_track(output, track_id)
    other: FoundRow | None = None
    for file, facts in rows_of(tracks, track_id, shard_id=planned.shard_id if planned else ""):
        if planned and (facts["version"], facts["shard_id"]) == (planned.version, planned.shard_id):
            return FoundRow(tracks, file, facts, planned)
        other = FoundRow(tracks, file, facts, None)
    if other is None:
        raise _unknown(track_id, tracks)
    return other


def planned_track(output: Output, track_id: str) -> Track | None:
    """Look up what the catalogue says of a track.

    Parameters
    ----------
    output : Output
        As it is now, or one of its states.
    track_id : str
        The track.

    Returns
    -------
    track : Track or None
        Without what it carries along; None where it is not listed.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    at = output.state.versions.get(CATALOG_FOLDER) if output.state else None
    for file in read_snapshot(output.root / CATALOG_FOLDER, at=at).files:
        for batch in file.batches(CATALOG_SCHEMA.names) if file.first_id <= track_id else ():
            found = batch.filter(pc.equal(batch["track_id"], track_id)).to_pylist()
            if found:
                return Track(**found[0])
    return None


def rows_of(
    tracks: TrackTable, track_id: str, *, shard_id: str = ""
) -> Iterator[tuple[LoggedFile, dict[str, Any]]]:
    """Give the rows of a track; one that has changed may have two for a while.

    Parameters
    ----------
    tracks : TrackTable
        Of a model.
    track_id : str
        The track.
    shard_id : str
        Where it is planned: what lies in a file of this shard comes first.

    Yields
    ------
    file : LoggedFile
        Where the row lies.
    facts : dict of str to Any
        What it says, without lists of numbers.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    files = [file for file in tracks.snapshot.files if file.first_id <= track_id]
    for file in sorted(files, key=lambda file: file.shard_id != shard_id):
        where = pc.field("track_id") == track_id
        for facts in read_rows([file.path], TRACK_COLUMNS, where=where).to_pylist():
            yield file, facts


def _unknown(track_id: str, tracks: TrackTable) -> OutputError:
    names = near_names(track_id, tracks.to_arrow(["track_id"])["track_id"].to_pylist())
    return OutputError(
        f"{tracks.snapshot.folder} has no row of the track {track_id!r}",
        fix=f"near to it are {', '.join(map(repr, names))}" if names else "list its track_ids",
    )


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """Pick the names that somebody may have meant.

    Parameters
    ----------
    name : str
        What he wrote.
    names : sequence of str
        Those that there are.

    Returns
    -------
    near : list of str
        At most five: first those that hold what he wrote, then those with similar letters.

    Examples
    --------
    >>> near_names("a.mp3", ["rock/a.mp3", "b.mp3", "drums.wav"])
    ['rock/a.mp3', 'b.mp3']
    """
    wanted = name.casefold()
    holding = [each for each in names if wanted in each.casefold()][:_N_NEAR]
    similar = get_close_matches(name, names[:_N_COMPARED], n=_N_NEAR)
    return list(dict.fromkeys([*holding, *similar]))[:_N_NEAR]
