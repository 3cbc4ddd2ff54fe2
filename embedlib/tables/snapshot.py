"""One version of a Delta table: the files that its log names, and how to read them in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from embedlib.catalog.patience import unanswered
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import OutputError
from embedlib.tables.delta import table_place
from embedlib.tables.parquet import REPAIR, parquet_file

BATCH_BYTES: Final = 32 * 2**20
"""About how much of a table is held in memory at a time."""

NO_TABLE: Final = -1
"""Version of a table that has not been created."""


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
    """

    path: Place
    n_rows: int
    n_bytes: int
    shard_id: str

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
                    yield batch.select(wanted)

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
        mixed = (file for file in self.files if not file.shard_id and file.n_rows)
        scanned = (batch["shard_id"] for file in mixed for batch in file.batches(["shard_id"]))
        found = {file.shard_id for file in self.files if file.shard_id}
        return found.union(*(ids.unique().to_pylist() for ids in scanned))


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
        wanted = "" if at is None else f" at version {at}"
        reason = str(exc).splitlines()[0]
        raise OutputError(
            f"cannot read the log of {folder}{wanted}: {reason}", fix="name a version that is kept"
        ) from exc
    except OSError as exc:
        if not isinstance(folder, StorePath):
            raise
        raise unanswered(folder.url, exc) from exc


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
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    files = (_logged_file(folder, action) for action in actions)
    return Snapshot(folder, table.version(), tuple(sorted(files, key=lambda file: file.path)))


def _logged_file(folder: Place, action: dict[str, object]) -> LoggedFile:
    first, last = action.get("min.shard_id"), action.get("max.shard_id")
    return LoggedFile(
        path=folder / unquote(str(action["path"])),
        n_rows=int(str(action["num_records"])),
        n_bytes=int(str(action["size_bytes"])),
        shard_id=str(first) if first is not None and first == last else "",
    )


def _rows_per_batch(group: pq.RowGroupMetaData) -> int:
    n_rows, n_bytes = int(group.num_rows), int(group.total_byte_size)
    return max(1, BATCH_BYTES * n_rows // max(1, n_bytes))
