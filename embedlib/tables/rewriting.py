"""Files of a model table made from rows that lie in others, a row group at a time."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedlib.catalog.stores import Place
from embedlib.errors import RunError
from embedlib.records import PartResult
from embedlib.tables.manifest import read_manifest
from embedlib.tables.parquet import parquet_file
from embedlib.tables.parts import ROW_GROUP_BYTES, part_name, write_groups
from embedlib.tables.snapshot import LoggedFile

MIXED: Final = "mixed"
"""Stands for the shard in the name of a file with rows of several."""


class PartWriter:
    """Writes files of a model table from rows that are there; what does not count is deleted.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table.
    cause : str
        Goes into the names of the files.
    """

    def __init__(self, folder: Place, *, cause: str) -> None:
        self._folder = folder
        self._cause = cause
        self._written: list[str] = []

    def write(
        self, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, shard_id: str = ""
    ) -> PartResult | None:
        """Write rows into one file, whole or not at all; a row group is held at a time.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            The rows; empty batches do no harm.
        schema : pyarrow.Schema
            Their columns, with the footer as metadata: what made the rows.
        shard_id : str, optional
            Where all rows belong to one shard.

        Returns
        -------
        part : PartResult or None
            None where there was no row; then nothing was written.

        Raises
        ------
        OutputError
            If a file that is read is damaged, or the disk is full.
        """
        groups = row_groups(batches)
        if (first := next(groups, None)) is None:
            return None
        name = part_name(shard_id or MIXED, f"{self._cause}-{uuid.uuid4().hex[:12]}")
        n_rows = 0

        def counted() -> Iterator[pa.Table]:
            nonlocal n_rows
            for group in chain([first], groups):
                n_rows += group.num_rows
                yield group

        path = self._folder / name
        manifest = read_manifest(self._folder)
        n_patches = write_groups(path, counted(), schema=schema, manifest=manifest)
        self._written.append(name)
        return PartResult(
            model=manifest.model,
            shard_id=shard_id,
            file_name=name,
            n_rows=n_rows,
            n_bytes=path.stat().st_size,
            n_patches=n_patches,
            audio_s=0.0,
            statuses=(),
        )

    def settle(self, named: Collection[str] = ()) -> None:
        """Delete what was written and does not count.

        Parameters
        ----------
        named : collection of str
            Files that the log names.
        """
        for name in self._written:
            if name not in named:
                with suppress(OSError, RunError):  # garbage that nobody reads
                    (self._folder / name).unlink(missing_ok=True)
        self._written.clear()


def rows_of(
    file: LoggedFile, *, schema: pa.Schema, rows: Sequence[int] | NDArray[np.int64] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read rows of a file, in pieces of bounded size.

    Parameters
    ----------
    file : LoggedFile
        The file.
    schema : pyarrow.Schema
        Its columns.
    rows : sequence of int, optional
        Their places in the file, which may come more than once, sorted; by default all.

    Yields
    ------
    batch : pyarrow.RecordBatch
        May be empty.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    """
    wanted = None if rows is None else np.asarray(rows, dtype=np.int64)
    first = 0
    for batch in file.batches(schema.names):
        if wanted is None:
            yield batch
        else:
            start, stop = np.searchsorted(wanted, (first, first + batch.num_rows))
            yield batch.take(pa.array(wanted[start:stop] - first))
        first += batch.num_rows


def schema_of(file: LoggedFile) -> pa.Schema:
    """Read the columns of a file, with its footer as metadata.

    Parameters
    ----------
    file : LoggedFile
        The file.

    Returns
    -------
    schema : pyarrow.Schema
        What made the rows is in the metadata.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    """
    with parquet_file(file.path) as source:
        return source.schema_arrow


def by_schema(files: Iterable[LoggedFile]) -> list[tuple[pa.Schema, list[LoggedFile]]]:
    """Put files together whose rows may lie in one: those with equal columns and footers.

    Parameters
    ----------
    files : iterable of LoggedFile
        Of one table.

    Returns
    -------
    groups : list of (pyarrow.Schema, list of LoggedFile)
        Each in the order of the least ids of its files, so that ranges of ids stay narrow.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    groups: dict[bytes, tuple[pa.Schema, list[LoggedFile]]] = {}
    for file in files:
        schema = schema_of(file)
        groups.setdefault(schema.serialize().to_pybytes(), (schema, []))[1].append(file)
    for _, group in groups.values():
        group.sort(key=attrgetter("first_id"))
    return list(groups.values())


def row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Collect batches until they fill a row group.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Of one schema; none is cut.

    Yields
    ------
    group : pyarrow.Table
        At least one row, and at most `ROW_GROUP_BYTES` unless one batch alone has more.
    """
    group: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in batches:
        if group and n_bytes + batch.nbytes > ROW_GROUP_BYTES:
            yield pa.Table.from_batches(group)
            group, n_bytes = [], 0
        if batch.num_rows:
            group.append(batch)
            n_bytes += batch.nbytes
    if group:
        yield pa.Table.from_batches(group)
