"""Rows that leave a model table, because the catalogue does not plan them any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter

import numpy as np

from embedlib.records import PartResult
from embedlib.tables.catalog import read_tracks
from embedlib.tables.exchange import Exchange, exchange
from embedlib.tables.keys import stored_keys
from embedlib.tables.layout import OutLike, model_folder
from embedlib.tables.pending import finished_shards
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.rewriting import PartWriter, rows_of, schema_of
from embedlib.tables.snapshot import LoggedFile, Snapshot


@dataclass(frozen=True, slots=True)
class Pruned:
    """What left a table.

    Attributes
    ----------
    n_rows : int
        Rows that were not planned.
    n_files : int
        Files that held them: left out, or written again without them.
    """

    n_rows: int = 0
    n_files: int = 0


def prune_rows(out: OutLike, model: str, tracks: PlannedTracks) -> Pruned:
    """Have the rows leave whose track, version and shard are not planned.

    Older versions of the table keep them. What another run has planned meanwhile stays: before
    rows leave, the catalogue is asked again.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    model : str
        Name of the model table, which need not exist.
    tracks : PlannedTracks
        The plan.

    Returns
    -------
    pruned : Pruned
        Nothing where there was no such row; then nothing was written.

    Raises
    ------
    OutputError
        If a file is missing or damaged, or the disk is full.
    RunError
        If the log refuses for ever.
    """

    def prepare(snapshot: Snapshot, writer: PartWriter) -> tuple[Exchange, Pruned]:
        return _without_strays(out, snapshot, writer, tracks=tracks)

    return exchange(model_folder(out, model), prepare, cause="pruned") or Pruned()


def _without_strays(
    out: OutLike, snapshot: Snapshot, writer: PartWriter, *, tracks: PlannedTracks
) -> tuple[Exchange, Pruned]:
    finished = finished_shards(snapshot.files, tracks)
    files = [file for file in snapshot.files if file.shard_id not in finished]
    old, parts, n_rows = [], [], 0
    # The catalogue is read after the log: a row that is there now was planned then, or before.
    strays = tracks.strays(stored_keys(files))
    if (first := next(strays, None)) is not None:
        newest = PlannedTracks()
        newest.add(read_tracks(out))
        strays = newest.strays(chain([first], strays))
    for file_no, rows in groupby(strays, key=attrgetter("file_no")):
        gone = [row.row_no for row in rows]
        old.append(files[file_no])
        parts.append(_rest(files[file_no], gone, writer))
        n_rows += len(gone)
    rest = tuple(part for part in parts if part is not None)
    return Exchange(tuple(old), rest), Pruned(n_rows, len(old))


def _rest(file: LoggedFile, gone: Sequence[int], writer: PartWriter) -> PartResult | None:
    """Write a file again without some of its rows."""
    kept = np.setdiff1d(np.arange(file.n_rows), gone)
    if not len(kept):
        return None
    schema = schema_of(file)
    rows = rows_of(file, schema=schema, rows=kept)
    return writer.write(rows, schema=schema, shard_id=file.shard_id)
