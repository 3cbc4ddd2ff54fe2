"""Parquet files wherever they lie, with one line for each that is missing or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import OutputError

REPAIR: Final = "restore it from a copy; `embedlib verify` lists all that is wrong"


@contextmanager
def parquet_file(
    path: Place, *, metadata: pq.FileMetaData | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, wherever it lies.

    Parameters
    ----------
    path : Path or StorePath
        The file.
    metadata : pyarrow.parquet.FileMetaData, optional
        Its footer, where it has been read already.

    Yields
    ------
    file : pyarrow.parquet.ParquetFile
        Open until the block ends.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    RunError
        If a store does not answer.
    """
    with readable(path):
        if isinstance(path, StorePath):
            # Columns that lie close together come in one request.
            with (
                path.open() as source,
                pq.ParquetFile(source, metadata=metadata, pre_buffer=True) as file,
            ):
                yield file
        else:
            with pq.ParquetFile(path, metadata=metadata) as file:
                yield file


def read_rows(paths: Sequence[Place], columns: Sequence[str], *, where: pc.Expression) -> pa.Table:
    """Read the rows of some Parquet files for which something holds.

    Parameters
    ----------
    paths : sequence of Path or StorePath
        At least one, all in one folder.
    columns : sequence of str
        Names of columns.
    where : pyarrow.compute.Expression
        What must hold; statistics of the files spare reading most others.

    Returns
    -------
    rows : pyarrow.Table
        In no particular order.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    RunError
        If a store does not answer.
    """
    import pyarrow.dataset as ds  # loads pandas, where that is installed

    folder, wanted = paths[0].parent, list(columns)
    with readable(folder):
        if not isinstance(folder, StorePath):
            return ds.dataset(list(paths)).to_table(wanted, filter=where)
        sources = [path.open() for path in paths]
        return pa.concat_tables(
            pq.read_table(source, columns=wanted, filters=where) for source in sources
        )


def without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give rows the types that their files were written with.

    Files that deltalake has written anew, as its own compaction does, hold views of strings, which
    do not go together with strings, and which pyarrow 26 cannot take rows of.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        Some rows.

    Returns
    -------
    batch : pyarrow.RecordBatch
        The same, without a copy where there is no view.

    Examples
    --------
    >>> rows = pa.record_batch({"track_id": pa.array(["a"], pa.string_view())})
    >>> without_views(rows).schema.field("track_id").type
    DataType(string)
    """
    views = [pa.types.is_string_view(field.type) for field in batch.schema]
    if not any(views):
        return batch
    plain = (
        field.with_type(pa.string()) if is_view else field
        for field, is_view in zip(batch.schema, views, strict=True)
    )
    return batch.cast(pa.schema(plain))


@contextmanager
def readable(path: Place) -> Iterator[None]:
    """Turn the errors of a missing or damaged Parquet file into one line that names it.

    Parameters
    ----------
    path : Path or StorePath
        The file that the caller reads.

    Yields
    ------
    None
        Once.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise OutputError(f"{path} is missing, but the log names it", fix=REPAIR) from exc
    except (pa.ArrowException, OSError) as exc:
        # pyarrow reports damage inside a column as a plain OSError without errno.
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        reason = str(exc).splitlines()[0]
        raise OutputError(f"{path} is damaged: {reason}", fix=REPAIR) from exc
