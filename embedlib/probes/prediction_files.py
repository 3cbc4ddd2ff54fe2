"""Predictions as a file or a stream, written batch by batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError
from embedlib.probes.predict import Predictor
from embedlib.tables.durable import refusals, whole_file

Write: TypeAlias = Callable[[pa.RecordBatch], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a probe said of a table.

    Attributes
    ----------
    task, model : str
        Names of the task and of the table.
    n_tracks : int
        Rows of the table.
    n_without : int
        Rows among them without embedding, so without prediction.
    counts : tuple of (str, int)
        Tracks of each class, in the order of the classes.
    """

    task: str
    model: str
    n_tracks: int
    n_without: int
    counts: tuple[tuple[str, int], ...]


def write_predictions(predictor: Predictor, to: Place) -> Summary:
    """Predict all tracks of a table into a file, which is whole or absent.

    Parameters
    ----------
    predictor : Predictor
        What to apply to what.
    to : Path or StorePath
        File whose name ends in ``.parquet``, ``.csv`` or ``.jsonl``.

    Returns
    -------
    summary : Summary
        What came out.

    Raises
    ------
    ConfigError
        If the name of the file ends otherwise.
    OutputError
        If the table is damaged, or the disk is full or not writable.
    """
    suffix = Path(to.name).suffix
    if suffix not in _WRITERS:
        raise ConfigError(
            f"{to} does not tell a format", fix=f"end its name in {', '.join(_WRITERS)}"
        )
    with refusals(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(to) as temporary,
        temporary.open("wb") as sink,
        _WRITERS[suffix](sink, predictor.schema) as write,
    ):
        return _streamed(predictor, write)


def print_predictions(predictor: Predictor, sink: IO[bytes]) -> Summary:
    """Predict all tracks of a table onto a stream, as CSV.

    Parameters
    ----------
    predictor : Predictor
        What to apply to what.
    sink : binary file
        Where the lines go.

    Returns
    -------
    summary : Summary
        What came out.

    Raises
    ------
    OutputError
        If the table is damaged.
    """
    with _csv_writer(sink, predictor.schema) as write:
        return _streamed(predictor, write)


def _streamed(predictor: Predictor, write: Write) -> Summary:
    counts: Counter[str | None] = Counter()
    for batch in predictor.batches():
        write(batch)
        counts.update(batch["predicted"].to_pylist())
    return Summary(
        task=predictor.card.task,
        model=predictor.table.manifest.model,
        n_tracks=counts.total(),
        n_without=counts[None],
        counts=tuple((name, counts[name]) for name in predictor.card.classes),
    )


@contextmanager
def _parquet_writer(sink: IO[bytes], schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextmanager
def _csv_writer(sink: IO[bytes], schema: pa.Schema) -> Iterator[Write]:
    options = pa_csv.WriteOptions(quoting_style="needed")
    with pa_csv.CSVWriter(sink, schema, write_options=options) as writer:
        yield writer.write_batch


@contextmanager
def _lines_writer(sink: IO[bytes], schema: pa.Schema) -> Iterator[Write]:
    def write(batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            sink.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    yield write


_WRITERS: Final = {".parquet": _parquet_writer, ".csv": _csv_writer, ".jsonl": _lines_writer}
"""By the end of the name of the file."""
