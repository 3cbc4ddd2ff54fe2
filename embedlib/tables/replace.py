"""Rows that take the place of others, in one transaction per model table.

A file that holds a row to be replaced is written again without it, the rows that replace it are
copied from where they were made, and one entry of the log removes the former and names the latter.
A reader sees all of the old rows or all of the new ones; old versions stay readable.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

from embedlib.catalog.stores import Place
from embedlib.errors import RunError
from embedlib.records import PartResult
from embedlib.tables.commit import MAX_REFUSALS, add_action
from embedlib.tables.delta import table_place
from embedlib.tables.durable import refusals
from embedlib.tables.layout import OutLike, model_folder
from embedlib.tables.manifest import ModelManifest, read_manifest
from embedlib.tables.parquet import parquet_file
from embedlib.tables.parts import part_name, write_groups
from embedlib.tables.snapshot import LoggedFile, Snapshot, read_snapshot, snapshot_of

_KEYS = ("track_id", "version", "status", "shard_id")

Key = tuple[str, str]
"""Id and version of a track: a row never replaces one of another version."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a replacement did to one table.

    Attributes
    ----------
    before, after : tuple of (str, int)
        How the replaced rows had ended, and how those in their place did, sorted by status.
    """

    before: tuple[tuple[str, int], ...] = ()
    after: tuple[tuple[str, int], ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows that were replaced."""
        return sum(n for _, n in self.after)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Files that leave the table, and what takes their place."""

    old: tuple[LoggedFile, ...]
    parts: tuple[PartResult, ...]
    shard_ids: frozenset[str]
    done: Replaced


def replace_rows(
    out: OutLike,
    model: str,
    *,
    made_in: OutLike,
    statuses: Collection[str],
) -> Replaced:
    """Replace the rows of some statuses by those that another output has of the same tracks.

    Calling it again after it was done, or while another process does the same, is harmless.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table, in both outputs.
    made_in : str, path-like or StorePath
        The output that the new rows were written into, with the same parameters.
    statuses : collection of str
        Rows of `out` that ended otherwise stay as they are, bit by bit.

    Returns
    -------
    replaced : Replaced
        Nothing where no row was to be replaced; then nothing was written.

    Raises
    ------
    OutputError
        If a file is missing or damaged, or the disk is full.
    RunError
        If the log refuses for ever.
    """
    folder = model_folder(out, model)
    made = read_snapshot(model_folder(made_in, model))
    for _ in range(MAX_REFUSALS):
        table = DeltaTable(**table_place(folder))
        exchange = _exchange(snapshot_of(table, folder), made, statuses=frozenset(statuses))
        if not exchange.old:
            return exchange.done
        try:
            _commit(table, exchange, folder=folder)
        except CommitFailedError:
            # Another process has changed one of these files, or the answer of a store was lost.
            if not _is_settled(exchange, folder=folder):
                continue
        return exchange.done
    raise RunError(
        f"the log of {folder} refused {MAX_REFUSALS} replacements",
        fix="see what else writes there, then run the same command again",
    )


def _is_settled(exchange: _Exchange, *, folder: Place) -> bool:
    """Tell whether the log has it all the same; else delete the files that it does not name."""
    named = {file.path.name for file in read_snapshot(folder).files}
    orphans = [part for part in exchange.parts if part.file_name not in named]
    for part in orphans:
        (folder / part.file_name).unlink(missing_ok=True)
    return not orphans


def _exchange(snapshot: Snapshot, made: Snapshot, *, statuses: Collection[str]) -> _Exchange:
    """Write the files that take the place of those with rows to be replaced."""
    offered = {key: status for key, status, _ in _rows(made.files)}
    own_shards = {"", *made.shard_ids()}
    fitting = [file for file in snapshot.files if file.shard_id in own_shards]
    victims: dict[Key, str] = {}
    shard_ids: set[str] = set()
    old = []
    for file in fitting:
        found = [
            (key, status, shard_id)
            for key, status, shard_id in _rows([file])
            if status in statuses and key in offered
        ]
        if found:
            old.append(file)
            victims |= {key: status for key, status, _ in found}
            shard_ids |= {shard_id for *_, shard_id in found}
    copy = _Copier(snapshot.folder, victims.keys())
    parts = [*copy.each(old, inside=False), *copy.each(made.files, inside=True)] if old else []
    after = Counter(offered[key] for key in victims)
    done = Replaced(_counted(Counter(victims.values())), _counted(after))
    return _Exchange(tuple(old), tuple(parts), frozenset(shard_ids), done)


def _counted(statuses: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(statuses.items()))


def _rows(files: Iterable[LoggedFile]) -> Iterator[tuple[Key, str, str]]:
    """Give key, status and shard of each row."""
    for file in files:
        for batch in file.batches(_KEYS):
            track_ids, versions, statuses, shards = (batch[name].to_pylist() for name in _KEYS)
            yield from zip(zip(track_ids, versions, strict=True), statuses, shards, strict=True)


class _Copier:
    """Copy rows into the folder of a table, footers included: they say what made the rows."""

    def __init__(self, folder: Place, keys: Collection[Key]) -> None:
        self._folder = folder
        self._manifest: ModelManifest = read_manifest(folder)
        self._keys = keys

    def each(self, files: Sequence[LoggedFile], *, inside: bool) -> Iterator[PartResult]:
        """Copy of each file the rows that have one of the keys, or those that have none."""
        for file in files:
            with parquet_file(file.path) as source:
                schema = source.schema_arrow
            masks = [_mask(batch, self._keys) for batch in file.batches(_KEYS)]
            if any(pc.any(mask if inside else pc.invert(mask)).as_py() for mask in masks):
                yield self._copy(file, schema, inside=inside)

    def _copy(self, file: LoggedFile, schema: pa.Schema, *, inside: bool) -> PartResult:
        attempt_id = f"replaced-{uuid.uuid4().hex[:12]}"
        name = part_name(file.shard_id or "mixed", attempt_id)
        n_rows = 0

        def groups() -> Iterator[pa.Table]:
            nonlocal n_rows
            for batch in file.batches(schema.names):
                mask = _mask(batch, self._keys)
                kept = batch.filter(mask if inside else pc.invert(mask))
                n_rows += kept.num_rows
                if kept.num_rows:
                    yield pa.Table.from_batches([kept])

        path = self._folder / name
        n_patches = write_groups(path, groups(), schema=schema, manifest=self._manifest)
        return PartResult(
            model=self._manifest.model,
            shard_id=file.shard_id,
            file_name=name,
            n_rows=n_rows,
            n_bytes=path.stat().st_size,
            n_patches=n_patches,
            audio_s=0.0,
            statuses=(),
        )


def _mask(batch: pa.RecordBatch, keys: Collection[Key]) -> pa.Array:
    pairs = zip(batch["track_id"].to_pylist(), batch["version"].to_pylist(), strict=True)
    return pa.array([pair in keys for pair in pairs], pa.bool_())


def _commit(table: DeltaTable, exchange: _Exchange, *, folder: Place) -> None:
    """Put it into the log; refused where one of the old files is no longer in the table."""
    now_ms = int(time.time() * 1000)
    removed = [
        RemoveAction(
            path=file.path.name, data_change=True, deletion_timestamp=now_ms, size=file.n_bytes
        )
        for file in exchange.old
    ]
    with refusals(folder):
        table.create_write_transaction(
            [*removed, *(add_action(folder, part) for part in exchange.parts)],
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(
                app_transactions=[
                    Transaction(shard_id, (table.transaction_version(shard_id) or 0) + 1)
                    for shard_id in sorted(exchange.shard_ids)
                ]
            ),
        )
