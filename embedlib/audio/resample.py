"""Bring samples to the rate of a model, block by block, mono or stereo.

The lengths are exact: `resampled_length` tells, without audio, how many samples come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import soxr

from embedlib.audio.essentia_loader import essentia_standard, quality_of, resample
from embedlib.errors import ConfigError
from embedlib.records import Float32

SOXR_HQ = "soxr-hq"
NAMES = (SOXR_HQ, *(f"essentia-q{quality}" for quality in range(5)))
"""Resamplers that a run can ask for."""


class Resampler(Protocol):
    """One pass of resampling: push all blocks in order, then flush once.

    Mono blocks have the shape ``(n_samples,)``, others ``(n_channels, n_samples)``.
    """

    def push(self, y: Float32) -> Float32:
        """Take a block and give what is ready.

        Parameters
        ----------
        y : np.ndarray [shape=(..., n_samples), float32]
            The next samples, of any number.

        Returns
        -------
        y_out : np.ndarray [shape=(..., n_samples_out), float32]
            What is ready; often empty.
        """

    def flush(self) -> Float32:
        """End the signal and give the rest.

        Returns
        -------
        y_out : np.ndarray [shape=(..., n_samples_out), float32]
            What `push` has not given yet.
        """


def make_resampler(name: str, *, sr_in_hz: int, sr_out_hz: int, n_channels: int = 1) -> Resampler:
    """Make a resampler for one signal.

    Each channel has a stream of its own, so it gives the samples that it would give alone. It is
    also the fast way: soxr 1.1 takes 1.4 to 1.7 times as long for two interleaved ones.

    Parameters
    ----------
    name : str
        One of `NAMES`. ``soxr-hq`` streams: whatever the blocks, the samples are those of one
        block. ``essentia-q0`` (best) to ``essentia-q4`` (linear) collect the whole signal and
        give all of it at `Resampler.flush`, as the reference does.
    sr_in_hz, sr_out_hz : int
        Rates before and after; equal rates pass the samples on as they are.
    n_channels : int
        1 for blocks of shape ``(n_samples,)``, more for ``(n_channels, n_samples)``.

    Returns
    -------
    resampler : Resampler
        A fresh one.

    Raises
    ------
    ConfigError
        If there is no resampler of that name, or a rate or `n_channels` is not positive.
    EngineError
        If the name is one of Essentia's, which is not installed.

    Examples
    --------
    >>> resampler = make_resampler("soxr-hq", sr_in_hz=44_100, sr_out_hz=16_000)
    >>> y = np.zeros(44_100, dtype=np.float32)
    >>> len(resampler.push(y)) + len(resampler.flush())
    16000
    """
    check_resampler(name)
    if min(sr_in_hz, sr_out_hz) <= 0:
        raise ConfigError(
            f"sr_in_hz={sr_in_hz} and sr_out_hz={sr_out_hz} must be positive (samples per second)"
        )
    if n_channels < 1:
        raise ConfigError(f"n_channels={n_channels} must be positive")
    if n_channels == 1:
        return _make_mono(name, sr_in_hz, sr_out_hz)
    return _Channels([_make_mono(name, sr_in_hz, sr_out_hz) for _ in range(n_channels)])


def _make_mono(name: str, sr_in_hz: int, sr_out_hz: int) -> Resampler:
    if sr_in_hz == sr_out_hz:
        return _Identity()
    quality = quality_of(name)
    if quality is None:
        return _Soxr(sr_in_hz, sr_out_hz)
    return _Essentia(sr_in_hz, sr_out_hz, quality)


def check_resampler(name: str) -> None:
    """Refuse a name that `make_resampler` does not know.

    Parameters
    ----------
    name : str
        Of a resampler.

    Raises
    ------
    ConfigError
        If it is not one of `NAMES`.
    """
    if name not in NAMES:
        raise ConfigError(f"resampler={name!r} is not known", fix=f"use one of {', '.join(NAMES)}")


def resampled_length(n_samples: int, *, sr_in_hz: int, sr_out_hz: int) -> int:
    """Tell how many samples ``soxr-hq`` makes of a signal.

    The rule is that of libsoxr, found by experiment with soxr 1.1 and held by a property test:
    the exact quotient rounded to the nearest integer, halves up. Essentia's resamplers give up to
    one sample more or less, by no simple rule.

    Parameters
    ----------
    n_samples : int
        Length of the signal.
    sr_in_hz, sr_out_hz : int
        Rates before and after.

    Returns
    -------
    n_samples_out : int
        Length at `sr_out_hz`.

    Examples
    --------
    >>> resampled_length(1_024, sr_in_hz=44_100, sr_out_hz=16_000)
    372
    """
    return (2 * n_samples * sr_out_hz + sr_in_hz) // (2 * sr_in_hz)


def _empty() -> Float32:
    return np.empty(0, dtype=np.float32)


class _Identity:
    def push(self, y: Float32) -> Float32:
        return y

    def flush(self) -> Float32:
        return _empty()


class _Channels:
    def __init__(self, channels: Sequence[Resampler]) -> None:
        self._channels = channels

    def push(self, y: Float32) -> Float32:
        return np.stack([r.push(row) for r, row in zip(self._channels, y, strict=True)])

    def flush(self) -> Float32:
        return np.stack([resampler.flush() for resampler in self._channels])


class _Soxr:
    def __init__(self, sr_in_hz: int, sr_out_hz: int) -> None:
        self._stream = soxr.ResampleStream(sr_in_hz, sr_out_hz, 1, dtype="float32", quality="HQ")

    def push(self, y: Float32) -> Float32:
        return np.asarray(self._stream.resample_chunk(y), dtype=np.float32)

    def flush(self) -> Float32:
        return np.asarray(self._stream.resample_chunk(_empty(), last=True), dtype=np.float32)


class _Essentia:
    def __init__(self, sr_in_hz: int, sr_out_hz: int, quality: int) -> None:
        essentia_standard()  # fail before the first sample, not after the last
        self._sr_in_hz = sr_in_hz
        self._sr_out_hz = sr_out_hz
        self._quality = quality
        self._blocks: list[Float32] = []

    def push(self, y: Float32) -> Float32:
        self._blocks.append(y)
        return _empty()

    def flush(self) -> Float32:
        y = np.concatenate([*self._blocks, _empty()])
        self._blocks.clear()
        return resample(
            y, sr_in_hz=self._sr_in_hz, sr_out_hz=self._sr_out_hz, quality=self._quality
        )
