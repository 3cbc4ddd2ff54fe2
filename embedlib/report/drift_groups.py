"""Tracks whose embeddings are nearly the same, in groups, in each of two states.

Embeddings of both states are compared once. They are sorted by the coordinate of their directions
that varies most, and each is compared only with those so near in it that they can be near at all.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embedlib.probes.records import Int
from embedlib.records import Float32
from embedlib.report.drift_records import Groups
from embedlib.report.drift_rows import Block, Bool
from embedlib.tasks.duplicates import NEAR, near_pairs

MATRIX_BYTES: Final = 128 * 2**20
"""Of embeddings that are held; of more, as many tracks as fit are drawn by their ids."""

MAX_GROUPS: Final = 20
"""Groups that are named."""

MAX_IDS: Final = 8
"""Tracks of a group that are named."""

_STEP: Final = 1024
_REACH: Final = float(np.sqrt(2 * (1 - NEAR) + 1e-5))
"""Two directions of cosine c are apart by the root of 2 - 2 c, and no farther in a coordinate; what
is added is more than the rounding of a cosine in float32."""


class GroupFinder:
    """Takes embeddings block by block and gives the groups of near ones.

    Parameters
    ----------
    n_tracks : int >= 0
        Embeddings that will come.
    n_dims : int > 0
        Length of each.
    """

    def __init__(self, *, n_tracks: int, n_dims: int) -> None:
        self._n_tracks = n_tracks
        self._share = MATRIX_BYTES / max(1, n_tracks * n_dims * 4)
        self._track_ids: list[str] = []
        self._directions: list[Float32] = [np.empty((0, n_dims), np.float32)]
        self._sides: list[Bool] = [np.empty((2, 0), np.bool_)]

    def add(self, block: Block) -> None:
        """Take some embeddings.

        Parameters
        ----------
        block : Block
            None of them has come before.
        """
        lengths = np.linalg.norm(block.x.astype(np.float64), axis=1)
        is_drawn = np.array([_drawn(name, self._share) for name in block.track_ids], np.bool_)
        chosen = np.flatnonzero(is_drawn & np.isfinite(lengths) & (lengths > 0))
        self._track_ids += [block.track_ids[row] for row in chosen]
        scaled = block.x[chosen] / lengths[chosen, np.newaxis]
        self._directions.append(scaled.astype(np.float32))
        self._sides.append(np.stack((block.is_first, block.is_second))[:, chosen])

    def groups(self) -> Groups:
        """Give the groups, when all embeddings have come.

        Returns
        -------
        groups : Groups
            Two tracks are in one group where a chain of near pairs joins them.
        """
        sides = np.concatenate(self._sides, axis=1)
        first, second = (
            self._named(labels, is_here)
            for labels, is_here in zip(
                _labels(np.concatenate(self._directions), sides), sides, strict=True
            )
        )
        new = sorted(second - first, key=lambda group: (-len(group), sorted(group)))
        return Groups(
            n_groups_first=len(first),
            n_groups_second=len(second),
            n_tracks_first=sum(map(len, first)),
            n_tracks_second=sum(map(len, second)),
            n_new=len(new),
            new=tuple(tuple(sorted(group)[:MAX_IDS]) for group in new[:MAX_GROUPS]),
            new_sizes=tuple(len(group) for group in new[:MAX_GROUPS]),
            n_compared=len(self._track_ids),
            n_tracks=self._n_tracks,
        )

    def _named(self, labels: Int, is_here: Bool) -> set[frozenset[str]]:
        """Name the tracks of each group of at least two that lie in a state."""
        rows = np.flatnonzero(is_here)
        rows = rows[np.argsort(labels[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(labels[rows], prepend=-1))
        members = np.split(rows, starts[1:]) if rows.size else []
        groups = (frozenset(self._track_ids[row] for row in group) for group in members)
        return {group for group in groups if len(group) > 1}


def _drawn(track_id: str, share: float) -> bool:
    """Draw tracks by their ids, so that two states, and two reports, look at the same ones."""
    return zlib.crc32(track_id.encode(errors="surrogatepass")) < share * 2**32


def _labels(directions: Float32, sides: Bool) -> list[Int]:
    """Give for each state a number per row, the same for rows of one group."""
    # What is equal bit by bit, such as silence, is compared once: of ten thousand that are alike,
    # fifty million pairs would come.
    _, one_of, alike = np.unique(
        np.fromiter(map(hash, map(bytes, directions)), np.int64),
        return_index=True,
        return_inverse=True,
    )
    is_here = np.zeros((2, len(one_of)), np.bool_)
    for side in (0, 1):
        np.logical_or.at(is_here[side], alike, sides[side])
    labels = [np.arange(len(one_of)) for _ in sides]
    for i, j in _near(directions[one_of]):
        for side, numbers in enumerate(labels):
            counts = is_here[side, i] & is_here[side, j]
            if counts.any():
                labels[side] = _merged(numbers, i[counts], j[counts])
    return [numbers[alike] for numbers in labels]


def _near(directions: Float32) -> Iterator[tuple[Int, Int]]:
    """Give the pairs of rows that are near, each pair once."""
    if not len(directions):
        return
    axis = int(np.argmax(directions.std(axis=0)))
    order = np.argsort(directions[:, axis], kind="stable")
    y = directions[order]
    ends = np.searchsorted(y[:, axis], y[:, axis] + np.float32(_REACH), side="right")
    for start in range(0, len(y), _STEP):
        stop = min(start + _STEP, len(y))
        for i, j, _ in near_pairs(y[start:stop], y[start : ends[stop - 1]], near=NEAR):
            is_once = i < j
            yield order[start + i[is_once]], order[start + j[is_once]]


def _merged(labels: Int, i: Int, j: Int) -> Int:
    """Give rows one number that are joined by pairs, or were before."""
    shape = (len(labels), len(labels))
    joined = coo_array((np.ones(len(i), np.bool_), (labels[i], labels[j])), shape=shape)
    _, components = connected_components(joined, directed=False)
    found: Int = components.astype(np.int64)[labels]
    return found
