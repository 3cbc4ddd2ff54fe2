"""What the log is told of a file of a model table."""

from __future__ import annotations

import json
import time

import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError
from embedlib.records import PartResult
from embedlib.tables.parquet import parquet_file

_RANGED = ("track_id", "shard_id")
"""Shards are runs of sorted ids, so that the range finds the file of one track."""


def add_action(folder: Place, part: PartResult, *, is_change: bool = True) -> AddAction:
    """Say to the log what a part holds.

    Parameters
    ----------
    folder : Path or StorePath
        Of the model table.
    part : PartResult
        A file in it; without a shard where it has rows of several.
    is_change : bool, optional
        False where its rows were in the table before, in other files.

    Returns
    -------
    action : AddAction
        With statistics, by which readers skip files.

    Raises
    ------
    OutputError
        If the file is missing, damaged, or not what its writer reported.
    """
    return AddAction(
        path=part.file_name,
        size=part.n_bytes,
        partition_values={},
        modification_time=int(time.time() * 1000),
        data_change=is_change,
        stats=json.dumps(_statistics(folder / part.file_name, part)),
    )


def _statistics(path: Place, part: PartResult) -> dict[str, object]:
    """Describe a part to readers that skip files; reading the footer proves that it is whole."""
    with parquet_file(path) as file:
        footer, n_bytes = file.metadata, path.stat().st_size
    if (footer.num_rows, n_bytes) != (part.n_rows, part.n_bytes):
        raise OutputError(
            f"{path} holds {footer.num_rows} rows in {n_bytes} bytes, "
            f"its writer reported {part.n_rows} in {part.n_bytes}",
            fix="delete the file and run the same command again",
        )
    ranges = {name: found for name in _RANGED if (found := _range(footer, name))}
    return {
        "numRecords": part.n_rows,
        "minValues": {name: least for name, (least, _) in ranges.items()},
        "maxValues": {name: greatest for name, (_, greatest) in ranges.items()},
        "nullCount": dict.fromkeys(_RANGED, 0),
    }


def _range(footer: pq.FileMetaData, name: str) -> tuple[str, str] | None:
    """Give the least and the greatest text of a column; Parquet keeps none of more than 4 KiB."""
    column = footer.schema.names.index(name)
    groups = range(footer.num_row_groups)
    kept = [footer.row_group(group).column(column).statistics for group in groups]
    if not kept or not all(each is not None and each.has_min_max for each in kept):
        return None
    return min(each.min for each in kept), max(each.max for each in kept)
