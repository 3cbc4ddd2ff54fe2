"""The mel front end of MusiCNN, VGG-I, EffNet and MAEST, equal to TensorflowInputMusiCNN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedlib.features.frames import Framing
from embedlib.features.log_mel import MelFrontEnd, MelRecipe
from embedlib.features.mel import MelBands
from embedlib.records import Float32

# The recipe is Essentia's, src/algorithms/spectral/tensorflowinputmusicnn.cpp at commit b9fa6cb.
LOG_SCALE = np.float32(10000.0)
LOG_SHIFT = np.float32(1.0)


def compress(bands: Float32) -> Float32:
    """Take ``log10(10000 x + 1)`` of powers, so silence stays zero.

    Parameters
    ----------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        Powers; overwritten.

    Returns
    -------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        The same array, now logarithms.
    """
    bands *= LOG_SCALE
    bands += LOG_SHIFT
    return np.log10(bands, out=bands)


RECIPE = MelRecipe(
    sr_hz=16000,
    framing=Framing(frame_samples=512, hop_samples=256),
    n_fft=512,
    spectrum="power",
    bands=MelBands(96, fmin_hz=0.0, fmax_hz=8000.0),
    compress=compress,
)


@dataclass(frozen=True, slots=True)
class MusicnnFrontEnd(MelFrontEnd):
    """Frames of 512 samples at 16 kHz, power spectrum, 96 Slaney bands, logarithm.

    Examples
    --------
    >>> front_end = MusicnnFrontEnd()
    >>> stream = front_end.stream()
    >>> silence = np.zeros(48000, np.float32)
    >>> frames = np.concatenate([stream.push(silence), stream.flush()])
    >>> frames.shape, frames.max(), front_end.n_frames(48000)
    ((189, 96), np.float32(0.0), 189)
    """

    name: str = "musicnn-mel"
    version: int = 1
    recipe: MelRecipe = RECIPE
