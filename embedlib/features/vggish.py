"""The mel front end of VGGish and YAMNet, equal to Essentia's TensorflowInputVGGish.

Essentia centres frame 0 at the first sample, where Google's original starts it there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedlib.features.frames import Framing
from embedlib.features.log_mel import MelFrontEnd, MelRecipe
from embedlib.features.mel import MelBands
from embedlib.records import Float32

# The recipe is Essentia's, src/algorithms/spectral/tensorflowinputvggish.cpp at commit b9fa6cb.
LOG_SHIFT = np.float32(0.01)


def compress(bands: Float32) -> Float32:
    """Take ``ln(x + 0.01)`` of magnitudes, so silence is -4.605.

    Parameters
    ----------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        Magnitudes; overwritten.

    Returns
    -------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        The same array, now logarithms.
    """
    bands += LOG_SHIFT
    return np.log(bands, out=bands)


RECIPE = MelRecipe(
    sr_hz=16000,
    framing=Framing(frame_samples=400, hop_samples=160),
    n_fft=512,
    spectrum="magnitude",
    bands=MelBands(
        64, fmin_hz=125.0, fmax_hz=7500.0, scale="htk", slopes="warped", norm="unit_max"
    ),
    compress=compress,
)


@dataclass(frozen=True, slots=True)
class VggishFrontEnd(MelFrontEnd):
    """Frames of 400 samples at 16 kHz, magnitude spectrum, 64 HTK bands, natural logarithm.

    Examples
    --------
    >>> front_end = VggishFrontEnd()
    >>> stream = front_end.stream()
    >>> silence = np.zeros(16000, np.float32)
    >>> frames = np.concatenate([stream.push(silence), stream.flush()])
    >>> frames.shape, frames.max(), front_end.n_frames(16000)
    ((101, 64), np.float32(-4.6051702), 101)
    """

    name: str = "vggish-mel"
    version: int = 1
    recipe: MelRecipe = RECIPE
