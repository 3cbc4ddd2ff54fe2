"""Exports as a Lance table, for LanceDB and for what reads Lance."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from embedlib.errors import OutputError
from embedlib.search.exported import Exported
from embedlib.search.store import connect, reason_of
from embedlib.search.streams import row_stream


def write_lance(exported: Exported, folder: Path) -> None:
    """Write ``tracks.lance`` or ``patches.lance``: facts, and vectors of fixed size.

    Names of columns have ``_`` for each ``.``, which would name a part of a column there.

    Parameters
    ----------
    exported : Exported
        The rows.
    folder : Path
        An empty folder, which becomes a database of LanceDB.

    Raises
    ------
    ConfigError
        If LanceDB is not installed.
    OutputError
        If the table is damaged.
    """
    database = connect(folder)
    schema = pa.schema(field.with_name(field.name.replace(".", "_")) for field in exported.schema)
    batches = (pa.record_batch(batch.columns, schema=schema) for batch in exported.batches())
    try:
        with row_stream(batches, schema=schema) as rows:
            database.create_table(exported.what, data=rows, schema=schema)
    except RuntimeError as exc:
        raise OutputError(
            f"LanceDB cannot write to {folder.parent}: {reason_of(exc)}", fix="export elsewhere"
        ) from exc
