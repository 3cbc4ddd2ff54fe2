"""Commits to the catalogue table: on top of the version that was read, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from deltalake import CommitProperties, DeltaTable, Field, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.schema import PrimitiveType
from deltalake.transaction import RemoveAction

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import one_line
from embedlib.errors import OutputError
from embedlib.records import PartResult, Track
from embedlib.tables.additions import add_action
from embedlib.tables.catalog_files import CATALOG_SCHEMA, write_files
from embedlib.tables.delta import table_place
from embedlib.tables.durable import refusals
from embedlib.tables.snapshot import LoggedFile, read_snapshot

TRANSACTION_ID: Final = "catalog"
"""Application transaction of every commit to the table; its version counts the generations."""


@dataclass(frozen=True, slots=True)
class FileExchange:
    """Files that leave the table, and the tracks of those that take their place.

    Attributes
    ----------
    old : tuple of LoggedFile
        Of the version that was read.
    tracks : iterable of Track
        In the order of their ids, with shards.
    carried : tuple of str
        Columns that they may carry along.
    """

    old: tuple[LoggedFile, ...]
    tracks: Iterable[Track]
    carried: tuple[str, ...] = ()


def next_generation(table: DeltaTable) -> CommitProperties:
    """Say of a commit that nothing may have been committed since the table was read.

    Parameters
    ----------
    table : DeltaTable
        The catalogue as it was read.

    Returns
    -------
    properties : CommitProperties
        Of a commit that is not tried again on top of another one.
    """
    generation = (table.transaction_version(TRANSACTION_ID) or 0) + 1
    return CommitProperties(
        app_transactions=[Transaction(TRANSACTION_ID, generation)], max_commit_retries=0
    )


def open_catalog(folder: Place) -> DeltaTable:
    """Open the table, made if absent; of several drivers that make it at once one succeeds.

    Parameters
    ----------
    folder : Path or StorePath
        Of the catalogue.

    Returns
    -------
    table : DeltaTable
        At its newest version.

    Raises
    ------
    OutputError
        If its log is damaged.
    """
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


def try_to_commit(table: DeltaTable, write: Callable[[], None]) -> bool:
    """Commit to the catalogue on top of the version that was read.

    Parameters
    ----------
    table : DeltaTable
        The catalogue as it was read.
    write : callable
        Does it.

    Returns
    -------
    committed : bool
        False if that is not the newest version any more.

    Raises
    ------
    OutputError
        If the table cannot be written.
    """
    try:
        write()
    except CommitFailedError:
        return False
    except DeltaError as exc:
        raise OutputError(
            f"cannot write to {table.table_uri}: {one_line(exc)}",
            fix="mend the disk or its permissions, then run the same command again",
        ) from exc
    return True


def exchange_files(table: DeltaTable, exchange: FileExchange, *, folder: Place) -> bool:
    """Have tracks take the place of files, in one entry of the log.

    New columns that are carried along are added by an entry before, which changes no row.

    Parameters
    ----------
    table : DeltaTable
        The catalogue as it was read.
    exchange : FileExchange
        What leaves and what comes.
    folder : Path or StorePath
        Of the catalogue.

    Returns
    -------
    committed : bool
        False if another driver was faster; then nothing has changed, and no file is left behind.

    Raises
    ------
    OutputError
        If the disk is full, or the table cannot be written.
    RunError
        If a store does not answer.
    """
    if not try_to_commit(table, lambda: _add_columns(table, exchange.carried)):
        return False
    written: list[PartResult] = []
    try:
        written.extend(write_files(folder, exchange.tracks, carried=_carried(table)))
        if try_to_commit(table, lambda: _log(table, exchange.old, written, folder=folder)):
            return True
    except OutputError:
        _remove(folder, written)
        raise
    # The answer of a store may have been lost: then the log names the files all the same.
    named = {file.path.name for file in read_snapshot(folder).files}
    if written and all(part.file_name in named for part in written):
        return True
    _remove(folder, written)
    return False


def _carried(table: DeltaTable) -> list[str]:
    names = [field.name for field in table.schema().fields]
    return [name for name in names if name not in CATALOG_SCHEMA.names]


def _add_columns(table: DeltaTable, carried: Sequence[str]) -> None:
    known = _carried(table)
    missing = [Field(name, PrimitiveType("string")) for name in carried if name not in known]
    if missing:
        once = CommitProperties(max_commit_retries=0)
        table.alter.add_columns(missing, commit_properties=once)


def _log(
    table: DeltaTable, old: Iterable[LoggedFile], new: Iterable[PartResult], *, folder: Place
) -> None:
    now_ms = int(time.time() * 1000)
    removed = [
        RemoveAction(
            path=file.path.name, data_change=True, deletion_timestamp=now_ms, size=file.n_bytes
        )
        for file in old
    ]
    with refusals(folder):
        table.create_write_transaction(
            [*removed, *(add_action(folder, part) for part in new)],
            mode="append",
            schema=table.schema(),
            commit_properties=next_generation(table),
        )


def _remove(folder: Place, parts: Iterable[PartResult]) -> None:
    for part in parts:
        with suppress(OSError):  # garbage that no log names
            (folder / part.file_name).unlink(missing_ok=True)
