"""What the mel front ends share: samples to frames to spectra to bands, as a recipe says.

Everything is float32 and computed frame by frame without BLAS, so a frame is the same number
for number whatever arrives together with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from embedlib.features.frames import FrameCutter, Framing, require_mono
from embedlib.features.mel import MelBands, mel_filterbank
from embedlib.records import Float32, Signal

# Bins of the spectra of a block, which stay in a core's L2 cache (8 bytes each, 0.5 MB).
BLOCK_BINS = 256 * 257


@dataclass(frozen=True, slots=True)
class MelRecipe:
    """How samples become the frames of one front end.

    Attributes
    ----------
    sr_hz : int
        Sampling rate of the mono samples.
    framing : Framing
        Length and distance of frames.
    n_fft : int
        Length of the transform, at least a frame; zeros fill the difference.
    spectrum : {'magnitude', 'power'}
        What of the transform goes into the bands.
    bands : MelBands
        The filterbank.
    compress : callable
        From bands [shape=(n_frames, n_bands), float32] to frames of the same shape; works in
        place.
    window : callable
        From the length of a frame to its weights.
    """

    sr_hz: int
    framing: Framing
    n_fft: int
    spectrum: Literal["magnitude", "power"]
    bands: MelBands
    compress: Callable[[Float32], Float32]
    window: Callable[[int], NDArray[np.float64]] = np.hanning


@dataclass(frozen=True, slots=True)
class MelFrontEnd:
    """What a run needs to know of a mel front end; `stream` makes the frames.

    Attributes
    ----------
    name : str
        Name in specs and tables.
    version : int
        Goes up when a change of the code changes a number.
    recipe : MelRecipe
        How the frames are made.
    """

    name: str
    version: int
    recipe: MelRecipe

    @property
    def signal(self) -> Signal:
        """Mono at the rate of the recipe."""
        return Signal(sr_hz=self.recipe.sr_hz, n_channels=1)

    @property
    def sr_hz(self) -> int:
        """Sampling rate of the samples it takes."""
        return self.recipe.sr_hz

    @property
    def n_bands(self) -> int:
        """Values per frame."""
        return self.recipe.bands.n_bands

    @property
    def frame_samples(self) -> int:
        """Length of one frame."""
        return self.recipe.framing.frame_samples

    @property
    def hop_samples(self) -> int:
        """Distance between the starts of neighbouring frames."""
        return self.recipe.framing.hop_samples

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        n_frames : int
            As `Framing.n_frames` counts; zero for an empty signal.
        """
        return self.recipe.framing.n_frames(n_samples)

    def lead_samples(self, n_samples: int) -> int:
        """Count the zeros that are put in front of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        lead_samples : int
            None here: frame 0 is centred at the first sample.
        """
        return 0

    def stream(self) -> MelStream:
        """Start on a new track.

        Returns
        -------
        stream : MelStream
            Takes the samples of one track, in order.
        """
        return MelStream(self.recipe)


class MelStream:
    """Mel frames of one track whose samples arrive piece by piece.

    Parameters
    ----------
    recipe : MelRecipe
        How the frames are made.
    """

    def __init__(self, recipe: MelRecipe) -> None:
        self._recipe = recipe
        self._cutter = FrameCutter(recipe.framing)

    def push(self, y: Float32) -> Float32:
        """Take the next samples and give the frames that are now complete.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,), float32]
            Mono samples that follow those of the last call.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, n_bands), float32]
            Compressed mel bands.

        Raises
        ------
        ConfigError
            If `y` is not one-dimensional.
        """
        return _mel(self._cutter.push(y), recipe=self._recipe)

    def flush(self) -> Float32:
        """Give the frames that reach over the end of the track.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, n_bands), float32]
            The last frames; the stream is used up.
        """
        return _mel(self._cutter.flush(), recipe=self._recipe)


class HeldSamples:
    """Samples of one track that a stream cannot use yet.

    Examples
    --------
    >>> held = HeldSamples()
    >>> held.append(np.ones(2, np.float32))
    >>> held.append(np.zeros(1, np.float32))
    >>> len(held), held.take(), len(held)
    (3, array([1., 1., 0.], dtype=float32), 0)
    """

    def __init__(self) -> None:
        self._pieces: list[Float32] = []

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def append(self, y: Float32) -> None:
        """Keep a copy of the next samples.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,), float32]
            Mono samples.

        Raises
        ------
        ConfigError
            If `y` is not one-dimensional.
        """
        self._pieces.append(require_mono(y).copy())

    def take(self) -> Float32:
        """Give all samples and keep none.

        Returns
        -------
        y : np.ndarray [shape=(n_samples,), float32]
            A new array.
        """
        y = np.concatenate([np.empty(0, np.float32), *self._pieces])
        self._pieces.clear()
        return y


def _mel(frames: Float32, *, recipe: MelRecipe) -> Float32:
    mel = np.empty((len(frames), recipe.bands.n_bands), np.float32)
    block_frames = BLOCK_BINS // (recipe.n_fft // 2 + 1)
    # Samples beyond all reason become infinite here, and the run records them as nonfinite.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(frames), block_frames):
            stop = start + block_frames
            mel[start:stop] = _bands(frames[start:stop], recipe=recipe)
        return recipe.compress(mel)


def _bands(frames: Float32, *, recipe: MelRecipe) -> Float32:
    # SciPy's transform works on several frames at once: 8 times as fast as NumPy's in float32.
    transform = scipy.fft.rfft(frames * _window(recipe), n=recipe.n_fft)
    spectrum = np.square(transform.real) + np.square(transform.imag)
    if recipe.spectrum == "magnitude":
        np.sqrt(spectrum, out=spectrum)
    # A bin lies in two bands at most, so the sparse product beats the dense one four times over;
    # it also needs no BLAS, whose sums depend on the number of rows and threads.
    bands: Float32 = (_filterbank(recipe) @ spectrum.T).T
    return bands


@cache
def _window(recipe: MelRecipe) -> Float32:
    return recipe.window(recipe.framing.frame_samples).astype(np.float32)


@cache
def _filterbank(recipe: MelRecipe) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(
        mel_filterbank(recipe.bands, n_fft=recipe.n_fft, sr_hz=recipe.sr_hz)
    )
