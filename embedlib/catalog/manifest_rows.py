"""Read the rows of a manifest in CSV, TSV, JSON lines or Parquet, each with where it stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from embedlib.catalog.allowed import ANYWHERE, Allowed
from embedlib.catalog.files import is_utf8
from embedlib.catalog.formats import extension
from embedlib.catalog.uris import (
    is_url,
    masked,
    one_line,
    store_errors,
    unreadable,
    without_query,
)
from embedlib.errors import CatalogError, ConfigError

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a manifest that are read; others are left alone.

    Attributes
    ----------
    required : tuple of str
        They must be there.
    optional : tuple of str
        They may be there.
    carried : tuple of str
        The user wants to keep them, so that they must be there too.
    """

    required: tuple[str, ...] = ("uri",)
    optional: tuple[str, ...] = ("track_id", "start_s", "end_s")
    carried: tuple[str, ...] = ()


AUDIO: Final = Columns()
"""Of a manifest of what to embed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a manifest, and where it stands.

    Attributes
    ----------
    manifest : str
        Path or URL.
    number : int
        Line of the file, from 1; of a Parquet file, the row.
    row : mapping
        Values by column.
    """

    manifest: str
    number: int
    row: Row

    def text(self, column: str) -> str:
        """Give one value as text.

        Parameters
        ----------
        column : str
            Name of a column, which need not be there.

        Returns
        -------
        text : str
            Empty for a null or no column; numbers, truth values and lists as JSON writes them.

        Raises
        ------
        CatalogError
            If no table can hold the text.
        """
        text = _text(self.row.get(column))
        if not is_utf8(text):
            raise self.error(f"{column}={text!a} is not valid UTF-8", fix="correct or rename it")
        return text

    def error(self, problem: str, *, fix: str) -> CatalogError:
        """Make an error that says where the problem is.

        Parameters
        ----------
        problem : str
            What is wrong with the row.
        fix : str
            The way out.

        Returns
        -------
        error : CatalogError
            To be raised.
        """
        return CatalogError(f"{masked(self.manifest)}, line {self.number}: {problem}", fix=fix)


def is_manifest(source: str) -> bool:
    """Tell manifests from audio by their extension.

    Parameters
    ----------
    source : str
        Path or URL of a file.

    Returns
    -------
    is_manifest : bool
        Whether it ends in ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.

    Examples
    --------
    >>> is_manifest("tracks.csv"), is_manifest("song.flac")
    (True, False)
    """
    return extension(without_query(source)) in _READERS


def read_lines(
    source: str, *, columns: Columns = AUDIO, allowed: Allowed = ANYWHERE
) -> Iterator[Line]:
    """Read a manifest row by row, as far as its format goes.

    Parameters
    ----------
    source : str
        Absolute local path or fsspec URL of the manifest.
    columns : Columns, optional
        Those that are wanted; by default of a manifest of audio.
    allowed : Allowed
        Where the server of a URL may send us.

    Yields
    ------
    line : Line
        In the order of the manifest.

    Raises
    ------
    CatalogError
        If the manifest is missing, is not what its extension says, or lacks a required column.
    ConfigError
        If a column to carry is not there.
    """
    read = _READERS[extension(without_query(source))]
    try:
        with _open(source, allowed) as file:
            for number, row in read(file, source, columns):
                yield Line(source, number, row)
    except store_errors() as exc:
        raise unreadable(source, exc) from exc
    except UnicodeDecodeError as exc:
        raise CatalogError(f"{masked(source)} is not UTF-8", fix="save it as UTF-8") from exc


def _open(source: str, allowed: Allowed) -> IO[bytes]:
    if not is_url(source):
        return open(source, "rb")
    store, path = allowed.store(source)
    file: IO[bytes] = store.open(path, "rb")
    return file


def _csv_rows(
    file: IO[bytes], source: str, columns: Columns, *, delimiter: str = ","
) -> Iterator[tuple[int, Row]]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, delimiter=delimiter, strict=True)
        try:
            _check_columns(reader.fieldnames or (), source, columns)
            for row in reader:
                line = Line(source, reader.line_num, row)
                if None in row or None in row.values():
                    raise line.error("its number of cells is not that of the header", fix=_QUOTES)
                yield line.number, row
        except csv.Error as exc:
            raise Line(source, reader.reader.line_num, {}).error(str(exc), fix=_QUOTES) from exc


_QUOTES = "put cells that hold separators or quotes into double quotes"


def _tsv_rows(file: IO[bytes], source: str, columns: Columns) -> Iterator[tuple[int, Row]]:
    return _csv_rows(file, source, columns, delimiter="\t")


def _jsonl_rows(file: IO[bytes], source: str, columns: Columns) -> Iterator[tuple[int, Row]]:
    with io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        for number, line in enumerate(text, start=1):
            if line.strip():
                row = _json_object(line, Line(source, number, {}))
                _check_columns(tuple(row), f"{source}, line {number}", columns)
                yield number, row


def _json_object(text: str, line: Line) -> Row:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise line.error(f"not JSON: {one_line(exc)}", fix="write one object per line") from exc
    if not isinstance(row, dict):
        raise line.error("not a JSON object", fix="write one object per line")
    return row


def _parquet_rows(file: IO[bytes], source: str, columns: Columns) -> Iterator[tuple[int, Row]]:
    try:
        table = pq.ParquetFile(file)
        _check_columns(table.schema_arrow.names, source, columns)
        wanted = {*columns.required, *columns.optional, *columns.carried}
        names = [name for name in table.schema_arrow.names if name in wanted]
        rows = (row for batch in table.iter_batches(columns=names) for row in batch.to_pylist())
        yield from enumerate(rows, start=1)
    except pa.ArrowException as exc:
        raise CatalogError(
            f"{masked(source)} is not a readable Parquet file: {one_line(exc)}",
            fix="write it again",
        ) from exc


_READERS: Mapping[str, Callable[[IO[bytes], str, Columns], Iterator[tuple[int, Row]]]] = {
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
}


def _check_columns(found: Sequence[str], where: str, columns: Columns) -> None:
    there = ", ".join(map(str, found)) or "none"
    if missing := [name for name in columns.required if name not in found]:
        raise CatalogError(
            f"{masked(where)} has no column {missing[0]!r}, only {there}",
            fix=f"name the column that holds it {missing[0]!r}",
        )
    if len(set(found)) < len(found):
        raise CatalogError(f"{masked(where)} has a column twice: {there}", fix="rename one of them")
    if missing := [name for name in columns.carried if name not in found]:
        raise ConfigError(
            f"{masked(where)} has no column {missing[0]!r} to carry, only {there}",
            fix="correct `carry` or the manifest",
        )


def _text(value: object) -> str:
    if value is None:
        return ""
    nested = isinstance(value, bool | int | float | list | dict)
    return json.dumps(value, ensure_ascii=False, default=str) if nested else str(value)
