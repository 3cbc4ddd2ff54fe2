"""Cut a stream of samples into overlapping frames, as Essentia's FrameCutter does.

Convention of Essentia's ``startFromZero=false``, shared by every front end of its models: frame
``k`` is centred at sample ``k * hop_samples`` (one sample earlier when its length is odd), what
lies before the first and after the last sample is zero, and a frame is the last one when its
centre reaches the end of the signal. Silent frames stay silent: Essentia's unseeded -100 dB
noise is left out, so that the same audio gives the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedlib.errors import ConfigError
from embedlib.records import Float32


@dataclass(frozen=True, slots=True)
class Framing:
    """Length and distance of frames.

    Parameters
    ----------
    frame_samples : int > 0
        Length of one frame.
    hop_samples : int > 0
        Distance between the starts of neighbouring frames, at most `frame_samples`.

    Raises
    ------
    ConfigError
        If the hop is not between one sample and one frame.

    References
    ----------
    .. [1] Essentia, ``src/algorithms/standard/framecutter.cpp`` at commit b9fa6cb; compared with
       the wheel 2.1b6.dev1389 by the tests.

    Examples
    --------
    >>> framing = Framing(frame_samples=512, hop_samples=256)
    >>> [framing.n_frames(n) for n in (0, 1, 256, 257, 48000)]
    [0, 2, 2, 3, 189]
    """

    frame_samples: int
    hop_samples: int

    def __post_init__(self) -> None:
        if not 1 <= self.hop_samples <= self.frame_samples:
            raise ConfigError(
                f"hop_samples={self.hop_samples} is not between 1 and the frame length "
                f"{self.frame_samples}",
                fix="choose a hop that leaves no sample out",
            )

    @property
    def lead_samples(self) -> int:
        """Zeros in front of the first sample, in the first frame."""
        return (self.frame_samples + 1) // 2

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Length of the signal.

        Returns
        -------
        n_frames : int
            Zero for an empty signal. Otherwise all frames up to the first whose centre reaches
            the end, without one that would start behind it.
        """
        if n_samples <= 0:
            return 0
        centre_0 = self.frame_samples // 2 - self.lead_samples
        up_to_end = 1 + _ceil_div(n_samples - centre_0, self.hop_samples)
        started = _ceil_div(n_samples + self.lead_samples, self.hop_samples)
        return min(up_to_end, started)


class FrameCutter:
    """Cut one signal that arrives piece by piece; the pieces do not matter.

    Parameters
    ----------
    framing : Framing
        Length and hop of the frames.

    Examples
    --------
    >>> cutter = FrameCutter(Framing(frame_samples=4, hop_samples=2))
    >>> cutter.push(np.arange(1, 6, dtype=np.float32))
    array([[0., 0., 1., 2.],
           [1., 2., 3., 4.]], dtype=float32)
    >>> cutter.flush()
    array([[3., 4., 5., 0.],
           [5., 0., 0., 0.]], dtype=float32)
    """

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._pending = np.zeros(framing.lead_samples, np.float32)
        self._n_samples = 0
        self._n_frames = 0

    def push(self, y: Float32) -> Float32:
        """Take the next samples and give the frames that are now complete.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,), float32]
            Mono samples that follow those of the last call.

        Returns
        -------
        frames : np.ndarray [shape=(n_frames, frame_samples), float32]
            Read-only view.

        Raises
        ------
        ConfigError
            If `y` is not one-dimensional.
        """
        self._n_samples += len(require_mono(y))
        samples = np.concatenate([self._pending, y], dtype=np.float32)
        lead_in = len(samples) - self._framing.frame_samples
        n_frames = max(0, 1 + lead_in // self._framing.hop_samples)
        # A copy, because a view would keep the whole piece alive.
        self._pending = samples[n_frames * self._framing.hop_samples :].copy()
        self._n_frames += n_frames
        return self._windows(samples, n_frames)

    def flush(self) -> Float32:
        """Give the frames that reach over the end of the signal, filled up with zeros.

        Returns
        -------
        frames : np.ndarray [shape=(n_frames, frame_samples), float32]
            Read-only view; the cutter is used up.
        """
        n_frames = self._framing.n_frames(self._n_samples) - self._n_frames
        length = max(0, n_frames - 1) * self._framing.hop_samples + self._framing.frame_samples
        samples = np.zeros(length, np.float32)
        samples[: len(self._pending)] = self._pending[:length]
        return self._windows(samples, n_frames)

    def _windows(self, samples: Float32, n_frames: int) -> Float32:
        if n_frames == 0:
            return np.empty((0, self._framing.frame_samples), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(samples, self._framing.frame_samples)
        return windows[:: self._framing.hop_samples][:n_frames]


def require_mono(y: Float32) -> Float32:
    """Refuse samples of more than one channel.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,), float32]
        Samples.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,), float32]
        The same array.

    Raises
    ------
    ConfigError
        If `y` is not one-dimensional.
    """
    if y.ndim != 1:
        raise ConfigError(f"samples of shape {y.shape} are not mono", fix="mix them down first")
    return y


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
