"""Front ends that pass samples on, for models whose windows are framed one by one.

A frame is one sample, so patches are stretches of samples and all else happens behind the cut:
OpenL3 refers each window to its own maximum (`embedlib.features.openl3`), and Spleeter takes
stereo (`embedlib.features.spleeter`), so neither can share frames between patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from embedlib.errors import ConfigError
from embedlib.records import Float32, Signal


@dataclass(frozen=True, slots=True)
class WaveformFrontEnd:
    """What a run needs to know of the front end; `stream` passes the samples on.

    Attributes
    ----------
    name : str
        Name in specs and tables.
    signal : Signal
        Rate and channels of the samples it takes.
    version : int
        Goes up when a change of the code changes a number.
    frame_samples, hop_samples : int
        A frame is one sample.

    Examples
    --------
    >>> front_end = WaveformFrontEnd("stereo-44k", Signal(44100, 2))
    >>> front_end.stream().push(np.arange(6, dtype=np.float32).reshape(2, 3))
    array([[0., 3.],
           [1., 4.],
           [2., 5.]], dtype=float32)
    >>> front_end.n_bands, front_end.n_frames(3)
    (2, 3)
    """

    name: str
    signal: Signal
    version: int = 1
    frame_samples: int = 1
    hop_samples: int = 1

    @property
    def sr_hz(self) -> int:
        """Sampling rate of the samples it takes."""
        return self.signal.sr_hz

    @property
    def n_bands(self) -> int:
        """Values per frame: one for each channel."""
        return self.signal.n_channels

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples per channel at `sr_hz`.

        Returns
        -------
        n_frames : int
            The same number.
        """
        return n_samples

    def lead_samples(self, n_samples: int) -> int:
        """Count the zeros that are put in front of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples per channel at `sr_hz`.

        Returns
        -------
        lead_samples : int
            None here.
        """
        return 0

    def stream(self) -> WaveformStream:
        """Start on a new track.

        Returns
        -------
        stream : WaveformStream
            Takes the samples of one track, in order.
        """
        return WaveformStream(self.signal.n_channels)


class WaveformStream:
    """Samples of one track as rows, one value per channel.

    Parameters
    ----------
    n_channels : int > 0
        Channels of the blocks to come.
    """

    def __init__(self, n_channels: int) -> None:
        self._n_channels = n_channels

    def push(self, y: Float32) -> Float32:
        """Give the samples as they come.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,) or (n_channels, n_samples), float32]
            A block; of one axis where the signal is mono.

        Returns
        -------
        frames : np.ndarray [shape=(n_samples, n_channels), float32]
            A view.

        Raises
        ------
        ConfigError
            If the block has another number of channels.
        """
        rows = y[:, None] if y.ndim == 1 else y.T
        if rows.ndim != 2 or rows.shape[1] != self._n_channels:
            raise ConfigError(
                f"samples of shape {y.shape} do not have {self._n_channels} channel(s)",
                fix="mix them as the signal says first",
            )
        return rows

    def flush(self) -> Float32:
        """Give nothing: no sample is held back.

        Returns
        -------
        frames : np.ndarray [shape=(0, n_channels), float32]
            Empty.
        """
        return np.empty((0, self._n_channels), np.float32)


WAVEFORMS: Final = (
    WaveformFrontEnd("mono-48k", Signal(48000, 1)),
    WaveformFrontEnd("mono-44k", Signal(44100, 1)),
    WaveformFrontEnd("stereo-44k", Signal(44100, 2)),
)
"""The signals of OpenL3, of Spleeter as in the paper's first code, and of Spleeter."""
