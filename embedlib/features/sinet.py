"""The mel front end of FSD-SINet, equal to Essentia's TensorflowPredictFSDSINet.

The models were trained on clips without offset and at full scale, so nothing can be computed
before the last sample is known: the stream keeps the whole clip in memory (318 MB an hour, 800 MB
at its end) and then gives all its frames at once. Essentia's standard mode does the same; its
streaming mode leaves the normalisation out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedlib.features.frames import Framing
from embedlib.features.log_mel import HeldSamples, MelFrontEnd, MelRecipe, MelStream
from embedlib.features.mel import MelBands
from embedlib.records import Float32

# Essentia, src/algorithms/machinelearning/tensorflowpredictfsdsinet.cpp at commit b9fa6cb.
HEADROOM = np.float32(0.005)
# Where UnaryOperator(type="log10") cuts off; Essentia's own tests expect it of silence.
LEAST_LOG = np.float32(-30.0)


def compress(bands: Float32) -> Float32:
    """Take ``log10`` of powers, cut off at -30.

    Parameters
    ----------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        Powers; overwritten.

    Returns
    -------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        The same array, now logarithms.
    """
    with np.errstate(divide="ignore"):
        np.log10(bands, out=bands)
    return np.maximum(bands, LEAST_LOG, out=bands)


def periodic_hamming(frame_samples: int) -> NDArray[np.float64]:
    """Build an asymmetric Hamming window with constants of two decimals, as SciPy's default is.

    Parameters
    ----------
    frame_samples : int > 0
        Its length.

    Returns
    -------
    window : np.ndarray [shape=(frame_samples,), float64]
        Its weights.

    Examples
    --------
    >>> periodic_hamming(4)
    array([0.08, 0.54, 1.  , 0.54])
    """
    return np.hamming(frame_samples + 1)[:-1]


# Essentia, src/algorithms/spectral/tensorflowinputfsdsinet.{h,cpp} at commit b9fa6cb.
RECIPE = MelRecipe(
    sr_hz=22050,
    framing=Framing(frame_samples=660, hop_samples=220),
    n_fft=2048,
    spectrum="power",
    bands=MelBands(96, fmin_hz=50.0, fmax_hz=10500.0, norm="unit_max"),
    compress=compress,
    window=periodic_hamming,
)


@dataclass(frozen=True, slots=True)
class SinetFrontEnd(MelFrontEnd):
    """Frames of 660 samples at 22.05 kHz, power spectrum, 96 Slaney bands, logarithm.

    Its stream gives no frame before `flush`, see the module.

    Examples
    --------
    >>> front_end = SinetFrontEnd()
    >>> stream = front_end.stream()
    >>> silence = np.zeros(22050, np.float32)
    >>> stream.push(silence).shape
    (0, 96)
    >>> frames = stream.flush()
    >>> frames.shape, frames.max(), front_end.n_frames(22050)
    ((102, 96), np.float32(-30.0), 102)
    """

    name: str = "sinet-mel"
    version: int = 1
    recipe: MelRecipe = RECIPE

    def stream(self) -> SinetStream:
        """Start on a new track.

        Returns
        -------
        stream : SinetStream
            Takes the samples of one track, in order, and keeps them.
        """
        return SinetStream()


class SinetStream(MelStream):
    """Frames of one clip, all at its end."""

    def __init__(self) -> None:
        super().__init__(RECIPE)
        self._held = HeldSamples()

    def push(self, y: Float32) -> Float32:
        """Keep the next samples.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,), float32]
            Mono samples at 22050 Hz that follow those of the last call.

        Returns
        -------
        mel : np.ndarray [shape=(0, 96), float32]
            Always empty.

        Raises
        ------
        ConfigError
            If `y` is not one-dimensional.
        """
        self._held.append(y)
        return np.empty((0, RECIPE.bands.n_bands), np.float32)

    def flush(self) -> Float32:
        """Give all frames of the clip.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, 96), float32]
            None of an empty clip; the stream is used up.
        """
        y = normalise(self._held.take())
        return np.concatenate([super().push(y), super().flush()])


def normalise(y: Float32) -> Float32:
    """Take the mean away from a clip and bring its peak close to one.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,), float32]
        The whole clip; overwritten.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,), float32]
        The same array. Its peak is ``peak / (peak + 0.005)`` of what it was without the mean, so
        silence stays silent.

    Examples
    --------
    >>> normalise(np.array([0.0, 0.0, 0.995 * 2], np.float32)).max()
    np.float32(0.99...)
    """
    if len(y) == 0:
        return y
    # Nonfinite values spread over the clip, and the run records the track as nonfinite.
    with np.errstate(over="ignore", invalid="ignore"):
        y -= np.float32(y.mean(dtype=np.float64))
        y /= np.abs(y).max() + HEADROOM
    return y
