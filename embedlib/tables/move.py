"""Rows of tracks whose files were moved: copied under their new id, without a decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, NamedTuple

import pyarrow as pa

from embedlib.catalog.uris import stored
from embedlib.records import PartResult, Track
from embedlib.tables.exchange import Exchange, exchange
from embedlib.tables.keys import stored_keys
from embedlib.tables.layout import OutLike, model_folder
from embedlib.tables.rewriting import PartWriter, by_schema, rows_of
from embedlib.tables.scratch import Scratch
from embedlib.tables.snapshot import LoggedFile, Snapshot

TRANSACTION_ID: Final = "moves"
"""Application transaction of every move into a table: of two at once, the second looks again."""

_TABLES: Final = {
    "wanted": """
        old_track_id TEXT, old_version TEXT, track_id TEXT, uri TEXT, version TEXT, shard_id TEXT,
        PRIMARY KEY (track_id, version, shard_id)
    """,
    "stored": """
        file_no INTEGER, row_no INTEGER, track_id TEXT, version TEXT, shard_id TEXT,
        PRIMARY KEY (track_id, version, shard_id, file_no, row_no)
    """,
    "copies": """
        file_no INTEGER, row_no INTEGER, track_id TEXT, uri TEXT, version TEXT, shard_id TEXT,
        PRIMARY KEY (file_no, row_no, track_id, version, shard_id)
    """,
}

# Where a killed run has left a track in two shards, it was planned in two ways, and which of its
# rows is meant cannot be told: then it is decoded.
_COPIES: Final = """
    INSERT INTO copies
    SELECT file_no, row_no, wanted.track_id, uri, wanted.version, wanted.shard_id
    FROM wanted JOIN stored ON stored.track_id = old_track_id AND stored.version = old_version
    WHERE NOT EXISTS (
        SELECT 1 FROM stored AS there WHERE there.track_id = wanted.track_id
            AND there.version = wanted.version AND there.shard_id = wanted.shard_id
    ) AND 1 = (
        SELECT count(*) FROM stored AS alike
        WHERE alike.track_id = old_track_id AND alike.version = old_version
    )
"""


@dataclass(frozen=True, slots=True)
class Move:
    """A track whose file has another place now.

    Attributes
    ----------
    old_track_id, old_version : str
        What it was planned as.
    track : Track
        What it is planned as from now on, with `shard_id`.
    """

    old_track_id: str
    old_version: str
    track: Track


class _Copy(NamedTuple):
    """A row that is copied, and what is another in the copy."""

    row_no: int
    track_id: str
    uri: str
    version: str
    shard_id: str


_OTHERS: Final = ("track_id", "uri", "version", "shard_id")


def move_rows(out: OutLike, model: str, moves: Iterable[Move]) -> int:
    """Copy rows under the id, place, version and shard that their tracks have from now on.

    The old rows stay, until they are pruned. Calling it again, or while another process does the
    same, is harmless.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table, which need not exist.
    moves : iterable of Move
        In any order; read once.

    Returns
    -------
    n_rows : int
        Rows that were copied; a track that the table has no row of is left out.

    Raises
    ------
    OutputError
        If a file is missing or damaged, or the disk is full.
    RunError
        If the log refuses for ever.
    """
    wanted = _Wanted(moves)
    if not wanted.n_moves:
        return 0

    def prepare(snapshot: Snapshot, writer: PartWriter) -> tuple[Exchange, int]:
        n_rows = wanted.find_in(snapshot.files)
        parts = _copies(snapshot.files, wanted, writer)
        names = frozenset((TRANSACTION_ID, *wanted.shard_ids())) if n_rows else frozenset()
        return Exchange(parts=parts, transactions=names), n_rows

    return exchange(model_folder(out, model), prepare, cause="moved") or 0


def _copies(
    files: Sequence[LoggedFile], wanted: _Wanted, writer: PartWriter
) -> tuple[PartResult, ...]:
    """Write the copies, those that the same made into one file."""
    chosen = {files[file_no]: file_no for file_no in wanted.file_nos()}
    parts = []
    for schema, group in by_schema(chosen):
        rows = chain.from_iterable(
            _renamed(file, wanted.of_file(chosen[file]), schema=schema) for file in group
        )
        parts.append(writer.write(rows, schema=schema))
    return tuple(part for part in parts if part is not None)


def _renamed(
    file: LoggedFile, copies: Sequence[_Copy], *, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Give the rows that are copied, with what is another now."""
    left = iter(copies)
    for batch in rows_of(file, schema=schema, rows=[copy.row_no for copy in copies]):
        others = [copy._asdict() for copy in islice(left, batch.num_rows)]
        columns = dict(zip(schema.names, batch.columns, strict=True))
        columns |= {
            name: pa.array([each[name] for each in others], pa.string()) for name in _OTHERS
        }
        yield pa.record_batch([columns[name] for name in schema.names], schema=schema)


class _Wanted:
    """Moves, and the rows that they concern, in a temporary database."""

    def __init__(self, moves: Iterable[Move]) -> None:
        self._scratch = Scratch()
        for name, columns in _TABLES.items():
            self._scratch.run(f"CREATE TABLE {name} ({columns}) WITHOUT ROWID")
        self.n_moves = self._scratch.insert("wanted", map(_row_of, moves))

    def find_in(self, files: Sequence[LoggedFile]) -> int:
        """Look for the rows to be copied, and count those whose copy is not there."""
        for name in ("stored", "copies"):
            self._scratch.run(f"DELETE FROM {name}")
        self._scratch.insert("stored", stored_keys(files))
        return self._scratch.run(_COPIES)

    def file_nos(self) -> list[int]:
        """Give the numbers of the files that hold them."""
        query = "SELECT DISTINCT file_no FROM copies ORDER BY file_no"
        return [file_no for (file_no,) in self._scratch.all_rows(query)]

    def shard_ids(self) -> list[str]:
        """Name the shards that they come into."""
        query = "SELECT DISTINCT shard_id FROM copies"
        return [shard_id for (shard_id,) in self._scratch.all_rows(query)]

    def of_file(self, file_no: int) -> list[_Copy]:
        """Give those of one file, in the order of its rows."""
        query = """
            SELECT row_no, track_id, uri, version, shard_id FROM copies WHERE file_no = ?
            ORDER BY row_no
        """
        return list(map(_Copy._make, self._scratch.all_rows(query, (file_no,))))


def _row_of(move: Move) -> tuple[str, ...]:
    track = move.track
    new = (track.track_id, stored(track.uri), track.version, track.shard_id)
    return move.old_track_id, move.old_version, *new
