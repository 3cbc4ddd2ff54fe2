"""Files of a model table that take the place of others, in one entry of its log.

Whatever changes rows that are there (a retry, a move, a deletion, compaction) writes new files from
old ones and has the log remove the former as it names the latter. A reader sees all of the old rows
or all of the new ones, and old versions stay readable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

from embedlib.catalog.stores import Place
from embedlib.errors import RunError
from embedlib.records import PartResult
from embedlib.tables.additions import add_action
from embedlib.tables.commit import MAX_REFUSALS
from embedlib.tables.delta import table_place
from embedlib.tables.durable import refusals
from embedlib.tables.rewriting import PartWriter
from embedlib.tables.snapshot import NO_TABLE, LoggedFile, Snapshot, read_snapshot, snapshot_of

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Files that leave a table, and what takes their place.

    Attributes
    ----------
    old : tuple of LoggedFile
        The log removes them; where one of them is gone meanwhile, it refuses.
    parts : tuple of PartResult
        They are in the folder of the table already.
    transactions : frozenset of str
        Names under which the log refuses whatever else is under way under the same.
    is_change : bool
        False where the rows stay as they are, so that readers of changes skip it.
    """

    old: tuple[LoggedFile, ...] = ()
    parts: tuple[PartResult, ...] = ()
    transactions: frozenset[str] = frozenset()
    is_change: bool = True


def exchange(
    folder: Place,
    prepare: Callable[[Snapshot, PartWriter], tuple[Exchange, Done]],
    *,
    cause: str,
) -> Done | None:
    """Change a table in one entry of its log; prepared anew whenever another was faster.

    Parameters
    ----------
    folder : Path or StorePath
        Of a model table.
    prepare : callable
        Given the newest version and a writer: what is to be exchanged, and what the caller is to
        be told. An exchange of nothing is not committed.
    cause : str
        A word for the names of the files.

    Returns
    -------
    done : Any or None
        What `prepare` said of that which is in the log now; None where there is no table.

    Raises
    ------
    OutputError
        If a file is missing or damaged, the disk is full, or the log cannot be read.
    RunError
        If the log refuses for ever, or a store does not answer.
    """
    writer = PartWriter(folder, cause=cause)
    for _ in range(MAX_REFUSALS):
        if (table := open_newest(folder)) is None:
            return None
        with ExitStack() as undo:
            undo.callback(writer.settle)
            change, done = prepare(snapshot_of(table, folder), writer)
            undo.pop_all()
        if not change.old and not change.parts:
            return done
        if _commit(table, change, folder=folder) or _is_settled(writer, change, folder=folder):
            return done
    raise RunError(
        f"the log of {folder} refused {MAX_REFUSALS} changes",
        fix="see what else writes there, then run the same command again",
    )


def _is_settled(writer: PartWriter, change: Exchange, *, folder: Place) -> bool:
    """Tell whether the log has it all the same; else delete the files that it does not name."""
    named = {file.path.name for file in read_snapshot(folder).files}
    writer.settle(named)
    old = {file.path.name for file in change.old}
    return named.isdisjoint(old) and named.issuperset(part.file_name for part in change.parts)


def open_newest(folder: Place) -> DeltaTable | None:
    """Open a table at its newest version.

    Parameters
    ----------
    folder : Path or StorePath
        Where it would lie.

    Returns
    -------
    table : DeltaTable or None
        None where there is none.

    Raises
    ------
    OutputError
        If the log is damaged.
    RunError
        If a store does not answer.
    """
    if read_snapshot(folder).version == NO_TABLE:
        return None
    with refusals(folder):
        return DeltaTable(**table_place(folder))


def _commit(table: DeltaTable, change: Exchange, *, folder: Place) -> bool:
    """Put it into the log; False where that refuses, or where the answer of a store was lost."""
    now_ms = int(time.time() * 1000)
    removed = [
        RemoveAction(
            path=file.path.name,
            data_change=change.is_change,
            deletion_timestamp=now_ms,
            size=file.n_bytes,
        )
        for file in change.old
    ]
    added = [add_action(folder, part, is_change=change.is_change) for part in change.parts]
    transactions = [
        Transaction(name, (table.transaction_version(name) or 0) + 1)
        for name in sorted(change.transactions)
    ]
    try:
        with refusals(folder):
            table.create_write_transaction(
                [*removed, *added],
                mode="append",
                schema=table.schema(),
                commit_properties=CommitProperties(app_transactions=transactions),
            )
    except CommitFailedError:
        return False
    return True
