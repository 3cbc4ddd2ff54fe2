"""Bringing a search table up to date with the current view of its model table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedlib.catalog.stores import Place
from embedlib.errors import RunError
from embedlib.search.index import EXACT_ROWS, Tuned, train, tune
from embedlib.search.rows import keys, search_batches, search_schema, track_keys
from embedlib.search.store import (
    SearchState,
    connect,
    has_table,
    lance_errors,
    open_table,
    read_state,
    search_folder,
    write_state,
)
from embedlib.search.streams import row_stream
from embedlib.tables.layout import OutLike
from embedlib.tables.manifest import embeddings_fingerprint
from embedlib.tables.reader import open_output
from embedlib.tables.tracks import TrackTable

if TYPE_CHECKING:
    from lancedb.table import Table

KEPT_FOR: Final = timedelta(hours=1)
"""How long old versions of a search table stay for those who read them just now."""

_GROWTH: Final = 2
"""An index is trained anew when the table has so many times the rows that it was trained on."""

_IDS_AT_A_TIME: Final = 1_000


@dataclass(frozen=True, slots=True)
class Built:
    """What a build has done.

    Attributes
    ----------
    model : str
        Name of the model table.
    delta_version : int
        Version of it that search now stands for.
    n_rows : int
        Tracks in the search table.
    n_added, n_removed : int
        Tracks that came or changed, and that left.
    is_anew : bool
        Whether all rows were written.
    is_exact : bool
        Whether a query is compared with every row.
    recall : float
        At 10, measured against exact search.
    """

    model: str
    delta_version: int
    n_rows: int
    n_added: int
    n_removed: int
    is_anew: bool
    is_exact: bool
    recall: float


@dataclass(frozen=True, slots=True)
class _Change:
    """What must happen to the rows of a search table."""

    n_rows: int
    added: NDArray[np.bool_]
    removed: pa.Array
    is_anew: bool = False

    @property
    def n_added(self) -> int:
        return int(self.added.sum())

    @property
    def is_empty(self) -> bool:
        return not self.is_anew and not len(self.removed) and not self.n_added


def build(
    out: OutLike, model: str, *, rebuild: bool = False, exact_rows: int = EXACT_ROWS
) -> Built:
    """Bring the search table of a model up to date; make it where there is none.

    Only rows that differ from the model table by track and version are written. Whoever searches
    meanwhile finds each track that stays. A build that was killed is completed by the next.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder.
    model : str
        Name of the model table.
    rebuild : bool, optional
        Whether to write all rows anew, whatever is there.
    exact_rows : int >= 0, optional
        Up to how many rows search is exact, without an index.

    Returns
    -------
    built : Built
        What was done.

    Raises
    ------
    ConfigError
        If LanceDB is not installed.
    OutputError
        If there is no such table, or it is damaged, or the disk is full.
    RunError
        If a store does not answer, or another build writes to the same table.
    """
    tracks = open_output(out).tracks(model)
    folder = search_folder(out)
    state = None if rebuild else _valid_state(folder, tracks)
    if state is not None and _is_current(folder, state, tracks):
        return _built(state)
    change = _change(folder, state, tracks)
    with lance_errors(folder, model):
        table = _written(folder, tracks, change, state)
        _require_rows(table, change.n_rows, model=model)
        trained, tuned = _indexed(table, change, state, exact_rows=exact_rows)
        now = SearchState(
            model=model,
            delta_version=tracks.snapshot.version,
            lance_version=table.version,
            fingerprint=embeddings_fingerprint(tracks.manifest),
            n_rows=change.n_rows,
            n_indexed=trained,
            n_probes=tuned.n_probes,
            recall=tuned.recall,
        )
    write_state(folder, now)
    return _built(now, change)


def _valid_state(folder: Place, tracks: TrackTable) -> SearchState | None:
    """Give what the table was derived from, unless other numbers are in the model table now."""
    state = read_state(folder, tracks.manifest.model)
    wanted = embeddings_fingerprint(tracks.manifest)
    return state if state is not None and state.fingerprint == wanted else None


def _is_current(folder: Place, state: SearchState, tracks: TrackTable) -> bool:
    if state.delta_version != tracks.snapshot.version:
        return False
    return open_table(folder, state).version == state.lance_version


def _change(folder: Place, state: SearchState | None, tracks: TrackTable) -> _Change:
    """Compare by track and version; much more than half is faster written as a whole."""
    known = track_keys(tracks)
    has_vector = pc.greater(known["n_patches"], 0)
    n_rows = pc.sum(has_vector).as_py() or 0
    anew = _Change(n_rows, _array(has_vector), pa.array([], pa.string()), is_anew=True)
    if state is None:
        return anew
    with lance_errors(folder, state.model):
        held = open_table(folder, state).search().select(["track_id", "version"]).to_arrow()
    is_new = pc.invert(pc.is_in(keys(known), value_set=keys(held)))
    kept_ids = known["track_id"].filter(has_vector)
    removed = held["track_id"].filter(pc.invert(pc.is_in(held["track_id"], value_set=kept_ids)))
    change = _Change(n_rows, _array(pc.and_(has_vector, is_new)), removed.combine_chunks())
    # A track that is there twice comes of two builds at once.
    is_twofold = pc.count_distinct(held["track_id"]).as_py() < len(held)
    is_much = 2 * (change.n_added + len(removed)) > n_rows
    return anew if is_twofold or is_much else change


def _written(
    folder: Place, tracks: TrackTable, change: _Change, state: SearchState | None
) -> Table:
    schema, batches = search_schema(tracks.manifest), search_batches(tracks, wanted=change.added)
    if state is None or change.is_anew:
        return _written_anew(folder, tracks.manifest.model, batches, schema=schema)
    table = open_table(folder, state)
    if change.n_added:
        merge = table.merge_insert("track_id").when_matched_update_all()
        with row_stream(batches, schema=schema) as rows:
            merge.when_not_matched_insert_all().execute(rows)
    for ids in _slices(change.removed):
        _delete(table, ids)
    return table


def _written_anew(
    folder: Place, model: str, batches: Iterator[pa.RecordBatch], *, schema: pa.Schema
) -> Table:
    """Write all rows in one transaction; whoever reads an older version goes on."""
    folder.mkdir(exist_ok=True)
    mode = "overwrite" if has_table(folder, model) else "create"
    with row_stream(batches, schema=schema) as rows:
        return connect(folder).create_table(model, data=rows, schema=schema, mode=mode)


def _delete(table: Table, track_ids: list[str]) -> None:
    from lancedb.expr import col, lit

    table.delete(col("track_id").isin([lit(each) for each in track_ids]))


def _require_rows(table: Table, n_rows: int, *, model: str) -> None:
    if table.count_rows() != n_rows:
        raise RunError(
            f"another process was writing to the search table of {model}",
            fix="run the same command again",
        )


def _indexed(
    table: Table, change: _Change, state: SearchState | None, *, exact_rows: int
) -> tuple[int, Tuned]:
    """Keep the index up to date: how many rows it was trained on, and how it is to be asked."""
    n_indexed = 0 if state is None or change.is_anew else state.n_indexed
    if not n_indexed and change.n_rows <= exact_rows:
        table.optimize(cleanup_older_than=KEPT_FOR)
        return 0, Tuned(0, 1.0)
    if change.n_rows >= _GROWTH * n_indexed:
        train(table, change.n_rows)
        n_indexed = change.n_rows
    table.optimize(cleanup_older_than=KEPT_FOR)
    if state is not None and change.is_empty and state.n_indexed == n_indexed:
        return n_indexed, Tuned(state.n_probes, state.recall)
    return n_indexed, tune(table, change.n_rows)


def _built(state: SearchState, change: _Change | None = None) -> Built:
    return Built(
        model=state.model,
        delta_version=state.delta_version,
        n_rows=state.n_rows,
        n_added=change.n_added if change else 0,
        n_removed=len(change.removed) if change else 0,
        is_anew=change.is_anew if change else False,
        is_exact=state.is_exact,
        recall=state.recall,
    )


def _array(mask: pa.ChunkedArray) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = mask.to_numpy()
    return values


def _slices(ids: pa.Array) -> Iterator[list[str]]:
    for start in range(0, len(ids), _IDS_AT_A_TIME):
        yield ids.slice(start, _IDS_AT_A_TIME).to_pylist()
