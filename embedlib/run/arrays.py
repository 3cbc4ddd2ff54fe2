"""Samples that lie in memory, to the chunks of frames that the decoder would have given."""

from __future__ import annotations

import numpy as np

from embedlib.audio.samples import check_samples
from embedlib.audio.signals import SignalMixer
from embedlib.errors import ConfigError, EmptyAudioError
from embedlib.features.front_end import FrontEnd
from embedlib.records import DecodedTrack, FeatureChunk, Float32, Segment, Status

MAX_CHANNELS = 64
"""More than this along the first axis means that the axes are the wrong way round."""


def array_chunk(
    samples: Float32, *, sr_hz: int | None, index: int, front_end: FrontEnd, resampler: str
) -> FeatureChunk:
    """Give all frames of an array, and the end of its track.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,) or (n_channels, n_samples), float]
        In [-1, 1].
    sr_hz : int > 0 or None
        Rate of the samples.
    index : int
        Position of the track in its shard.
    front_end : FrontEnd
        Who makes the frames.
    resampler : str
        One of `embedlib.audio.resample.NAMES`.

    Returns
    -------
    chunk : FeatureChunk
        The whole track.

    Raises
    ------
    ConfigError
        If the rate is missing or the array is no audio.
    EmptyAudioError
        If the array holds no sample.
    NonfiniteError
        If a sample is NaN, infinite or beyond all reason.

    Examples
    --------
    >>> from embedlib.features.front_end import front_end
    >>> chunk = array_chunk(
    ...     np.zeros(44_100, np.float32),
    ...     sr_hz=44_100,
    ...     index=0,
    ...     front_end=front_end("musicnn-mel"),
    ...     resampler="soxr-hq",
    ... )
    >>> chunk.frames.shape
    (64, 96)
    """
    block = _block(samples)
    if sr_hz is None or sr_hz < 1:
        raise ConfigError(f"sr={sr_hz} is given with samples", fix="say their rate in Hz: sr=44100")
    n_channels, n_samples = block.shape
    signal, stream = front_end.signal, front_end.stream()
    mixer = SignalMixer([signal], sr_hz=sr_hz, n_channels=n_channels, resampler=resampler)
    pieces = [mixer.push(block)[signal], mixer.flush()[signal]]
    frames = np.concatenate([*map(stream.push, pieces), stream.flush()])
    segments = (Segment(index, len(frames)),) if len(frames) else ()
    ended = DecodedTrack(
        index,
        Status.OK,
        "",
        n_samples / sr_hz,
        sr_hz=sr_hz,
        n_channels=n_channels,
        n_samples=n_samples,
    )
    return FeatureChunk(front_end.name, frames, segments, (ended,))


def _block(samples: Float32) -> Float32:
    """Give the samples as float32 (n_channels, n_samples), or refuse them."""
    if not np.issubdtype(samples.dtype, np.floating):
        raise ConfigError(
            f"samples of type {samples.dtype} do not lie in [-1, 1]",
            fix="divide them by their full scale, which is 32768 for int16",
        )
    block = np.atleast_2d(samples).astype(np.float32, copy=False)
    if block.ndim != 2 or len(block) > MAX_CHANNELS:
        raise ConfigError(
            f"samples of shape {samples.shape} are no audio",
            fix="give (n_samples,) or (n_channels, n_samples)",
        )
    if not block.size:
        raise EmptyAudioError("the array holds no sample")
    check_samples(block)
    return block
