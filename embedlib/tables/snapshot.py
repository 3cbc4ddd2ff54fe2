"""One version of a Delta table: the files that its log names, and how to read them in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from embedlib.catalog.patience import unanswered
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import OutputError
from embedlib.tables.delta import table_place
from embedlib.tables.parquet import REPAIR, parquet_file, without_views

BATCH_BYTES: Final = 32 * 2**20
"""About how much of a table is held in memory at a time."""

_FILES_AT_A_TIME: Final = 1 << 12
"""Taken from Arrow to Python: of a hundred thousand, all at once would be 100 MB more."""

NO_TABLE: Final = -1
"""Version of a table that has not been created."""

_SHARD_RANGE: Final = ("min.shard_id", "max.shard_id")
_FIRST_ID: Final = "min.track_id"


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """A data file as the log describes it.

    Attributes
    ----------
    path : Path or StorePath
        Where it must lie.
    n_rows, n_bytes : int
        What it must hold.
    shard_id : str
        The shard that all its rows belong to; empty when there are several.
    first_id : str
        The least id of a track in it; empty where the log does not tell.
    """

    path: Place
    n_rows: int
    n_bytes: int
    shard_id: str
    first_id: str = ""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read some columns in pieces of bounded size.

        Parameters
        ----------
        columns : sequence of str
            Names of columns.

        Yields
        ------
        batch : pyarrow.RecordBatch
            Some rows, in the order of the file, with these columns in this order.

        Raises
        ------
        OutputError
            If the file is missing or damaged, or lacks a column.
        """
        wanted = list(columns)
        with parquet_file(self.path) as file:
            self._check_columns(file.schema_arrow.names, wanted)
            for group in range(file.metadata.num_row_groups):
                n_rows = _rows_per_batch(file.metadata.row_group(group))
                for batch in file.iter_batches(n_rows, row_groups=[group], columns=wanted):
                    # pyarrow compares paths of leaves: asked for "x.list" it gives "x" too.
                    yield without_views(batch.select(wanted))

    def shard_ids(self) -> set[str]:
        """Name the shards that its rows belong to; the file is read where there are several.

        Returns
        -------
        shard_ids : set of str
            None where it holds no row.

        Raises
        ------
        OutputError
            If the file is missing or damaged.
        """
        if self.shard_id or not self.n_rows:
            return {self.shard_id} - {""}
        batches = self.batches(["shard_id"])
        return {name for batch in batches for name in batch["shard_id"].unique().to_pylist()}

    def _check_columns(self, found: Sequence[str], wanted: Sequence[str]) -> None:
        if absent := [name for name in wanted if name not in found]:
            raise OutputError(f"{self.path} has no column {absent[0]!r}", fix=REPAIR)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a table.

    Attributes
    ----------
    folder : Path or StorePath
        Of the table.
    version : int
        Of the log; `NO_TABLE` before the first commit.
    files : tuple of LoggedFile
        In the order of their names.
    """

    folder: Place
    version: int
    files: tuple[LoggedFile, ...]

    @property
    def n_rows(self) -> int:
        """Rows in all files, from the log alone."""
        return sum(file.n_rows for file in self.files)

    @property
    def n_bytes(self) -> int:
        """Bytes of all files, from the log alone."""
        return sum(file.n_bytes for file in self.files)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read some columns of all files in pieces of bounded size.

        Parameters
        ----------
        columns : sequence of str
            Names of columns.

        Yields
        ------
        batch : pyarrow.RecordBatch
            Some rows of one file.

        Raises
        ------
        OutputError
            If a file is missing or damaged.
        """
        for file in self.files:
            yield from file.batches(columns)

    def shard_ids(self) -> set[str]:
        """Name the shards that have rows, from the log alone where no file was compacted.

        Returns
        -------
        shard_ids : set of str
            Shards with at least one row.

        Raises
        ------
        OutputError
            If a compacted file is missing or damaged.
        """
        return {shard_id for file in self.files for shard_id in file.shard_ids()}


class FileIndex:
    """The files of an open table in columns, for questions about a few of a million.

    Parameters
    ----------
    table : DeltaTable
        At the version wanted.
    folder : Path or StorePath
        Of the table.
    """

    def __init__(self, table: DeltaTable, folder: Place) -> None:
        self._folder = folder
        self._files = _described_files(table)
        least, greatest = (self._files[name] for name in _SHARD_RANGE)
        self._shard_ids = pc.if_else(pc.equal(least, greatest), least, None)

    def of_shards(self, shard_ids: Collection[str]) -> tuple[LoggedFile, ...]:
        """List the files of which all rows belong to one of some shards.

        Parameters
        ----------
        shard_ids : collection of str
            The shards.

        Returns
        -------
        files : tuple of LoggedFile
            In no particular order.
        """
        wanted = pa.array(shard_ids, self._shard_ids.type)
        return self._where(pc.is_in(self._shard_ids, wanted))

    def mixed(self) -> tuple[LoggedFile, ...]:
        """List the files that hold rows of several shards, as compaction leaves them.

        Returns
        -------
        files : tuple of LoggedFile
            In no particular order.
        """
        return self._where(pc.is_null(self._shard_ids))

    def shard_ids(self) -> set[str]:
        """Name the shards that have a file of their own.

        Returns
        -------
        shard_ids : set of str
            Those in mixed files are left out.
        """
        return set(pc.unique(self._shard_ids.drop_null()).to_pylist())

    def _where(self, mask: pa.ChunkedArray) -> tuple[LoggedFile, ...]:
        chosen = self._files.filter(mask).to_pylist()
        return tuple(_logged_file(self._folder, action) for action in chosen)


def read_snapshot(folder: Place, *, at: int | None = None) -> Snapshot:
    """Read the log of a table, but none of its data.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table; without a log the snapshot is empty and its version `NO_TABLE`.
    at : int, optional
        Version to read; by default the newest.

    Returns
    -------
    snapshot : Snapshot
        The files of that version.

    Raises
    ------
    OutputError
        If there is no such version, or the log is damaged.
    RunError
        If a store does not answer.
    """
    if not (folder / "_delta_log").is_dir():
        return Snapshot(folder, NO_TABLE, ())
    try:
        return snapshot_of(DeltaTable(**table_place(folder), version=at), folder)
    except TableNotFoundError:
        return Snapshot(folder, NO_TABLE, ())
    except DeltaError as exc:
        raise unreadable_log(folder, exc, at=at) from exc
    except OSError as exc:
        if not isinstance(folder, StorePath):
            raise
        raise unanswered(folder.url, exc) from exc


def unreadable_log(folder: Place, exc: DeltaError, *, at: int | None = None) -> OutputError:
    """Make the error for a log that deltalake does not understand.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table.
    exc : DeltaError
        What deltalake says.
    at : int, optional
        Version that was wanted.

    Returns
    -------
    error : OutputError
        In one line.
    """
    wanted = "" if at is None else f" at version {at}"
    reason = str(exc).splitlines()[0]
    return OutputError(
        f"cannot read the log of {folder}{wanted}: {reason}", fix="name a version that is kept"
    )


def snapshot_of(table: DeltaTable, folder: Place) -> Snapshot:
    """List the files of an open table.

    Parameters
    ----------
    table : DeltaTable
        At the version wanted.
    folder : Path or StorePath
        Of the table.

    Returns
    -------
    snapshot : Snapshot
        Its files.
    """
    batches = _described_files(table).to_batches(max_chunksize=_FILES_AT_A_TIME)
    files = (_logged_file(folder, action) for batch in batches for action in batch.to_pylist())
    return Snapshot(folder, table.version(), tuple(sorted(files, key=lambda file: file.path)))


def _described_files(table: DeltaTable) -> pa.Table:
    """Give what the log says of each file, without the statistics that are not read here."""
    files = pa.table(table.get_add_actions(flatten=True))
    for name in (*_SHARD_RANGE, _FIRST_ID):
        if name not in files.column_names:
            files = files.append_column(name, pa.nulls(len(files), pa.string()))
    return files.select(["path", "num_records", "size_bytes", *_SHARD_RANGE, _FIRST_ID])


def _logged_file(folder: Place, action: dict[str, object]) -> LoggedFile:
    first, last, first_id = (action[name] for name in (*_SHARD_RANGE, _FIRST_ID))
    return LoggedFile(
        path=folder / unquote(str(action["path"])),
        n_rows=int(str(action["num_records"])),
        n_bytes=int(str(action["size_bytes"])),
        shard_id=str(first) if first is not None and first == last else "",
        first_id="" if first_id is None else str(first_id),
    )


def _rows_per_batch(group: pq.RowGroupMetaData) -> int:
    n_rows, n_bytes = int(group.num_rows), int(group.total_byte_size)
    return max(1, BATCH_BYTES * n_rows // max(1, n_bytes))
