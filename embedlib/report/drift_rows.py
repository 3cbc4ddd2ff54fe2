"""The rows of two states side by side: first the facts of each, then the embeddings of both once.

Rows are told apart by 64 bits of a hash, eight bytes each in memory; embeddings pass by in blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedlib.probes.records import Float64, Int
from embedlib.records import KEPT, Float32
from embedlib.report.drift_records import Counts, StatusCount
from embedlib.tables.frames import float_matrix
from embedlib.tables.tracks import TrackTable

Bool = NDArray[np.bool_]

BLOCK_ROWS: Final = 4096
"""Embeddings at a time: what is made of them stays below some 20 MB."""

_KEPT: Final = pa.array(sorted(KEPT), pa.string())
_FACTS: Final = ("track_id", "version", "status", "duration_s", "embedding")


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """Which tracks a table has.

    Attributes
    ----------
    ids : np.ndarray [shape=(n_rows,), int64]
        Hashes of their ids, equal for equal ids in one process.
    versions : np.ndarray [shape=(n_rows,), int64]
        Hashes of their ids and versions.
    """

    ids: Int
    versions: Int


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of all rows of a model table without their vectors.

    Attributes
    ----------
    keys : Keys
        Of all rows.
    statuses : Counter of str
        Rows by status.
    durations_s : np.ndarray [shape=(n_kept,), float64]
        Of the tracks with an embedding.
    vectors : np.ndarray [shape=(n_kept,), int64]
        Hashes of their id, version and embedding.
    """

    keys: Keys
    statuses: Counter[str]
    durations_s: Float64
    vectors: Int


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some embeddings of either state; those that both have come once.

    Attributes
    ----------
    track_ids : tuple of str
        Of the tracks.
    x : np.ndarray [shape=(n_tracks, n_dims), float32]
        Their embeddings.
    is_first, is_second : np.ndarray [shape=(n_tracks,), bool]
        Which state has them.
    """

    track_ids: tuple[str, ...]
    x: Float32
    is_first: Bool
    is_second: Bool


def read_keys(batches: Iterable[pa.RecordBatch]) -> Keys:
    """Hash the ids and versions of rows.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With columns ``track_id`` and ``version``.

    Returns
    -------
    keys : Keys
        In their order.
    """
    parts = [(_hashes(_ids(batch)), _hashes(_pairs(batch))) for batch in batches]
    ids, versions = ([part[side] for part in parts] for side in (0, 1))
    return Keys(_joined(ids), _joined(versions))


def read_facts(tracks: TrackTable) -> Facts:
    """Read what is needed of all rows of a table.

    Parameters
    ----------
    tracks : TrackTable
        At some version.

    Returns
    -------
    facts : Facts
        In the order of the files.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    keys: list[Keys] = []
    statuses: Counter[str] = Counter()
    durations_s: list[Float64] = []
    vectors: list[Int] = []
    for batch in tracks.snapshot.batches(_FACTS):
        keys.append(read_keys([batch]))
        statuses.update(batch["status"].to_pylist())
        kept = _kept(batch)
        durations_s.append(kept["duration_s"].to_numpy())
        rows = map(bytes, _matrix(kept, tracks))
        vectors.append(_hashes(zip(_pairs(kept), rows, strict=True)))
    return Facts(
        Keys(_joined([each.ids for each in keys]), _joined([each.versions for each in keys])),
        statuses,
        np.concatenate([np.empty(0), *durations_s]),
        _joined(vectors),
    )


def compare_keys(first: Keys, second: Keys) -> Counts:
    """Count the tracks that came, went and changed.

    Parameters
    ----------
    first, second : Keys
        Of two states.

    Returns
    -------
    counts : Counts
        From the former to the latter.
    """
    n_both = len(np.intersect1d(first.ids, second.ids))
    n_same = len(np.intersect1d(first.versions, second.versions))
    n_first, n_second = len(np.unique(first.ids)), len(np.unique(second.ids))
    return Counts(
        n_first=len(first.ids),
        n_second=len(second.ids),
        n_new=n_second - n_both,
        n_gone=n_first - n_both,
        n_changed=n_both - n_same,
    )


def compare_failures(first: Counter[str], second: Counter[str]) -> tuple[StatusCount, ...]:
    """Count the tracks without embedding by reason.

    Parameters
    ----------
    first, second : Counter of str
        Rows of two states by status.

    Returns
    -------
    failures : tuple of StatusCount
        Sorted by name.

    Examples
    --------
    >>> (found,) = compare_failures(Counter(ok=9, missing=1), Counter(ok=10))
    >>> found.status, found.n_first, found.n_second
    ('missing', 1, 0)
    """
    reasons = sorted((first.keys() | second.keys()) - KEPT)
    return tuple(StatusCount(reason, first[reason], second[reason]) for reason in reasons)


def embeddings_of_both(
    first: TrackTable, second: TrackTable, first_facts: Facts, second_facts: Facts
) -> Iterator[Block]:
    """Read the embeddings of two states, each once.

    Parameters
    ----------
    first, second : TrackTable
        Of one model, with vectors of one length.
    first_facts, second_facts : Facts
        As `read_facts` gives them.

    Yields
    ------
    block : Block
        At most `BLOCK_ROWS`; those of the first state come first.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    is_both = np.isin(first_facts.vectors, second_facts.vectors)
    for track_ids, x, rows in _vectors(first):
        yield Block(track_ids, x, np.ones(len(x), np.bool_), is_both[rows])
    is_new = ~np.isin(second_facts.vectors, first_facts.vectors)
    for track_ids, x, rows in _vectors(second):
        chosen = np.flatnonzero(is_new[rows])
        if chosen.size:
            names = tuple(track_ids[row] for row in chosen)
            is_here = np.ones(len(chosen), np.bool_)
            yield Block(names, x[chosen], ~is_here, is_here)


def _vectors(tracks: TrackTable) -> Iterator[tuple[tuple[str, ...], Float32, slice]]:
    """Give ids, embeddings, and which of all embeddings of the table these are."""
    start = 0
    for batch in tracks.snapshot.batches(("track_id", "status", "embedding")):
        kept = _kept(batch)
        for offset in range(0, kept.num_rows, BLOCK_ROWS):
            piece = kept.slice(offset, BLOCK_ROWS)
            stop = start + piece.num_rows
            yield tuple(_ids(piece)), _matrix(piece, tracks), slice(start, stop)
            start = stop


def _kept(batch: pa.RecordBatch) -> pa.RecordBatch:
    has_embedding = pc.is_in(batch["status"], value_set=_KEPT)
    return batch.filter(pc.and_(has_embedding, pc.is_valid(batch["embedding"])))


def _matrix(kept: pa.RecordBatch, tracks: TrackTable) -> Float32:
    return float_matrix(pa.chunked_array([kept["embedding"]]), tracks.manifest.n_dims)


def _ids(batch: pa.RecordBatch) -> list[str]:
    ids: list[str] = batch["track_id"].to_pylist()
    return ids


def _pairs(batch: pa.RecordBatch) -> Iterator[tuple[str, str]]:
    return zip(_ids(batch), batch["version"].to_pylist(), strict=True)


def _hashes(values: Iterable[object]) -> Int:
    return np.fromiter(map(hash, values), np.int64)


def _joined(parts: Iterable[Int]) -> Int:
    return np.concatenate([np.empty(0, np.int64), *parts])
