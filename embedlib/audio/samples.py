"""Arithmetic on blocks of samples: decoder formats to float32, channels to mono, cuts at a rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedlib.errors import NonfiniteError
from embedlib.records import Float32

UNSIGNED_8_BIT_ZERO = 128
"""Silence in unsigned 8 bit samples, the only unsigned format that FFmpeg decodes to."""

MAX_SAMPLE = 2.0**40
"""No sound is louder: integers of 32 bits that were stored as they are reach 2**31. Sums over bands
of the squares of a spectrum of 4,096 samples stay finite in float32 up to here. Further up they do
not, and a network may pass NaN off as numbers, for its ``max(x, 0)`` can be 0."""


def to_float32(samples: NDArray[Any]) -> Float32:
    """Scale samples as the decoder gives them to float32 in [-1, 1).

    Scaling is by a power of two, hence exact; only 32 bit integers with more than 24 significant
    bits, and float64, are rounded. Float samples keep their values, beyond 1 too.

    Parameters
    ----------
    samples : np.ndarray [uint8, int16, int32, int64, float32 or float64]
        Of any shape.

    Returns
    -------
    y : np.ndarray [same shape, float32]
        The scaled samples; a new, contiguous array unless it is one of float32 already.

    Examples
    --------
    >>> to_float32(np.array([-32768, 0, 16384], dtype=np.int16))
    array([-1. ,  0. ,  0.5], dtype=float32)
    >>> to_float32(np.array([0, 128, 192], dtype=np.uint8))
    array([-1. ,  0. ,  0.5], dtype=float32)
    """
    if samples.dtype.kind == "f":
        # Infinity, or NaN of the signalling kind: the decoder refuses both.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(samples, dtype=np.float32)
    y = np.array(samples, dtype=np.float32, order="C")
    if samples.dtype.kind == "u":
        y -= UNSIGNED_8_BIT_ZERO
    y *= np.float32(0.5 ** (8 * samples.dtype.itemsize - 1))
    return y


def check_samples(y: Float32) -> None:
    """Refuse samples of which no front end makes anything.

    Parameters
    ----------
    y : np.ndarray [any shape with elements, float32]
        Samples that came as floats.

    Raises
    ------
    NonfiniteError
        If one is NaN, infinite or beyond `MAX_SAMPLE`.

    Examples
    --------
    >>> check_samples(np.array([0.5, 3e38], dtype=np.float32))
    Traceback (most recent call last):
        ...
    embedlib.errors.NonfiniteError: samples are NaN or infinite, or above 1e+12; ...
    """
    if not (y.max() <= MAX_SAMPLE and y.min() >= -MAX_SAMPLE):  # NaN is neither
        raise NonfiniteError(
            f"samples are NaN or infinite, or above {MAX_SAMPLE:.0e}",
            fix="leave them out, or scale them to [-1, 1]",
        )


def to_mono(block: Float32) -> Float32:
    """Mix the channels of a block by their mean.

    Parameters
    ----------
    block : np.ndarray [shape=(n_channels, n_samples), float32]
        At least one channel.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,), float32]
        The mean; a view of a block that has one channel.

    Examples
    --------
    >>> to_mono(np.array([[1.0, 0.0], [0.0, 0.5]], dtype=np.float32))
    array([0.5 , 0.25], dtype=float32)
    """
    if len(block) == 1:
        return np.asarray(block[0])
    if len(block) == 2:  # a third of the time of a mean over the axis, same numbers
        return np.asarray((block[0] + block[1]) * np.float32(0.5))
    return np.asarray(block.mean(axis=0, dtype=np.float32))


def sample_bounds(
    start_s: float | None, end_s: float | None, *, sr_hz: int
) -> tuple[int, int | None]:
    """Turn the times of a clip into samples, to the nearest.

    Parameters
    ----------
    start_s, end_s : float or None
        The clip; None means from the start, to the end.
    sr_hz : int
        Samples per second.

    Returns
    -------
    first : int
        First sample of the clip.
    end : int or None
        The sample after its last one; None without an end.

    Examples
    --------
    >>> sample_bounds(0.5, None, sr_hz=16_000)
    (8000, None)
    """
    first = 0 if start_s is None else round(start_s * sr_hz)
    return first, None if end_s is None else round(end_s * sr_hz)


def clip_length(n_samples: int, start_s: float | None, end_s: float | None, *, sr_hz: int) -> int:
    """Count the samples of a clip that lie within a signal.

    Parameters
    ----------
    n_samples : int
        Length of the signal.
    start_s, end_s : float or None
        The clip.
    sr_hz : int
        Samples per second.

    Returns
    -------
    n_samples : int
        Length of the clip, zero when it begins after the end.

    Examples
    --------
    >>> clip_length(10, 0.5, 2.0, sr_hz=10)
    5
    """
    first, end = sample_bounds(start_s, end_s, sr_hz=sr_hz)
    return max(min(n_samples, n_samples if end is None else end) - first, 0)


class ClipCutter:
    """Cut a stream of blocks to a clip.

    Parameters
    ----------
    start_s, end_s : float or None
        The clip.
    sr_hz : int
        Samples per second.

    Attributes
    ----------
    n_samples : int
        Samples of the clip that have come by.

    Examples
    --------
    >>> cutter = ClipCutter(0.5, 1.25, sr_hz=4)
    >>> cutter.cut(np.arange(4.0, dtype=np.float32)[np.newaxis])
    array([[2., 3.]], dtype=float32)
    >>> cutter.cut(np.arange(4.0, dtype=np.float32)[np.newaxis])
    array([[0.]], dtype=float32)
    >>> cutter.is_past_end
    True
    """

    def __init__(self, start_s: float | None, end_s: float | None, *, sr_hz: int) -> None:
        self._first, self._end = sample_bounds(start_s, end_s, sr_hz=sr_hz)
        self._position = 0
        self.n_samples = 0

    def cut(self, block: Float32) -> Float32:
        """Keep what lies in the clip.

        Parameters
        ----------
        block : np.ndarray [shape=(n_channels, n_samples), float32]
            The next block.

        Returns
        -------
        kept : np.ndarray [shape=(n_channels, n_samples_kept), float32]
            A view of it, perhaps empty.
        """
        start = max(self._first - self._position, 0)
        stop = None if self._end is None else max(self._end - self._position, 0)
        kept = block[:, start:stop]
        self._position += block.shape[1]
        self.n_samples += kept.shape[1]
        return kept

    @property
    def is_past_end(self) -> bool:
        """Whether no later block can hold a sample of the clip."""
        return self._end is not None and self._position >= self._end
