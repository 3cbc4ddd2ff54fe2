"""The commit: a part counts from the moment that the Delta log names it, and not before.

A batch of parts is one Delta transaction, with one application transaction per shard in it. A
commit that another driver's commit of the same shard has overtaken is refused as a whole; then
the log is read again, and what is not yet there is tried again. The first writer of a row wins:
of a shard that has rows already, such as those of moved files, only what it lacks is added.

A driver commits each second, to a table that may have a million files: it keeps the table open,
reads what is new in its log, and asks about the shards at hand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError, RunError
from embedlib.records import PartResult
from embedlib.tables.additions import add_action
from embedlib.tables.delta import TablePlace, table_place
from embedlib.tables.durable import refusals
from embedlib.tables.keys import stored_keys
from embedlib.tables.layout import OutLike, model_folder
from embedlib.tables.manifest import read_manifest
from embedlib.tables.rewriting import PartWriter, rows_of, schema_of
from embedlib.tables.snapshot import FileIndex, LoggedFile, read_snapshot, unreadable_log
from embedlib.tables.vectors import model_schema

GENERATION: Final = 1
"""Version of a shard's application transaction: its tracks were written for the first time."""

N_FOOTERS: Final = 16
"""Parts looked at a time before a commit: that waits for a disk or a store, not for a core."""

MAX_REFUSALS: Final = 100
"""Each refusal means that another driver committed; this many in a row is no race any more."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What became of some parts.

    Attributes
    ----------
    committed : tuple of str
        Shards whose part the log names, whether by this call or by an earlier one.
    lost : tuple of str
        Shards of which the table had rows of this part already, and has all now; the file was
        deleted.
    """

    committed: tuple[str, ...]
    lost: tuple[str, ...]


class Committer:
    """Commits parts to one model table, which stays open in between.

    It is created at the first commit if absent, with the columns that its manifest tells. One
    thread at a time may use it.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table; its folder must be there, with the manifest.
    """

    def __init__(self, out: OutLike, model: str) -> None:
        self._folder = model_folder(out, model)
        self._place: TablePlace | None = None
        self._table: DeltaTable | None = None
        self._in_mixed: dict[Place, set[str]] = {}

    def commit(self, parts: Sequence[PartResult]) -> Commit:
        """Make parts count, all that are first for their shard in one transaction.

        Calling it again with the same parts changes nothing.

        Parameters
        ----------
        parts : sequence of PartResult
            What workers wrote into the table.

        Returns
        -------
        commit : Commit
            Each part of `parts` once, in their order.

        Raises
        ------
        OutputError
            If a part is missing or damaged, the disk is full, or the log or the manifest cannot
            be read.
        RunError
            If the log refuses for ever, or a store does not answer.
        """
        named = self._append_missing(parts)
        lost = [part for part in parts if part.file_name not in named]
        for part in lost:
            (self._folder / part.file_name).unlink(missing_ok=True)
        won = [part for part in parts if part.file_name in named]
        return Commit(tuple(part.shard_id for part in won), tuple(part.shard_id for part in lost))

    def shard_ids(self) -> set[str]:
        """Name all shards that have rows in the table, by whomever.

        Returns
        -------
        shard_ids : set of str
            As of now.

        Raises
        ------
        OutputError
            If the log or a compacted file cannot be read.
        RunError
            If a store does not answer.
        """
        files = FileIndex(self._newest(), self._folder)
        return files.shard_ids() | self._shards_in(files.mixed())

    def _append_missing(self, parts: Sequence[PartResult]) -> set[str]:
        """Commit until the log has every shard, and name those of the parts that it names."""
        rests = PartWriter(self._folder, cause="rest")
        for _ in range(MAX_REFUSALS):
            table = self._newest()
            index = FileIndex(table, self._folder)
            files = (*index.of_shards({part.shard_id for part in parts}), *index.mixed())
            logged = {file.path.name for file in files}
            rests.settle(logged)
            missing = self._missing(parts, files, rests, logged=logged)
            if not missing or self._try_to_append(table, missing):
                return logged.union(part.file_name for part in missing)
        raise RunError(
            f"the log of {self._folder} refused {MAX_REFUSALS} commits",
            fix="see what else writes there, then run the same command again",
        )

    def _missing(
        self,
        parts: Iterable[PartResult],
        files: Sequence[LoggedFile],
        rests: PartWriter,
        *,
        logged: Collection[str],
    ) -> list[PartResult]:
        """Give the first part of each shard, or what of its rows the table lacks."""
        begun = self._shards_in(files)
        settled = {part.shard_id for part in parts if part.file_name in logged}
        missing: dict[str, PartResult | None] = {}
        for part in parts:
            shard_id = part.shard_id
            if shard_id in missing or shard_id in settled:
                continue
            near = [file for file in files if shard_id in self._shards_in_one(file)]
            missing[shard_id] = self._rest(part, near, rests) if shard_id in begun else part
        return [part for part in missing.values() if part is not None]

    def _rest(
        self, part: PartResult, files: Sequence[LoggedFile], rests: PartWriter
    ) -> PartResult | None:
        """Give what of a part some files lack: all of it, or a copy of some rows, or nothing."""
        own = LoggedFile(self._folder / part.file_name, part.n_rows, part.n_bytes, part.shard_id)
        there = {row.key for row in stored_keys(files)}
        lacking = [row.row_no for row in stored_keys([own]) if row.key not in there]
        if len(lacking) == part.n_rows:
            return part
        schema = schema_of(own)
        rows = rows_of(own, schema=schema, rows=lacking)
        return rests.write(rows, schema=schema, shard_id=part.shard_id) if lacking else None

    def _try_to_append(self, table: DeltaTable, parts: Sequence[PartResult]) -> bool:
        try:
            _append(table, parts, folder=self._folder)
        except CommitFailedError:
            return False
        return True

    def _newest(self) -> DeltaTable:
        """Bring the table up to date; opened anew where credentials have changed."""
        place = table_place(self._folder)
        if self._table is None or place != self._place:
            schema = model_schema(read_manifest(self._folder))
            self._table, self._place = open_or_create(self._folder, schema), place
        try:
            with refusals(self._folder):
                self._table.update_incremental()
        except DeltaError as exc:
            raise unreadable_log(self._folder, exc) from exc
        return self._table

    def _shards_in(self, files: Iterable[LoggedFile]) -> set[str]:
        return {shard_id for file in files for shard_id in self._shards_in_one(file)}

    def _shards_in_one(self, file: LoggedFile) -> set[str]:
        """Name the shards of a file; compacted ones are read for that, once each."""
        if file.shard_id:
            return {file.shard_id}
        if file.path not in self._in_mixed:
            self._in_mixed[file.path] = file.shard_ids()
        return self._in_mixed[file.path]


def commit_parts(out: OutLike, model: str, parts: Sequence[PartResult]) -> Commit:
    """Make parts count, by a `Committer` of their own.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table; its folder must be there, with the manifest.
    parts : sequence of PartResult
        What workers wrote into it.

    Returns
    -------
    commit : Commit
        Each part of `parts` once, in their order.

    Raises
    ------
    OutputError
        If a part is missing or damaged, the disk is full, or the log or the manifest cannot be
        read.
    RunError
        If the log refuses for ever, or a store does not answer.
    """
    return Committer(out, model).commit(parts)


def committed_shards(out: OutLike, model: str) -> set[str]:
    """Name the shards of a model that are done, from the log.

    Parameters
    ----------
    out : str or path-like
        The output folder.
    model : str
        Name of the model table.

    Returns
    -------
    shard_ids : set of str
        Empty when there is no table yet.

    Raises
    ------
    OutputError
        If the log cannot be read.
    """
    return read_snapshot(model_folder(out, model)).shard_ids()


def open_or_create(folder: Place, schema: pa.Schema) -> DeltaTable:
    """Open the Delta table of a folder, created empty where there is none.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table; it must be there.
    schema : pyarrow.Schema
        Columns of a new table.

    Returns
    -------
    table : DeltaTable
        At its newest version.

    Raises
    ------
    OutputError
        If the table cannot be created.
    RunError
        If a store does not answer.
    """
    # Without retries, else the second of two creators would create it once more on top.
    once = CommitProperties(max_commit_retries=0)
    with refusals(folder):
        try:
            return DeltaTable.create(
                **table_place(folder),
                schema=schema,
                mode="ignore",
                name=folder.name,
                commit_properties=once,
            )
        except DeltaError as exc:
            with suppress(DeltaError):  # somebody else was faster
                return DeltaTable(**table_place(folder))
            reason = str(exc).splitlines()[0]
            raise OutputError(
                f"cannot create a table in {folder}: {reason}", fix="use a new output folder"
            ) from exc


def _append(table: DeltaTable, parts: Sequence[PartResult], *, folder: Place) -> None:
    transactions = [Transaction(part.shard_id, GENERATION) for part in parts]
    with ThreadPoolExecutor(max_workers=N_FOOTERS) as pool:
        actions: list[AddAction | RemoveAction] = list(
            pool.map(lambda part: add_action(folder, part), parts)
        )
    with refusals(folder):
        table.create_write_transaction(
            actions,
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(app_transactions=transactions),
        )
