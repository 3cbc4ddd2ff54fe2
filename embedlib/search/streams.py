"""Rows on their way into LanceDB, whose writer runs in another thread and language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from embedlib.errors import EmbedlibError


@contextmanager
def row_stream(
    batches: Iterable[pa.RecordBatch], *, schema: pa.Schema
) -> Iterator[pa.RecordBatchReader]:
    """Let LanceDB read rows; what stops them is raised as it was, not as LanceDB tells it.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        The rows.
    schema : pyarrow.Schema
        Their columns.

    Yields
    ------
    reader : pyarrow.RecordBatchReader
        To be read within the block.

    Raises
    ------
    EmbedlibError
        What the batches raised.
    """
    failures: list[EmbedlibError] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except EmbedlibError as exc:
            failures.append(exc)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(schema, watched())
    except (RuntimeError, OSError) as exc:
        if failures:
            raise failures[0] from exc
        raise
