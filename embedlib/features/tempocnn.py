"""The mel front ends of Tempo-CNN and its patch input, equal to Essentia's.

There are two front ends of the same frames: ``tempocnn-mel`` takes the audio as it is, as
Essentia does. ``tempocnn-mel-30s`` pads audio shorter than 30 s, as the code of the paper did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedlib.features.frames import Framing
from embedlib.features.log_mel import HeldSamples, MelFrontEnd, MelRecipe, MelStream
from embedlib.features.mel import MelBands
from embedlib.records import Float32


def keep(bands: Float32) -> Float32:
    """Leave magnitudes as they are: each patch is standardised as a whole.

    Parameters
    ----------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        Magnitudes.

    Returns
    -------
    bands : np.ndarray [shape=(n_frames, n_bands), float32]
        The same array.
    """
    return bands


# Essentia, src/algorithms/spectral/tensorflowinputtempocnn.cpp at commit b9fa6cb.
RECIPE = MelRecipe(
    sr_hz=11025,
    framing=Framing(frame_samples=1024, hop_samples=512),
    n_fft=1024,
    spectrum="magnitude",
    bands=MelBands(40, fmin_hz=20.0, fmax_hz=5000.0),
    compress=keep,
)

# xaviliz/musicnn-training, src/feature_tempocnn.py at commit 69076ab: the code of the paper.
MIN_SAMPLES = 30 * RECIPE.sr_hz


@dataclass(frozen=True, slots=True)
class TempoCnnFrontEnd(MelFrontEnd):
    """Frames of 1024 samples at 11.025 kHz, magnitude spectrum, 40 Slaney bands, no logarithm.

    Examples
    --------
    >>> front_end = TempoCnnFrontEnd()
    >>> stream = front_end.stream()
    >>> silence = np.zeros(11025, np.float32)
    >>> frames = np.concatenate([stream.push(silence), stream.flush()])
    >>> frames.shape, frames.max(), front_end.n_frames(11025)
    ((23, 40), np.float32(0.0), 23)
    """

    name: str = "tempocnn-mel"
    version: int = 1
    recipe: MelRecipe = RECIPE


@dataclass(frozen=True, slots=True)
class PaddedTempoCnnFrontEnd(MelFrontEnd):
    """The same frames, of audio of at least 30 s: zeros on both sides fill what is missing.

    Its stream holds back up to 30 s. An empty signal stays empty.

    Examples
    --------
    >>> front_end = PaddedTempoCnnFrontEnd()
    >>> one_s, half_minute = 11025, 30 * 11025
    >>> front_end.n_frames(one_s) == front_end.n_frames(half_minute) == 647
    True
    >>> front_end.lead_samples(one_s) / one_s
    14.5...
    """

    name: str = "tempocnn-mel-30s"
    version: int = 1
    recipe: MelRecipe = RECIPE

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a signal, those of the zeros around it included.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        n_frames : int
            At least those of 30 s; zero for an empty signal.
        """
        lead_samples, trail_samples = _padding_samples(n_samples)
        return self.recipe.framing.n_frames(lead_samples + n_samples + trail_samples)

    def lead_samples(self, n_samples: int) -> int:
        """Count the zeros that are put in front of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        lead_samples : int
            Half of what is missing to 30 s, rounded up.
        """
        return _padding_samples(n_samples)[0]

    def stream(self) -> PaddedTempoCnnStream:
        """Start on a new track.

        Returns
        -------
        stream : PaddedTempoCnnStream
            Takes the samples of one track, in order.
        """
        return PaddedTempoCnnStream()


class PaddedTempoCnnStream(MelStream):
    """Frames of one track, held back until it is known whether it lasts 30 s."""

    def __init__(self) -> None:
        super().__init__(RECIPE)
        self._held = HeldSamples()
        self._is_long = False

    def push(self, y: Float32) -> Float32:
        """Take the next samples and give the frames that are now complete.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,), float32]
            Mono samples at 11025 Hz that follow those of the last call.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, 40), float32]
            None of the first 30 s before the last of their samples has come.

        Raises
        ------
        ConfigError
            If `y` is not one-dimensional.
        """
        if not self._is_long:
            self._held.append(y)
            self._is_long = len(self._held) >= MIN_SAMPLES
            y = self._held.take() if self._is_long else y[:0]
        return super().push(y)

    def flush(self) -> Float32:
        """Give the frames that reach over the end of the track, or all of a short one.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, 40), float32]
            The last frames; the stream is used up.
        """
        y = self._held.take()
        padded = np.pad(y, _padding_samples(len(y)))
        return np.concatenate([super().push(padded), super().flush()])


def standardise(patch: Float32) -> Float32:
    """Bring a patch to mean zero and deviation one, and turn it as Tempo-CNN takes it.

    Each patch by itself, as Essentia's ``TensorNormalize(scaler="standard")`` does; the original
    tempo-cnn standardises all windows of a file together.

    Parameters
    ----------
    patch : np.ndarray [shape=(n_frames, n_bands), float32]
        Mel magnitudes; 256 frames of 40 bands for the model.

    Returns
    -------
    model_input : np.ndarray [shape=(n_bands, n_frames, 1), float32]
        Zeros if all values of `patch` are the same.

    References
    ----------
    .. [1] Essentia, ``src/algorithms/standard/tensornormalize.cpp`` and
       ``src/algorithms/machinelearning/tensorflowpredicttempocnn.cpp`` at commit b9fa6cb.

    Examples
    --------
    >>> standardise(np.array([[1, 1], [1, 3], [3, 3]], np.float32))[..., 0]
    array([[-1., -1.,  1.],
           [-1.,  1.,  1.]], dtype=float32)
    """
    # In float64 the mean of equal float32 values is exact, so a constant patch has deviation 0.
    values = patch.astype(np.float64)
    # Nonfinite values spread over the patch, and the run records the track as nonfinite.
    with np.errstate(invalid="ignore"):
        values -= values.mean()
        deviation = np.sqrt(np.mean(np.square(values)))
        values /= deviation if deviation != 0.0 else 1.0
    return np.ascontiguousarray(values.T[..., None], np.float32)


def _padding_samples(n_samples: int) -> tuple[int, int]:
    if n_samples == 0:
        return 0, 0
    missing = max(0, MIN_SAMPLES - n_samples)
    return missing - missing // 2, missing // 2
