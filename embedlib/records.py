"""The frozen records that travel between the stages.

Times carry their unit in the name; ``n_samples`` counts samples per channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


class Status(StrEnum):
    """How one track ended, in the table of one model."""

    OK = "ok"
    DAMAGED = "damaged"
    TRUNCATED = "truncated"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    EMPTY = "empty"
    UNDECODABLE = "undecodable"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    NONFINITE = "nonfinite"
    DUPLICATE_ID = "duplicate_id"


class Signal(NamedTuple):
    """What a front end listens to; a track is resampled once for each that a run needs.

    Attributes
    ----------
    sr_hz : int
        Sampling rate.
    n_channels : int
        1: blocks are mono, ``(n_samples,)``. 2: they are stereo, ``(2, n_samples)``.
    """

    sr_hz: int
    n_channels: int = 1


KEPT = frozenset({Status.OK, Status.DAMAGED, Status.TRUNCATED})
"""Statuses of rows that carry an embedding."""


@dataclass(frozen=True, slots=True)
class Track:
    """One recording, or one clip of it, as the source holds it.

    Attributes
    ----------
    track_id : str
        Unique in a catalogue.
    uri : str
        Absolute local path, or an fsspec URL.
    size : int
        Bytes of the file; -1 where the source does not say.
    version : str
        Changes when the file does: ``mtime_ns`` of local files, the etag of objects.
    start_s, end_s : float or None
        The stretch to embed; None means from the start, to the end.
    shard_id : str
        Assigned once, when the track is first planned; empty before.
    carried : tuple of (str, str)
        Columns of a manifest that the user wants to keep, as text.
    """

    track_id: str
    uri: str
    size: int
    version: str
    start_s: float | None = None
    end_s: float | None = None
    shard_id: str = ""
    carried: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Shard:
    """A set of tracks that is decoded together and committed together.

    Attributes
    ----------
    shard_id : str
        Derived from the tracks in it.
    tracks : tuple of Track
        In the order of their ids.
    audio_s : float
        Estimated seconds of audio, from sizes and formats.
    """

    shard_id: str
    tracks: tuple[Track, ...]
    audio_s: float


@dataclass(frozen=True, slots=True)
class DecodedTrack:
    """What the decoder learned about one track, known when its last frame is out.

    Attributes
    ----------
    index : int
        Position of the track in its shard.
    status : Status
        ``ok``, ``damaged`` and ``truncated`` keep their audio; anything else voids it.
    error : str
        Why, for people; empty when there is nothing to say.
    duration_s : float
        Decoded seconds: ``n_samples / sr_hz``.
    sr_hz, n_channels, n_samples : int
        Of the audio as decoded, before mixing and resampling; zero when nothing was decoded.
    n_bad_packets : int
        Packets that did not decode and were left out.
    size : int
        Bytes that were read; -1 when the file could not be opened.
    content_hash : str
        ``sha256:<hex>`` of the bytes that were read; empty when they could not be.
    """

    index: int
    status: Status
    error: str = ""
    duration_s: float = 0.0
    sr_hz: int = 0
    n_channels: int = 0
    n_samples: int = 0
    n_bad_packets: int = 0
    size: int = -1
    content_hash: str = ""


@dataclass(frozen=True, slots=True)
class Crash:
    """A track that ends the process that decodes it, and is not decoded again.

    Attributes
    ----------
    index : int
        Position of the track in its shard.
    reason : str
        How the process ended: the signal, and its last words.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows of a chunk that belong to one track.

    Attributes
    ----------
    index : int
        Position of the track in its shard.
    n_frames : int
        Number of rows.
    """

    index: int
    n_frames: int


@dataclass(frozen=True, slots=True)
class FeatureChunk:
    """A bounded stretch of the output of one front end over one shard.

    Attributes
    ----------
    front_end : str
        Name of the front end that made the frames.
    frames : np.ndarray [shape=(n_frames, n_bands), float32]
        Frames of one or more tracks, one after the other; samples where the front end passes the
        waveform on.
    segments : tuple of Segment
        Whose rows these are, in order; their lengths add up to ``n_frames``.
    ended : tuple of DecodedTrack
        Tracks of which no more frames will come.
    """

    front_end: str
    frames: Float32
    segments: tuple[Segment, ...]
    ended: tuple[DecodedTrack, ...]


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One row of a model table.

    Attributes
    ----------
    track : Track
        What was planned.
    decoded : DecodedTrack
        What was found; `status` and `error` of the row are in it.
    padded : bool
        Whether the audio was shorter than one patch and was tiled or padded to one.
    patch_t0_ms : np.ndarray [shape=(n_patches,), int32]
        Start of each patch.
    patch_embeddings : np.ndarray [shape=(n_patches * n_vectors, n_dims), float32] or None
        All vectors of a patch, one after the other; None when the track failed.
    columns : tuple of np.ndarray [shape=(n_patches, n_values), float32]
        Further outputs of the model, in the order of the manifest's columns; empty when the track
        failed.
    """

    track: Track
    decoded: DecodedTrack
    padded: bool = False
    patch_t0_ms: Int32 | None = None
    patch_embeddings: Float32 | None = None
    columns: tuple[Float32, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodeStats:
    """What decoding a shard took, counted where it is done.

    Attributes
    ----------
    n_decodes : int
        Tracks that were decoded, whole or up to their fault.
    n_resamplings : int
        Changes of the sampling rate: at most one per track and distinct signal.
    passes : tuple of (str, int, int)
        Per front end its name, the tracks it ran over, and how many of them had to be resampled
        for it.
    decode_s : float
        Seconds that the worker spent on it; not compared.
    """

    n_decodes: int = 0
    n_resamplings: int = 0
    passes: tuple[tuple[str, int, int], ...] = ()
    decode_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class TrackNote:
    """A row that has another status than ``ok``.

    Attributes
    ----------
    track_id : str
        Which.
    status, error : str
        How it ended, and why.
    """

    track_id: str
    status: str
    error: str


@dataclass(frozen=True, slots=True)
class PartResult:
    """A part file that a worker wrote: the rows of one model for one shard, not yet committed.

    Attributes
    ----------
    model : str
        Name of the model table.
    shard_id : str
        The shard whose tracks are the rows.
    file_name : str
        Name inside the model's folder: ``part-<shard_id>-<attempt_id>.parquet``.
    n_rows, n_bytes : int
        Of the file.
    n_patches : int
        Patches over all rows.
    audio_s : float
        Seconds of audio that were decoded.
    statuses : tuple of (str, int)
        How many tracks ended with each status.
    stage_s : tuple of (str, float)
        Seconds that the worker spent per stage (``embed``, ``write`` ...).
    notes : tuple of TrackNote
        Rows that have another status than ``ok``.
    """

    model: str
    shard_id: str
    file_name: str
    n_rows: int
    n_bytes: int
    n_patches: int
    audio_s: float
    statuses: tuple[tuple[str, int], ...]
    stage_s: tuple[tuple[str, float], ...] = ()
    notes: tuple[TrackNote, ...] = ()
