"""Upkeep of an output: small files become large ones, and files of old versions go.

Neither changes a row, and readers notice neither: a version that is open stays readable after
compaction, and after vacuum if it is younger than what was to be kept.

Tables of models are compacted by our own writer, because delta-rs 1.6.6 drops the footers, which
say what made the rows, so that `diff` could not compare bit by bit any more, and makes one row
group of a file. The log is delta-rs's in both ways, and so is the rule of what may be deleted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, RunError
from embedlib.tables.commit import MAX_REFUSALS
from embedlib.tables.durable import refusals
from embedlib.tables.exchange import Exchange, exchange, open_newest
from embedlib.tables.layout import CATALOG_FOLDER, OutLike, existing_root, model_names
from embedlib.tables.rewriting import PartWriter, by_schema, rows_of, schema_of
from embedlib.tables.snapshot import LoggedFile, Snapshot, read_snapshot

TARGET_MB: Final = 128
"""Of a compacted file: some row groups, and few enough files for a listing at once."""

UNCOMMITTED_FOR: Final = timedelta(days=1)
"""A file that no version has named may belong to a run that is about to commit it."""

N_DELETIONS: Final = 16
"""At a time: they wait for a disk or a store, not for a core."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compaction did to one table.

    Attributes
    ----------
    table : str
        Name of the model table, or ``catalog``.
    n_files_before, n_files_after : int
        Files of its version before and after.
    n_bytes_before, n_bytes_after : int
        Of these files.
    """

    table: str
    n_files_before: int
    n_files_after: int
    n_bytes_before: int
    n_bytes_after: int


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What vacuum deleted from one table's folder.

    Attributes
    ----------
    table : str
        Name of the model table, or ``catalog``.
    n_files, n_bytes : int
        That were deleted.
    """

    table: str
    n_files: int
    n_bytes: int


def compact(out: OutLike, *, target_mb: float = TARGET_MB) -> tuple[Compacted, ...]:
    """Put the rows of small files into large ones, bit by bit as they are.

    Files are taken together that the same software made on the same machine, as their footers say.
    Each large file is an entry of the log of its own, so that what is done stays done if the
    process dies; a row group is held in memory at a time.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder; a run may be writing to it.
    target_mb : float, optional
        Files are filled up to that many megabytes; those above half of it stay as they are.

    Returns
    -------
    compacted : tuple of Compacted
        Of the catalogue and each model table that has rows.

    Raises
    ------
    ConfigError
        If `target_mb` is not positive, or `out` cannot be an output.
    OutputError
        If `out` is no output folder, a file is missing or damaged, or the disk is full.
    RunError
        If a log refuses for ever, or a store does not answer.
    """
    if not target_mb > 0:
        raise ConfigError(f"target_mb={target_mb} is no size of a file", fix="give more than 0")
    target_bytes = int(target_mb * 2**20)
    found = []
    for folder in _tables(out):
        before = read_snapshot(folder)
        if folder.name == CATALOG_FOLDER:
            _compact_catalogue(folder, target_bytes)
        else:
            _compact_rows(before, target_bytes)
        after = read_snapshot(folder)
        counts = len(before.files), len(after.files), before.n_bytes, after.n_bytes
        found.append(Compacted(folder.name, *counts))
    return tuple(found)


def vacuum(out: OutLike, *, keep: timedelta) -> tuple[Vacuumed, ...]:
    """Delete the files that no version younger than some time has.

    Also what died before its commit left goes, when it is a day old. Only files of rows in the
    folders of the catalogue and of the models are looked at.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder; a run may be writing to it.
    keep : timedelta
        Versions that were the newest at some moment of this time stay readable; it is rounded up
        to hours.

    Returns
    -------
    vacuumed : tuple of Vacuumed
        Of the catalogue and each model table.

    Raises
    ------
    ConfigError
        If `keep` is negative, or `out` cannot be an output.
    OutputError
        If `out` is no output folder, or may not be written.
    RunError
        If a store does not answer.
    """
    if keep < timedelta(0):
        raise ConfigError(f"keep={keep} is no length of time", fix="give 0 or more")
    return tuple(_vacuum(folder, keep) for folder in _tables(out))


def removed_files(folder: Place) -> frozenset[str]:
    """Name the files that have left a table and that older versions may still need.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table.

    Returns
    -------
    names : frozenset of str
        Those that are there still, as far as the log remembers.
    """
    table = open_newest(folder)
    if table is None:
        return frozenset()
    removed = table.vacuum(0, dry_run=True, enforce_retention_duration=False)
    there = {path.name for path in folder.glob("*.parquet")}
    return frozenset(there.intersection(removed))


def _tables(out: OutLike) -> Iterator[Place]:
    root = existing_root(out)
    for name in (CATALOG_FOLDER, *model_names(root)):
        if read_snapshot(root / name).files:
            yield root / name


def _compact_rows(snapshot: Snapshot, target_bytes: int) -> None:
    small = [file for file in snapshot.files if file.n_bytes < target_bytes / 2]
    for _, files in by_schema(small):
        for some in _filled(files, target_bytes):
            _merge(snapshot.folder, some)


def _filled(files: Iterable[LoggedFile], target_bytes: int) -> Iterator[tuple[LoggedFile, ...]]:
    """Cut where a file would be too large; one alone stays as it is."""
    some: list[LoggedFile] = []
    for file in chain(files, [None]):
        is_full = file is None or sum(each.n_bytes for each in (*some, file)) > target_bytes
        if is_full:
            if len(some) > 1:
                yield tuple(some)
            some = []
        if file is not None:
            some.append(file)


def _merge(folder: Place, files: tuple[LoggedFile, ...]) -> None:
    """Write some files as one, unless one of them has left the table meanwhile."""

    def prepare(snapshot: Snapshot, writer: PartWriter) -> tuple[Exchange, None]:
        if not set(files) <= set(snapshot.files):
            return Exchange(), None
        schema = schema_of(files[0])
        rows = chain.from_iterable(rows_of(file, schema=schema) for file in files)
        part = writer.write(rows, schema=schema)
        return Exchange(files, () if part is None else (part,), is_change=False), None

    exchange(folder, prepare, cause="compacted")


def _compact_catalogue(folder: Place, target_bytes: int) -> None:
    """Have delta-rs do it: no footer of a catalogue says anything."""
    for _ in range(MAX_REFUSALS):
        table = open_newest(folder)
        if table is None:
            return
        try:
            with refusals(folder):
                table.optimize.compact(target_size=target_bytes)
        except CommitFailedError:
            continue
        return
    raise RunError(
        f"the log of {folder} refused {MAX_REFUSALS} changes",
        fix="see what else writes there, then run the same command again",
    )


def _vacuum(folder: Place, keep: timedelta) -> Vacuumed:
    table = open_newest(folder)
    names = sorted(_expired(table, folder, keep)) if table is not None else []
    with refusals(folder), ThreadPoolExecutor(max_workers=N_DELETIONS) as pool:
        sizes = list(pool.map(lambda name: _delete(folder / name), names))
    return Vacuumed(folder.name, sum(size is not None for size in sizes), sum(filter(None, sizes)))


def _expired(table: DeltaTable, folder: Place, keep: timedelta) -> set[str]:
    """Name the files that may go; delta-rs would delete `model.json` as well."""
    hours = math.ceil(keep / timedelta(hours=1))
    kept_hours = max(hours, math.ceil(UNCOMMITTED_FOR / timedelta(hours=1)))
    removed = table.vacuum(hours, dry_run=True, enforce_retention_duration=False)
    # Checkpoints forget after a week what was removed, therefore the version of that time is named.
    unnamed = table.vacuum(
        kept_hours,
        dry_run=True,
        enforce_retention_duration=False,
        full=True,
        keep_versions=[_version_at(table, datetime.now(UTC) - timedelta(hours=hours))],
    )
    parts = {name for name in (*removed, *unnamed) if name.endswith(".parquet")}
    return parts | _half_written(folder, older_than=timedelta(hours=kept_hours))


def _version_at(table: DeltaTable, moment: datetime) -> int:
    """Give the version that was the newest at a time, or the first that is left."""
    newest = table.version()
    table.load_as_version(moment)
    found = table.version()
    table.load_as_version(newest)
    return found


def _half_written(folder: Place, *, older_than: timedelta) -> set[str]:
    """Name what writers that died have left; a store has no such files."""
    if not isinstance(folder, Path):
        return set()
    limit_s = time.time() - older_than.total_seconds()
    left = (path for path in folder.glob(".part-*.tmp") if path.is_file())
    return {path.name for path in left if path.stat().st_mtime < limit_s}


def _delete(path: Place) -> int | None:
    """Delete a file and give its size; None where somebody else did."""
    try:
        n_bytes = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    return n_bytes
