"""Asking what sounds alike: the neighbours of a track, of a file, or of any vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, OutputError
from embedlib.records import Float32
from embedlib.search.exact import batch_matrix
from embedlib.search.index import DISTANCE, measure_recall, nearest_rows
from embedlib.search.rows import EMBEDDING, FACTS
from embedlib.search.store import (
    SearchState,
    lance_errors,
    open_table,
    reason_of,
    require_state,
    search_folder,
    unusable,
)
from embedlib.tables.layout import OutLike
from embedlib.tables.snapshot import read_snapshot

if TYPE_CHECKING:
    from lancedb.table import Table

_SHOWN: Final = ("track_id", "uri", "duration_s")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A track near to what was asked for.

    Attributes
    ----------
    track_id, uri : str
        Which one.
    duration_s : float
        Its length.
    distance : float
        One minus the cosine of the angle between the embeddings: 0 for equal directions.
    """

    track_id: str
    uri: str
    duration_s: float
    distance: float


@dataclass(frozen=True, slots=True)
class Searcher:
    """An open search table, for one query after the other.

    Attributes
    ----------
    folder : Path or StorePath
        Of the search tables.
    state : SearchState
        How the table is to be asked.
    table : lancedb.Table
        Its rows.
    """

    folder: Place
    state: SearchState
    table: Table

    @property
    def is_stale(self) -> bool:
        """Whether the model table has gone on since; reads the log."""
        newest = read_snapshot(self.folder.parent / self.state.model).version
        return self.state.delta_version != newest

    def vector_of(self, track_id: str) -> Float32:
        """Give the embedding of a track.

        Parameters
        ----------
        track_id : str
            The track.

        Returns
        -------
        vector : np.ndarray [shape=(n_dims,), float32]
            As the table has it.

        Raises
        ------
        OutputError
            If the track has none.
        """
        from lancedb.expr import col, lit

        with lance_errors(self.folder, self.state.model):
            search = self.table.search().where(col("track_id") == lit(track_id))
            rows = search.select([EMBEDDING]).limit(1).to_arrow()
        if not len(rows):
            raise OutputError(
                f"the search table of {self.state.model} has no track {track_id!r}",
                fix="ids are those of the model table; tracks without embedding are listed by "
                f"`embedlib failures {self.folder.parent}`",
            )
        vector: Float32 = batch_matrix(rows.to_batches()[0])[0]
        return vector

    def nearest(
        self,
        vector: Float32,
        *,
        k: int = 20,
        where: str | None = None,
        without: str | None = None,
        exact: bool = False,
    ) -> tuple[Neighbour, ...]:
        """Find the tracks nearest to a vector.

        Parameters
        ----------
        vector : np.ndarray [shape=(n_dims,), float32]
            What is looked for.
        k : int > 0, optional
            How many.
        where : str, optional
            Condition on the facts of a track, in SQL; it is applied before the search.
        without : str, optional
            Id of a track that is left out.
        exact : bool, optional
            Whether to compare with all rows even where there is an index.

        Returns
        -------
        neighbours : tuple of Neighbour
            The nearest first; fewer than `k` where no more fulfil the condition.

        Raises
        ------
        ConfigError
            If `k` or `where` is wrong, or the vector has no direction.
        OutputError
            If the search table is damaged.
        """
        if k < 1:
            raise ConfigError(f"k={k} neighbours are none", fix="ask for at least one")
        if not vector.any():
            raise ConfigError("the vector is zero, which has no direction", fix="give another one")
        # The track itself is one row more, not a condition: the index is asked the same either way.
        rows = self._rows(vector, k=k + (without is not None), where=where, exact=exact)
        distances = np.maximum(rows[DISTANCE].to_numpy(), 0).tolist()
        columns = (rows[name].to_pylist() for name in _SHOWN)
        found = (Neighbour(*facts) for facts in zip(*columns, distances, strict=True))
        return tuple(each for each in found if each.track_id != without)[:k]

    def recall(self, *, n_queries: int = 1_000, seed: int = 1) -> float:
        """Measure which part of the exact neighbours of some tracks a search finds.

        Parameters
        ----------
        n_queries : int > 0, optional
            Tracks to ask for.
        seed : int, optional
            Which ones; another seed than that of the build draws others than it was tuned with.

        Returns
        -------
        recall : float in [0, 1]
            At 10.

        Raises
        ------
        OutputError
            If the search table is damaged.
        """
        with lance_errors(self.folder, self.state.model):
            return measure_recall(
                self.table,
                self.table.count_rows(),
                n_probes=self.state.n_probes,
                n_queries=n_queries,
                seed=seed,
            )

    def _rows(self, vector: Float32, *, k: int, where: str | None, exact: bool) -> pa.Table:
        n_probes = 0 if exact else self.state.n_probes
        with lance_errors(self.folder, self.state.model):
            try:
                return nearest_rows(
                    self.table, vector, k=k, n_probes=n_probes, columns=_SHOWN, where=where
                )
            except ValueError as exc:
                if where is None:
                    raise unusable(self.folder, self.state.model, exc) from exc
                raise ConfigError(
                    f"the condition {where!r} cannot be applied: {reason_of(exc)}",
                    fix=f"write SQL on {', '.join(FACTS)}",
                ) from exc


def open_search(out: OutLike, model: str) -> Searcher:
    """Open the search table of a model.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder.
    model : str
        Name of the model table.

    Returns
    -------
    searcher : Searcher
        Ready for queries; later builds do not change what it finds.

    Raises
    ------
    ConfigError
        If LanceDB is not installed.
    OutputError
        If there is no search table, or it is damaged.
    """
    folder = search_folder(out)
    state = require_state(folder, model)
    return Searcher(folder, state, open_table(folder, state))


def query(
    out: OutLike, model: str, *, track: str, k: int = 20, where: str | None = None
) -> tuple[Neighbour, ...]:
    """Find what sounds like a track of the catalogue.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder.
    model : str
        Name of the model table.
    track : str
        Id of a track; it is not among its neighbours.
    k : int > 0, optional
        How many.
    where : str, optional
        Condition on the facts of a track, in SQL.

    Returns
    -------
    neighbours : tuple of Neighbour
        The nearest first.

    Raises
    ------
    ConfigError
        If `k` or `where` is wrong, or LanceDB is not installed.
    OutputError
        If there is no search table or no such track.
    """
    searcher = open_search(out, model)
    return searcher.nearest(searcher.vector_of(track), k=k, where=where, without=track)
