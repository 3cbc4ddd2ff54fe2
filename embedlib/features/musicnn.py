"""The mel front end of MusiCNN and VGG-I, equal to Essentia's TensorflowInputMusiCNN.

Frames of 512 samples at 16 kHz, symmetric Hann window, power spectrum, 96 Slaney bands,
``log10(10000 x + 1)``. Everything is float32 and computed frame by frame without BLAS, so a
frame is the same number for number whatever arrives together with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft, sparse

from embedlib.features.frames import FrameCutter, Framing
from embedlib.features.mel import slaney_filterbank
from embedlib.records import Float32

# Essentia, src/algorithms/machinelearning/tensorflowinputmusicnn.{h,cpp} at commit b9fa6cb.
SR_HZ = 16000
FRAMING = Framing(frame_samples=512, hop_samples=256)
N_MELS = 96
FMIN_HZ = 0.0
FMAX_HZ = 8000.0
LOG_SCALE = np.float32(10000.0)
LOG_SHIFT = np.float32(1.0)

# Spectra of a block stay in a core's L2 cache (256 x 257 x 8 bytes = 0.5 MB).
BLOCK_FRAMES = 256


@dataclass(frozen=True, slots=True)
class MusicnnFrontEnd:
    """What a run needs to know of the front end; `stream` makes the frames.

    Attributes
    ----------
    name : str
        Name in specs and tables.
    version : int
        Goes up when a change of the code changes a number.
    sr_hz : int
        Sampling rate of the mono samples it takes.
    n_bands : int
        Mel bands per frame.
    frame_samples, hop_samples : int
        Length and distance of frames.

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
    sr_hz: int = SR_HZ
    n_bands: int = N_MELS
    frame_samples: int = FRAMING.frame_samples
    hop_samples: int = FRAMING.hop_samples

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        n_frames : int
            ``1 + ceil(n_samples / hop_samples)``; zero for an empty signal.
        """
        return FRAMING.n_frames(n_samples)

    def stream(self) -> MusicnnStream:
        """Start on a new track.

        Returns
        -------
        stream : MusicnnStream
            Takes the samples of one track, in order.
        """
        return MusicnnStream()


class MusicnnStream:
    """Mel frames of one track whose samples arrive piece by piece."""

    def __init__(self) -> None:
        self._cutter = FrameCutter(FRAMING)

    def push(self, y: Float32) -> Float32:
        """Take the next samples and give the frames that are now complete.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,), float32]
            Mono samples at 16 kHz that follow those of the last call.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, 96), float32]
            Log-compressed mel energies, not negative.

        Raises
        ------
        ConfigError
            If `y` is not one-dimensional.
        """
        return _log_mel(self._cutter.push(y))

    def flush(self) -> Float32:
        """Give the frames that reach over the end of the track.

        Returns
        -------
        mel : np.ndarray [shape=(n_frames, 96), float32]
            The last frames; the stream is used up.
        """
        return _log_mel(self._cutter.flush())


def _log_mel(frames: Float32) -> Float32:
    mel = np.empty((len(frames), N_MELS), np.float32)
    # Samples beyond all reason become infinite here, and the run records them as nonfinite.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(frames), BLOCK_FRAMES):
            stop = start + BLOCK_FRAMES
            mel[start:stop] = _mel_energies(frames[start:stop])
        mel *= LOG_SCALE
        mel += LOG_SHIFT
        return np.log10(mel, out=mel)


def _mel_energies(frames: Float32) -> Float32:
    # SciPy's transform works on several frames at once: 8 times as fast as NumPy's in float32.
    spectrum = fft.rfft(frames * _window())
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    # A bin lies in two bands at most, so the sparse product beats the dense one four times over;
    # it also needs no BLAS, whose sums depend on the number of rows and threads.
    energies: Float32 = (_filterbank() @ power.T).T
    return energies


@cache
def _window() -> Float32:
    return np.hanning(FRAMING.frame_samples).astype(np.float32)


@cache
def _filterbank() -> sparse.csr_array:
    dense = slaney_filterbank(
        N_MELS, n_fft=FRAMING.frame_samples, sr_hz=SR_HZ, fmin_hz=FMIN_HZ, fmax_hz=FMAX_HZ
    )
    return sparse.csr_array(dense)
