"""A catalogue that exists as numbers only: how long its shards are, and where poison lies in them.

A hundred million tracks are drawn and cut in blocks, by the rule of `embedlib.catalog.shards`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedlib.catalog.shards import N_ID_DIGITS, max_shard_tracks, usual_shard_s
from embedlib.records import Crash, PartResult

MEDIAN_TRACK_S, TRACK_SPREAD = 200.0, 0.6
"""Of the log-normal distribution of track lengths: four minutes in the mean, and one track of a
thousand beyond twenty. An assumption, not a measurement."""

MEAN_TRACK_S = MEDIAN_TRACK_S * math.exp(TRACK_SPREAD**2 / 2)

BLOCK_TRACKS = 1 << 20
"""Drawn at a time: 8 MiB."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SimulatedShards:
    """The shards of a catalogue, in the order in which they should start.

    Attributes
    ----------
    audio_s : np.ndarray [shape=(n_shards,), float64]
        Seconds of audio of each.
    n_tracks : np.ndarray [shape=(n_shards,), int64]
        Tracks of each.
    n_poison : np.ndarray [shape=(n_shards,), int64]
        Tracks of each that kill their decoder.
    """

    audio_s: Float64
    n_tracks: NDArray[np.int64]
    n_poison: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.audio_s)

    def ids(self) -> Iterator[str]:
        """Give the ids of the shards, as long as real ones.

        Yields
        ------
        shard_id : str
            In the order of the shards.
        """
        return (f"{number:0{N_ID_DIGITS}x}" for number in range(len(self)))

    def number(self, shard_id: str) -> int:
        """Find a shard by its id.

        Parameters
        ----------
        shard_id : str
            One of `ids`.

        Returns
        -------
        number : int
            Its position.
        """
        return int(shard_id, 16)

    def part(self, model: str, shard_id: str, attempt_id: str) -> PartResult:
        """Make what a worker would report of a part.

        Parameters
        ----------
        model, shard_id, attempt_id : str
            Which.

        Returns
        -------
        part : PartResult
            With all rows, and no bytes.
        """
        number = self.number(shard_id)
        name = f"part-{shard_id}-{attempt_id}.parquet"
        n_rows, audio_s = int(self.n_tracks[number]), float(self.audio_s[number])
        return PartResult(model, shard_id, name, n_rows, 0, 0, audio_s, ())

    def crashes(self, shard_id: str) -> tuple[Crash, ...]:
        """Give what a search for poison would find.

        Parameters
        ----------
        shard_id : str
            Where.

        Returns
        -------
        crashed : tuple of Crash
            One per track that kills its decoder.
        """
        n_poison = int(self.n_poison[self.number(shard_id)])
        return tuple(Crash(index, "drawn to kill its decoder") for index in range(n_poison))


def draw_shards(n_tracks: int, *, poison_share: float, rng: np.random.Generator) -> SimulatedShards:
    """Draw the lengths of tracks and cut them into shards.

    Parameters
    ----------
    n_tracks : int >= 0
        Of the catalogue.
    poison_share : float
        Part of the tracks that kill their decoder.
    rng : np.random.Generator
        Chance.

    Returns
    -------
    shards : SimulatedShards
        Long ones first, by chance among those of similar length.
    """
    parts = list(_cut_blocks(n_tracks, rng))
    audio_s = np.concatenate([audio_s for audio_s, _ in parts] or [np.empty(0)])
    sizes = np.concatenate([sizes for _, sizes in parts] or [np.empty(0, np.int64)])
    order = start_order(audio_s, rng=rng)
    n_poison = rng.binomial(sizes, poison_share).astype(np.int64)
    return SimulatedShards(audio_s[order], sizes[order], n_poison[order])


def start_order(audio_s: Float64, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Say in which order shards start: as in a run, the long ones first, in twofold classes.

    Parameters
    ----------
    audio_s : np.ndarray [shape=(n_shards,), float64]
        Seconds of audio of each.
    rng : np.random.Generator
        Chance, which decides within a class.

    Returns
    -------
    order : np.ndarray [shape=(n_shards,), int64]
        Positions.
    """
    return np.lexsort((rng.random(len(audio_s)), -np.frexp(audio_s)[1]))


def cut_points(audio_s: Float64, *, target_s: float, max_tracks: int) -> NDArray[np.int64]:
    """Say where tracks, in their order, are cut into shards.

    Parameters
    ----------
    audio_s : np.ndarray [shape=(n_tracks,), float64]
        Seconds of audio of each track.
    target_s : float
        Most seconds of audio of a shard of more than one track.
    max_tracks : int > 0
        Most tracks of a shard.

    Returns
    -------
    ends : np.ndarray [shape=(n_shards,), int64]
        Position after the last track of each shard.

    Examples
    --------
    >>> cut_points(np.array([5.0, 5.0, 11.0, 1.0, 1.0, 1.0]), target_s=10.0, max_tracks=2)
    array([2, 3, 5, 6])
    """
    until_s = np.concatenate([[0.0], np.cumsum(audio_s)])
    ends = []
    end = 0
    while end < len(audio_s):
        start, limit = end, min(end + max_tracks, len(audio_s))
        fits = np.searchsorted(until_s[start : limit + 1], until_s[start] + target_s, side="right")
        end = start + max(1, int(fits) - 1)
        ends.append(end)
    return np.array(ends, np.int64)


def _cut_blocks(
    n_tracks: int, rng: np.random.Generator
) -> Iterator[tuple[Float64, NDArray[np.int64]]]:
    """Give audio and size of the shards of each block; the last, open one goes on in the next."""
    total_s = n_tracks * MEAN_TRACK_S
    target_s, max_tracks = usual_shard_s(total_s), max_shard_tracks(n_tracks, total_s=total_s)
    rest = np.empty(0)
    for n_drawn in range(0, n_tracks, BLOCK_TRACKS):
        n_new = min(BLOCK_TRACKS, n_tracks - n_drawn)
        drawn = rng.lognormal(math.log(MEDIAN_TRACK_S), TRACK_SPREAD, n_new)
        audio_s = np.concatenate([rest, drawn])
        ends = cut_points(audio_s, target_s=target_s, max_tracks=max_tracks)
        is_last = n_drawn + n_new == n_tracks
        ends = ends if is_last else ends[:-1]
        starts = np.concatenate([[0], ends[:-1]])
        rest = audio_s[ends[-1] :]
        yield np.add.reduceat(audio_s[: ends[-1]], starts), ends - starts
