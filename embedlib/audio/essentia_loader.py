"""Essentia's own loader and resampler, for runs that must repeat what Essentia gives.

`decoder="essentia"` is the reference, not the fast path: its loaders hold the whole clip, refuse
files of more than two channels, and decode again for each signal.
"""

from __future__ import annotations

import os
import re
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from embedlib.errors import EngineError, UndecodableAudioError
from embedlib.records import Float32

QUALITY_NAME = re.compile(r"essentia-q([0-4])")
"""Resamplers of Essentia by the quality of its ``Resample``: 0 is the best, 4 is linear."""


def quality_of(resampler: str) -> int | None:
    """Tell Essentia's ``resampleQuality`` from the name of a resampler.

    Parameters
    ----------
    resampler : str
        Such as ``essentia-q1``, the default of MonoLoader.

    Returns
    -------
    quality : int or None
        From 0 to 4; None for any other resampler.

    Examples
    --------
    >>> quality_of("essentia-q1")
    1
    """
    match = QUALITY_NAME.fullmatch(resampler)
    return int(match[1]) if match else None


@cache
def essentia_standard() -> ModuleType:
    """Import Essentia, quietly.

    Returns
    -------
    standard : module
        ``essentia.standard``.

    Raises
    ------
    EngineError
        If it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its TensorFlow looks for a GPU aloud
    try:
        import essentia

        essentia.log.infoActive = False
        essentia.log.warningActive = False
        import essentia.standard as standard
    except ImportError as exc:
        raise EngineError(
            f"Essentia cannot be imported: {exc}",
            fix="pip install essentia-tensorflow (Linux on x86_64), or use decoder 'pyav' with "
            "resampler 'soxr-hq'",
        ) from exc
    return standard  # type: ignore[no-any-return]


def load_mono(path: str, *, rate_hz: int, quality: int) -> Float32:
    """Load a whole file with MonoLoader.

    Parameters
    ----------
    path : str
        Local path of a file that `embedlib.audio.container` has accepted.
    rate_hz : int
        Samples per second to give.
    quality : int
        Its ``resampleQuality``, from 0 to 4.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,), float32]
        The mean of the channels.

    Raises
    ------
    UndecodableAudioError
        If MonoLoader refuses the file, as it does those of more than two channels.
    """
    standard = essentia_standard()
    try:
        loader = standard.MonoLoader(filename=path, sampleRate=rate_hz, resampleQuality=quality)
        return np.asarray(loader(), dtype=np.float32)
    except RuntimeError as exc:
        raise _refused(exc) from exc


def load_stereo(path: str, *, rate_hz: int, quality: int) -> Float32:
    """Load a whole file with AudioLoader, and resample each channel with ``Resample``.

    It is what MonoLoader does, without the mixing. AudioLoader leaves the second channel of a mono
    file empty; here it is the first one again.

    Parameters
    ----------
    path : str
        As in `load_mono`.
    rate_hz : int
        Samples per second to give.
    quality : int
        Of ``Resample``, from 0 to 4.

    Returns
    -------
    y : np.ndarray [shape=(2, n_samples), float32]
        Left and right.

    Raises
    ------
    UndecodableAudioError
        If AudioLoader refuses the file, as it does those of more than two channels.
    """
    samples, sr_hz, n_channels, *_ = _load(path)
    channels = [
        resample(channel, sr_in_hz=int(sr_hz), sr_out_hz=rate_hz, quality=quality)
        for channel in np.ascontiguousarray(samples.T)[:n_channels]
    ]
    return np.stack([channels[0], channels[-1]])


def count_samples(path: str) -> int:
    """Count the samples that Essentia decodes, which may differ from FFmpeg's by a codec frame.

    Parameters
    ----------
    path : str
        As in `load_mono`.

    Returns
    -------
    n_samples : int
        Per channel, at the rate of the file.

    Raises
    ------
    UndecodableAudioError
        If AudioLoader refuses the file.
    """
    return len(_load(path)[0])


def _load(path: str) -> tuple[Any, ...]:
    """Give AudioLoader's samples (n_samples, 2), rate, number of channels, and what follows."""
    try:
        return tuple(essentia_standard().AudioLoader(filename=path)())
    except RuntimeError as exc:
        raise _refused(exc) from exc


def resample(y: Float32, *, sr_in_hz: int, sr_out_hz: int, quality: int) -> Float32:
    """Resample a whole clip with Essentia's ``Resample``.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,), float32]
        Mono samples.
    sr_in_hz, sr_out_hz : int
        Rates before and after.
    quality : int
        From 0 (best) to 4 (linear).

    Returns
    -------
    y_out : np.ndarray [shape=(n_samples_out,), float32]
        About ``n_samples * sr_out_hz / sr_in_hz`` samples, one more or less.
    """
    standard = essentia_standard()
    algorithm = standard.Resample(
        inputSampleRate=sr_in_hz, outputSampleRate=sr_out_hz, quality=quality
    )
    return np.asarray(algorithm(y), dtype=np.float32)


def _refused(exc: RuntimeError) -> UndecodableAudioError:
    reason = " ".join(str(exc).split())
    return UndecodableAudioError(
        f"Essentia does not load the file: {reason}", fix="use decoder 'pyav'"
    )
