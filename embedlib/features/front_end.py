"""What every front end offers, and where they are found by name."""

from __future__ import annotations

from typing import Protocol

from embedlib.errors import ConfigError
from embedlib.features.musicnn import MusicnnFrontEnd
from embedlib.features.sinet import SinetFrontEnd
from embedlib.features.tempocnn import PaddedTempoCnnFrontEnd, TempoCnnFrontEnd
from embedlib.features.vggish import VggishFrontEnd
from embedlib.features.waveform import WAVEFORMS
from embedlib.records import Float32, Signal


class FrameStream(Protocol):
    """Frames of one track whose samples arrive piece by piece; how they are cut does not matter."""

    def push(self, y: Float32) -> Float32:
        """Take the next samples and give the frames that are now complete.

        Parameters
        ----------
        y : np.ndarray [shape=(n_samples,) or (2, n_samples), float32]
            A block of the front end's signal.

        Returns
        -------
        frames : np.ndarray [shape=(n_frames, n_bands), float32]
            Perhaps none.
        """
        ...

    def flush(self) -> Float32:
        """Give the frames that reach over the end of the track; the stream is used up.

        Returns
        -------
        frames : np.ndarray [shape=(n_frames, n_bands), float32]
            Perhaps none.
        """
        ...


class FrontEnd(Protocol):
    """From samples to the frames that patches are cut from.

    Where frames would be larger than the waveform, or need to know where a patch begins, a frame
    is one sample and the rest is done by the model's patch input.

    `name` and `version` are part of an output's fingerprint: the version goes up when a change
    of the code changes a number.
    """

    @property
    def name(self) -> str:
        """Name in specs and tables."""
        ...

    @property
    def version(self) -> int:
        """Number of the algorithm."""
        ...

    @property
    def signal(self) -> Signal:
        """What it listens to."""
        ...

    @property
    def sr_hz(self) -> int:
        """Sampling rate of the signal."""
        ...

    @property
    def n_bands(self) -> int:
        """Values per frame."""
        ...

    @property
    def frame_samples(self) -> int:
        """Length of one frame."""
        ...

    @property
    def hop_samples(self) -> int:
        """Distance between the starts of neighbouring frames."""
        ...

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a signal.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        n_frames : int
            Exactly what a stream gives.
        """
        ...

    def lead_samples(self, n_samples: int) -> int:
        """Count the zeros that it puts in front of a signal of its own accord.

        Parameters
        ----------
        n_samples : int >= 0
            Samples at `sr_hz`.

        Returns
        -------
        n_zeros : int
            Zero for all but front ends that fill up short audio at both sides.
        """
        ...

    def stream(self) -> FrameStream:
        """Start on a new track.

        Returns
        -------
        stream : FrameStream
            Takes the samples of one track, in order.
        """
        ...


_BUILT_IN: tuple[FrontEnd, ...] = (
    MusicnnFrontEnd(),
    VggishFrontEnd(),
    TempoCnnFrontEnd(),
    PaddedTempoCnnFrontEnd(),
    SinetFrontEnd(),
    *WAVEFORMS,
)
_FRONT_ENDS = {each.name: each for each in _BUILT_IN}


def front_end(name: str) -> FrontEnd:
    """Find a front end.

    Parameters
    ----------
    name : str
        As a model's spec names it.

    Returns
    -------
    front_end : FrontEnd
        Without state; each track gets a stream of its own.

    Raises
    ------
    ConfigError
        If there is none of that name.

    Examples
    --------
    >>> front_end("musicnn-mel").sr_hz
    16000
    """
    try:
        return _FRONT_ENDS[name]
    except KeyError:
        raise ConfigError(
            f"unknown front end {name!r}", fix=f"choose one of {', '.join(_FRONT_ENDS)}"
        ) from None
