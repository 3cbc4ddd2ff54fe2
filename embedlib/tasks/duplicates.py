"""The same recording twice: by the hash of its content, and by the nearest embedding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from embedlib.errors import ConfigError
from embedlib.records import Float32

Int = NDArray[np.int64]

NEAR: Final = 0.9999
"""Cosine of two embeddings from which on they count as those of one recording."""

BLOCK_BYTES: Final = 32 * 2**20
"""Of similarities that are held at a time."""

MAX_PAIRS: Final = 100_000
"""Pairs that are kept; more are counted only."""

Means = Literal["content", "embedding"]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two tracks that are one recording, or look like it.

    Attributes
    ----------
    first, second : str
        Ids; `second` is of the external set where `is_external`.
    is_external : bool
        Whether they lie in different sets, or in different groups of one.
    found_by : {'content', 'embedding'}
        Equal bytes, or embeddings that are near.
    cosine : float
        Of their embeddings; 1 where they have the same content.
    """

    first: str
    second: str
    is_external: bool
    found_by: Means
    cosine: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """What duplicates are looked for among.

    Attributes
    ----------
    ids : tuple of str
        Of the tracks.
    units : np.ndarray [shape=(n_tracks,), int64]
        Groups: tracks of one group may well be alike.
    hashes : tuple of str
        Of their content; empty where not known.
    x : np.ndarray [shape=(n_tracks, n_dims), float32]
        Embeddings; a row of zeros is near to nothing.
    """

    ids: tuple[str, ...]
    units: Int
    hashes: tuple[str, ...]
    x: Float32


def duplicates(
    tracks: Tracks, external: Tracks | None = None, *, near: float = NEAR
) -> tuple[tuple[Duplicate, ...], int]:
    """Find tracks that are in the set twice in different groups, or in the external set too.

    Parameters
    ----------
    tracks : Tracks
        Of the set.
    external : Tracks, optional
        Of another set, by the same model.
    near : float > 0, < 1, optional
        Cosine of embeddings from which on they count as the same.

    Returns
    -------
    pairs : tuple of Duplicate
        Those with the external set first; equal content, each with the first track that has it,
        before near embeddings. At most `MAX_PAIRS`.
    n_pairs : int
        All of them.

    Raises
    ------
    ConfigError
        If `near` is out of range, or the two sets have embeddings of different lengths.

    Examples
    --------
    >>> x = np.eye(3, 4, dtype=np.float32)
    >>> song = Tracks(("a", "b", "c"), np.arange(3), ("h1", "h2", "h1"), x)
    >>> pairs, _ = duplicates(song)
    >>> [(pair.first, pair.second, pair.found_by) for pair in pairs]
    [('a', 'c', 'content')]
    """
    if not 0 < near < 1:
        raise ConfigError(f"near={near} is no cosine of near embeddings", fix="give 0 < near < 1")
    if external is not None and external.x.shape[1] != tracks.x.shape[1]:
        raise ConfigError(
            f"embeddings of {tracks.x.shape[1]} and of {external.x.shape[1]} values cannot be near",
            fix="name a model that both outputs have",
        )
    kept: list[Duplicate] = []
    n_pairs = 0
    for pairs in _batches(tracks, external, near):
        n_pairs += len(pairs.first)
        kept += pairs.records(MAX_PAIRS - len(kept))
    return tuple(kept), n_pairs


def duplicate_lines(pairs: Sequence[Duplicate], n_pairs: int, *, has_groups: bool) -> Iterator[str]:
    """Say how many recordings are there twice, which makes scores too high.

    Parameters
    ----------
    pairs : sequence of Duplicate
        As `duplicates` gives them.
    n_pairs : int
        All of them.
    has_groups : bool
        Whether the set has groups, so that pairs within one are left out.

    Yields
    ------
    line : str
        For the external set, and for the set itself, where there are any.

    Examples
    --------
    >>> twice = Duplicate("a", "b", False, "content", 1.0)
    >>> list(duplicate_lines([twice], 1, has_groups=False))
    ['recordings that are there twice, and may be in two folds: 1']
    """
    n_external = sum(pair.is_external for pair in pairs)
    if n_external:
        yield f"recordings that are both in the training and in the external set: {n_external}"
    if n_internal := n_pairs - n_external:
        apart = "in different groups" if has_groups else "and may be in two folds"
        yield f"recordings that are there twice, {apart}: {n_internal}"


def near_pairs(
    x: Float32, y: Float32, *, near: float, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[Int, Int, Float32]]:
    """Find rows of two matrices that point the same way.

    Parameters
    ----------
    x : np.ndarray [shape=(n_rows, n_dims), float32]
        Vectors of any length.
    y : np.ndarray [shape=(n_others, n_dims), float32]
        Those that they are compared with.
    near : float > 0
        Least cosine.
    block_bytes : int > 0, optional
        Of similarities that are held at a time.

    Yields
    ------
    pairs : tuple of np.ndarray [shape=(n_pairs,)]
        Rows of `x`, rows of `y`, and the cosines between them, in the order of the rows. Rows of
        zeros, and rows with values that are not finite, are in no pair.

    Examples
    --------
    >>> x = np.array([[2, 0], [0, 1]], dtype=np.float32)
    >>> [(i.tolist(), j.tolist()) for i, j, _ in near_pairs(x, x[:1], near=0.5)]
    [([0], [0])]
    """
    x, y = _directions(x), _directions(y)
    n_rows = max(1, block_bytes // max(1, y.itemsize * len(y)))
    for start in range(0, len(x), n_rows):
        cosines = x[start : start + n_rows] @ y.T
        i, j = np.nonzero(cosines >= near)
        yield start + i, j, np.minimum(cosines[i, j], np.float32(1))


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Some duplicates as indices, `second` into the external set where there is one."""

    tracks: Tracks
    other: Tracks
    first: Int
    second: Int
    cosines: Float32
    found_by: Means

    def records(self, limit: int) -> list[Duplicate]:
        is_external = self.other is not self.tracks
        rows = zip(self.first[:limit], self.second[:limit], self.cosines[:limit], strict=True)
        return [
            Duplicate(self.tracks.ids[i], self.other.ids[j], is_external, self.found_by, float(cos))
            for i, j, cos in rows
        ]


def _batches(tracks: Tracks, external: Tracks | None, near: float) -> Iterator[_Pairs]:
    for other in (tracks,) if external is None else (external, tracks):
        yield _equal_content(tracks, other)
        yield from _near_embeddings(tracks, other, near)


def _equal_content(tracks: Tracks, other: Tracks) -> _Pairs:
    """Pair each track with the first that has its content: so many equal ones are few pairs."""
    first_with: dict[str, int] = {}
    for index, content in enumerate(tracks.hashes):
        first_with.setdefault(content, index)
    second = np.array(
        [j for j, content in enumerate(other.hashes) if content and content in first_with],
        dtype=np.int64,
    )
    first = np.array([first_with[other.hashes[j]] for j in second], dtype=np.int64)
    counts = _is_apart(tracks, other, first, second)
    first, second = first[counts], second[counts]
    return _Pairs(tracks, other, first, second, np.ones(len(first), np.float32), "content")


def _near_embeddings(tracks: Tracks, other: Tracks, near: float) -> Iterator[_Pairs]:
    one, two = np.array(tracks.hashes, dtype=str), np.array(other.hashes, dtype=str)
    for i, j, cosines in near_pairs(tracks.x, other.x, near=near):
        is_new = (one[i] != two[j]) | (one[i] == "")
        counts = is_new & _is_apart(tracks, other, i, j)
        yield _Pairs(tracks, other, i[counts], j[counts], cosines[counts], "embedding")


def _is_apart(tracks: Tracks, other: Tracks, first: Int, second: Int) -> NDArray[np.bool_]:
    """Tell which pairs count: all with another set; within one, each once and not in a group."""
    if other is not tracks:
        return np.ones(len(first), dtype=np.bool_)
    is_apart: NDArray[np.bool_] = (first < second) & (tracks.units[first] != tracks.units[second])
    return is_apart


def _directions(x: Float32) -> Float32:
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))
    is_sound = np.isfinite(lengths) & (lengths > 0)
    lengths[~is_sound] = 1.0
    unit: Float32 = (x / lengths[:, np.newaxis]).astype(np.float32)
    unit[~is_sound] = 0.0
    return unit
