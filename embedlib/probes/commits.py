"""The commit of fits: those of a group count together, once, whoever is first.

A batch of parts is one Delta transaction, with one application transaction per group in it. Where
another driver was faster with one of the groups, the log refuses the whole, is read again, and the
groups that are still missing are tried again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError, RunError
from embedlib.probes.fit_rows import FIT_SCHEMA
from embedlib.probes.table import FitsPart, probes_folder, write_rows
from embedlib.tables.commit import GENERATION, MAX_REFUSALS, open_or_create
from embedlib.tables.delta import TablePlace, table_place
from embedlib.tables.durable import refusals
from embedlib.tables.layout import OutLike
from embedlib.tables.parquet import parquet_file
from embedlib.tables.snapshot import LoggedFile, read_snapshot, snapshot_of, unreadable_log


@dataclass(frozen=True, slots=True)
class FitsCommit:
    """What became of some parts.

    Attributes
    ----------
    n_fits : int
        Rows that this call made count.
    lost : tuple of str
        Groups that another driver had committed before; their rows here were dropped.
    """

    n_fits: int
    lost: tuple[str, ...]


class FitCommitter:
    """Commits parts to ``OUT/probes``, which stays open in between; created if absent.

    One thread at a time may use it.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    """

    def __init__(self, out: OutLike) -> None:
        self._folder = probes_folder(out)
        self._place: TablePlace | None = None
        self._table: DeltaTable | None = None
        self._in_files: dict[Place, frozenset[str]] = {}

    def commit(self, parts: Sequence[FitsPart]) -> FitsCommit:
        """Make parts count, without the groups that others have committed.

        Parameters
        ----------
        parts : sequence of FitsPart
            What workers wrote. All fits of a group must be in them.

        Returns
        -------
        commit : FitsCommit
            Which rows count by this call.

        Raises
        ------
        OutputError
            If a part is missing or damaged, the disk is full, or the log cannot be read.
        RunError
            If the log refuses for ever, or a store does not answer.
        """
        wanted = {group for part in parts for group in part.group_ids}
        left = list(parts)
        for _ in range(MAX_REFUSALS):
            table = self._newest()
            done = self._groups(snapshot_of(table, self._folder).files)
            left = self._without(left, done)
            if not left or self._try_to_append(table, left):
                mine = {group for part in left for group in part.group_ids}
                return FitsCommit(sum(part.n_rows for part in left), tuple(sorted(wanted - mine)))
        raise RunError(
            f"the log of {self._folder} refused {MAX_REFUSALS} commits",
            fix="see what else writes there, then run the same command again",
        )

    def group_ids(self) -> frozenset[str]:
        """Name all groups that are committed, by whomever.

        Returns
        -------
        group_ids : frozenset of str
            As of now; none where there is no table yet, which is not created.

        Raises
        ------
        OutputError
            If the log or a part cannot be read.
        """
        return self._groups(read_snapshot(self._folder).files)

    def _groups(self, files: Iterable[LoggedFile]) -> frozenset[str]:
        return frozenset().union(*map(self._groups_in, files))

    def _groups_in(self, file: LoggedFile) -> frozenset[str]:
        """Name the groups in a file, which is read once."""
        if file.path not in self._in_files:
            batches = file.batches(["group_id"])
            names = (name for batch in batches for name in batch["group_id"].unique().to_pylist())
            self._in_files[file.path] = frozenset(names)
        return self._in_files[file.path]

    def _without(self, parts: Iterable[FitsPart], done: Collection[str]) -> list[FitsPart]:
        """Take groups out of parts; a part that loses some is written anew, its file deleted."""
        left: list[FitsPart] = []
        for part in parts:
            kept = [group for group in part.group_ids if group not in done]
            if len(kept) == len(part.group_ids):
                left.append(part)
                continue
            if kept:
                left.append(self._only(part, kept))
            (self._folder / part.file_name).unlink(missing_ok=True)
        return left

    def _only(self, part: FitsPart, group_ids: Sequence[str]) -> FitsPart:
        with parquet_file(self._folder / part.file_name) as file:
            rows = file.read()
        wanted = pa.array(group_ids, pa.string())
        return write_rows(self._folder, rows.filter(pc.is_in(rows["group_id"], wanted)))

    def _try_to_append(self, table: DeltaTable, parts: Sequence[FitsPart]) -> bool:
        groups = sorted({group for part in parts for group in part.group_ids})
        transactions = [Transaction(group, GENERATION) for group in groups]
        actions: list[AddAction | RemoveAction] = [self._add_action(part) for part in parts]
        with refusals(self._folder):
            try:
                table.create_write_transaction(
                    actions,
                    mode="append",
                    schema=table.schema(),
                    commit_properties=CommitProperties(app_transactions=transactions),
                )
            except CommitFailedError:
                return False
        names = {self._folder / part.file_name: frozenset(part.group_ids) for part in parts}
        self._in_files.update(names)
        return True

    def _add_action(self, part: FitsPart) -> AddAction:
        path = self._folder / part.file_name
        with parquet_file(path) as file:
            found = file.metadata.num_rows, path.stat().st_size
        if found != (part.n_rows, part.n_bytes):
            raise OutputError(
                f"{path} holds {found[0]} fits in {found[1]} bytes, its writer reported "
                f"{part.n_rows} in {part.n_bytes}",
                fix="delete the file and run the same command again",
            )
        return AddAction(
            path=part.file_name,
            size=part.n_bytes,
            partition_values={},
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": part.n_rows}),
        )

    def _newest(self) -> DeltaTable:
        """Bring the table up to date; opened anew where credentials have changed."""
        place = table_place(self._folder)
        if self._table is None or place != self._place:
            self._table, self._place = open_or_create(self._folder, FIT_SCHEMA), place
        try:
            with refusals(self._folder):
                self._table.update_incremental()
        except DeltaError as exc:
            raise unreadable_log(self._folder, exc) from exc
        return self._table
