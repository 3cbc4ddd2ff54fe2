"""Cut a catalogue into shards: what is decoded together and committed together.

Which shard a track belongs to depends on the tracks alone, not on the order in which they were
listed, on counters or on workers, so that two drivers that list the same source agree.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from embedlib.catalog.formats import BYTES_PER_S, UNKNOWN_BYTES_PER_S, extension
from embedlib.catalog.uris import stored, without_query
from embedlib.errors import ConfigError
from embedlib.records import Shard, Track

N_SHARDS_AIM = 2_000
"""A commit per shard costs tens of milliseconds and a lost worker at most one shard of work."""

MIN_SHARD_S, MAX_SHARD_S = 900.0, 14_400.0
"""Seconds of audio: a quarter of an hour pays for a commit, four hours bound what is lost."""

MIN_SHARDS = 32
"""Where there are as many minutes and tracks, so that a small catalogue keeps every core busy."""

LEAST_SHARD_S = 60.0
"""Seconds of audio below which no catalogue is cut finer: a part costs 8 ms, and a minute of audio
150 ms of the fastest model; and batches fill up with patches of several short files."""

UNKNOWN_AUDIO_S = 240.0
"""A song of four minutes, for files whose size the source does not say."""

N_ID_DIGITS = 16
"""Hexadecimal digits of an id: with 64 bits, two of a million shards are the same once in 4e7."""


@dataclass(frozen=True, slots=True)
class ShardSize:
    """How much a shard holds.

    Attributes
    ----------
    n_tracks : int
        Tracks.
    audio_s : float
        Estimated seconds of audio.
    """

    n_tracks: int
    audio_s: float


def estimate_audio_s(track: Track) -> float:
    """Estimate how much audio a track holds, without opening it.

    Parameters
    ----------
    track : Track
        Its stretch, size and extension are read.

    Returns
    -------
    audio_s : float
        Seconds: what the stretch says where it has both ends, else the size over the bytes per
        second that are usual for the format.

    Examples
    --------
    >>> estimate_audio_s(Track("a", "/a.wav", 1_764_000, ""))
    10.0
    >>> estimate_audio_s(Track("a", "/a.mp3", -1, "", start_s=10.0, end_s=12.5))
    2.5
    """
    start_s = track.start_s or 0.0
    end_s = _file_s(track) if track.end_s is None else track.end_s
    return max(0.0, end_s - start_s)


def assign_shards(tracks: Iterable[Track], *, shard_hours: float | None = None) -> list[Track]:
    """Give each track the id of the shard it belongs to.

    Parameters
    ----------
    tracks : iterable of Track
        In any order, with distinct ids.
    shard_hours : float, optional
        Hours of audio per shard; by default the 2,000th part of the whole, but between a quarter
        of an hour and four hours.

    Returns
    -------
    tracks : list of Track
        In the order of their ids, with `shard_id`. No shard holds more audio than wanted, unless it
        is a single track, and there are at least 32 shards where there are as many tracks, each of
        a minute or more in the mean; where hours are given, however short these are.

    Raises
    ------
    ConfigError
        If `shard_hours` is not positive.
    """
    ordered = sorted(tracks, key=lambda track: track.track_id)
    limits = shard_limits(
        len(ordered), total_s=math.fsum(map(estimate_audio_s, ordered)), shard_hours=shard_hours
    )
    shards = cut_shards(ordered, limits=limits)
    return [replace(track, shard_id=shard_id) for shard_id, shard in shards for track in shard]


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """What a shard holds at most, unless it is a single track.

    Attributes
    ----------
    audio_s : float
        Seconds of audio.
    n_tracks : int
        Tracks.
    """

    audio_s: float
    n_tracks: int


def shard_limits(n_tracks: int, *, total_s: float, shard_hours: float | None = None) -> ShardLimits:
    """Say how large the shards of a catalogue are to be.

    Parameters
    ----------
    n_tracks : int >= 0
        Tracks to be cut.
    total_s : float
        Seconds of audio in them.
    shard_hours : float, optional
        Hours of audio per shard, where the user says so.

    Returns
    -------
    limits : ShardLimits
        For `cut_shards`.

    Raises
    ------
    ConfigError
        If `shard_hours` is not positive.
    """
    if shard_hours is None:
        return ShardLimits(usual_shard_s(total_s), max_shard_tracks(n_tracks, total_s=total_s))
    if not 0.0 < shard_hours < math.inf:
        raise ConfigError(
            f"shard_hours={shard_hours} is no amount of audio", fix="give hours above 0, or none"
        )
    return ShardLimits(3_600.0 * shard_hours, max(1, n_tracks // MIN_SHARDS))


def cut_shards(
    tracks: Iterable[Track], *, limits: ShardLimits
) -> Iterator[tuple[str, list[Track]]]:
    """Cut a stream of tracks into shards.

    Parameters
    ----------
    tracks : iterable of Track
        In the order of their ids, which are distinct.
    limits : ShardLimits
        How large a shard may be.

    Yields
    ------
    shard_id : str
        Derived from the tracks.
    shard : list of Track
        The next ones, as they came.
    """
    shard: list[Track] = []
    shard_s = 0.0
    for track in tracks:
        audio_s = estimate_audio_s(track)
        if shard and (len(shard) == limits.n_tracks or shard_s + audio_s > limits.audio_s):
            yield shard_id_of(shard), shard
            shard, shard_s = [], 0.0
        shard.append(track)
        shard_s += audio_s
    if shard:
        yield shard_id_of(shard), shard


def usual_shard_s(total_s: float) -> float:
    """Say how much audio a shard holds at most, where the user does not.

    Parameters
    ----------
    total_s : float
        Seconds of audio of the whole catalogue.

    Returns
    -------
    shard_s : float
        Seconds of audio.

    Examples
    --------
    >>> usual_shard_s(3_600.0), usual_shard_s(7_200_000.0), usual_shard_s(1e12)
    (900.0, 3600.0, 14400.0)
    """
    return min(MAX_SHARD_S, max(MIN_SHARD_S, total_s / N_SHARDS_AIM))


def max_shard_tracks(n_tracks: int, *, total_s: float) -> int:
    """Say how many tracks a shard holds at most.

    Parameters
    ----------
    n_tracks : int >= 0
        Of the whole catalogue.
    total_s : float
        Seconds of audio of the whole catalogue.

    Returns
    -------
    max_tracks : int
        So few that a small catalogue keeps every core busy, but as many as make a minute.

    Examples
    --------
    >>> max_shard_tracks(640, total_s=153_600.0), max_shard_tracks(63, total_s=630.0)
    (20, 6)
    """
    n_in_a_minute = int(n_tracks * LEAST_SHARD_S / total_s) if total_s else n_tracks
    return max(1, n_tracks // MIN_SHARDS, n_in_a_minute)


def group_shards(tracks: Iterable[Track]) -> list[Shard]:
    """Collect the tracks of each shard.

    Parameters
    ----------
    tracks : iterable of Track
        With `shard_id`, in any order.

    Returns
    -------
    shards : list of Shard
        In the order of their first track, each with its tracks in the order of their ids.
    """
    members: dict[str, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: track.track_id):
        members.setdefault(track.shard_id, []).append(track)
    return [
        Shard(shard_id, tuple(shard), math.fsum(map(estimate_audio_s, shard)))
        for shard_id, shard in members.items()
    ]


def shard_id_of(tracks: Sequence[Track]) -> str:
    """Derive the id of a shard from what is embedded, not from where it lies: that may be moved.

    Parameters
    ----------
    tracks : sequence of Track
        All of the shard, in the order of their ids.

    Returns
    -------
    shard_id : str
        Another one where a track, its version or its stretch is another, or one is left out.

    Examples
    --------
    >>> shard_id_of([Track("a", "/x/a", 1, "17")]) == shard_id_of([Track("a", "/y/a", 1, "17")])
    True
    """
    return _digits(
        [(track.track_id, track.version, track.start_s, track.end_s) for track in tracks]
    )


def placed_shard_id(tracks: Sequence[Track]) -> str:
    """Derive the id of a shard from what is embedded and from where it lies.

    A track that has changed while its version has not, in its size or its place, is planned anew;
    that shows in its shard alone.

    Parameters
    ----------
    tracks : sequence of Track
        All of the shard, in the order of their ids.

    Returns
    -------
    shard_id : str
        Another one where anything of `shard_id_of`, a size or a place is another.

    Examples
    --------
    >>> one, other = Track("a", "/x/a", 1, "17"), Track("a", "/y/a", 1, "17")
    >>> placed_shard_id([one]) == placed_shard_id([other])
    False
    """
    return _digits(
        [
            (
                track.track_id,
                track.version,
                track.start_s,
                track.end_s,
                track.size,
                stored(track.uri),
            )
            for track in tracks
        ]
    )


def _digits(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:N_ID_DIGITS]


def _file_s(track: Track) -> float:
    if track.size < 0:
        return UNKNOWN_AUDIO_S
    ending = extension(without_query(track.uri))
    return track.size / BYTES_PER_S.get(ending, UNKNOWN_BYTES_PER_S)
