"""The proof that an output is whole: each planned track once per model, and each file as logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from embedlib.errors import OutputError
from embedlib.tables.checks import RowChecker
from embedlib.tables.layout import CATALOG_FOLDER, OutLike
from embedlib.tables.manifest import read_manifest
from embedlib.tables.parquet import parquet_file
from embedlib.tables.reader import open_output
from embedlib.tables.snapshot import NO_TABLE, LoggedFile, Snapshot, read_snapshot
from embedlib.tables.stored import stored_rows
from embedlib.tables.upkeep import removed_files


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in an output that is wrong.

    Attributes
    ----------
    model : str
        Name of the model table, or ``catalog``.
    subject : str
        Id of a track, or name of a file.
    message : str
        What is wrong with it.
    """

    model: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.model}: {self.subject}: {self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found.

    Attributes
    ----------
    problems : tuple of Problem
        Empty if the output is whole.
    notes : tuple of str
        Worth knowing, but no fault: files that no log names, or only older versions.
    n_tracks : int
        In the catalogue.
    n_rows : tuple of (str, int)
        Rows of each model table, as the log says.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    n_tracks: int
    n_rows: tuple[tuple[str, int], ...]


def verify(out: OutLike) -> Report:
    """Read all of an output and check it; nothing is changed.

    A run that has not finished has problems: tracks without a row.

    Parameters
    ----------
    out : str or path-like
        The output folder.

    Returns
    -------
    report : Report
        All problems.

    Raises
    ------
    OutputError
        If `out` is no output folder, or its catalogue, a log or a `model.json` is unreadable.
    """
    output = open_output(out)
    planned = read_snapshot(output.root / CATALOG_FOLDER)
    if planned.version == NO_TABLE:
        raise OutputError(
            f"{output.root} holds no catalogue", fix="give the folder of a run that has begun"
        )
    catalogue = _Seen()
    problems = list(_file_problems(planned, catalogue))
    problems += _duplicates(CATALOG_FOLDER, catalogue)
    notes: list[str] = []
    n_rows = []
    for model in output.models:
        snapshot = output.snapshot(model)
        problems += _model_problems(snapshot, catalogue)
        notes += _orphans(snapshot)
        n_rows.append((model, snapshot.n_rows))
    return Report(tuple(problems), tuple(notes), len(catalogue.versions), tuple(n_rows))


class _Seen:
    """How often each track was seen, and in which version last."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.versions: dict[str, str] = {}

    def add(self, track_ids: list[str], versions: list[str]) -> None:
        self.counts.update(track_ids)
        self.versions.update(zip(track_ids, versions, strict=True))


def _model_problems(snapshot: Snapshot, catalogue: _Seen) -> Iterator[Problem]:
    model = snapshot.folder.name
    checker = RowChecker(read_manifest(snapshot.folder))
    rows = _Seen()
    yield from _file_problems(snapshot, rows, checker)
    yield from _duplicates(model, rows)
    yield from _track_problems(model, rows.versions, catalogue.versions)


def _track_problems(
    model: str, rows: Mapping[str, str], planned: Mapping[str, str]
) -> Iterator[Problem]:
    for track_id, version in planned.items():
        if track_id not in rows:
            yield Problem(model, track_id, "it has no row, but the catalogue lists it")
        elif rows[track_id] != version:
            yield Problem(
                model, track_id, f"its row is of version {rows[track_id]}, planned is {version}"
            )
    for track_id in rows.keys() - planned.keys():
        yield Problem(model, track_id, "it has a row, but the catalogue does not list it")


def _duplicates(model: str, seen: _Seen) -> Iterator[Problem]:
    for track_id, count in seen.counts.items():
        if count > 1:
            yield Problem(model, track_id, f"it has {count} rows")


def _file_problems(
    snapshot: Snapshot, seen: _Seen, checker: RowChecker | None = None
) -> Iterator[Problem]:
    for file in snapshot.files:
        try:
            for subject, message in _contents(file, seen, checker):
                yield Problem(snapshot.folder.name, subject, message)
        except OutputError as exc:
            yield Problem(snapshot.folder.name, file.path.name, str(exc.args[0]))


def _contents(
    file: LoggedFile, seen: _Seen, checker: RowChecker | None
) -> Iterator[tuple[str, str]]:
    with parquet_file(file.path) as parquet:
        n_rows, n_bytes = parquet.metadata.num_rows, file.path.stat().st_size
    for what, found, logged in (("bytes", n_bytes, file.n_bytes), ("rows", n_rows, file.n_rows)):
        if found != logged:
            yield file.path.name, f"it holds {found} {what}, the log says {logged}"
    own = () if checker is None else (*checker.columns, "shard_id")
    for batch in file.batches(tuple(dict.fromkeys(("track_id", "version", *own)))):
        seen.add(batch["track_id"].to_pylist(), batch["version"].to_pylist())
        if checker is not None:
            yield from _foreign_shards(file, batch)
            for row in stored_rows(batch, checker.kinds):
                yield from ((row.track_id, message) for message in checker.problems(row))


def _foreign_shards(file: LoggedFile, batch: pa.RecordBatch) -> Iterator[tuple[str, str]]:
    """Find rows of other shards than the log says: those would be taken for done."""
    for shard_id in batch["shard_id"].unique().to_pylist() if file.shard_id else ():
        if shard_id != file.shard_id:
            yield (
                file.path.name,
                f"it holds rows of the shard {shard_id}, the log says {file.shard_id}",
            )


def _orphans(snapshot: Snapshot) -> Iterator[str]:
    kept = removed_files(snapshot.folder)
    named = {file.path.name for file in snapshot.files} | kept
    if kept:
        yield (
            f"{len(kept)} files in {snapshot.folder} are of older versions alone; "
            "`embedlib vacuum` deletes them"
        )
    for path in sorted((*snapshot.folder.glob("*.parquet"), *snapshot.folder.glob(".part-*"))):
        if path.name not in named:
            yield f"{path} is not named by the log of this version"
