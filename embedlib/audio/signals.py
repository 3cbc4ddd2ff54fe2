"""Blocks of a file in, blocks of every signal that the models listen to out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from embedlib.audio.resample import SOXR_HQ, make_resampler
from embedlib.audio.samples import to_mono
from embedlib.records import Float32, Signal


class SignalMixer:
    """Mix the channels of a file for each signal, and bring them to its rate.

    Mono is the mean of all channels, taken before resampling. Stereo is a file of two channels as
    it is; a file with another number has no left and right to trust, so both channels are the mono
    mix, which is resampled once for all signals of a rate.

    Parameters
    ----------
    signals : iterable of Signal
        What is wanted; each counts once.
    sr_hz, n_channels : int
        Of the file.
    resampler : str
        One of `embedlib.audio.resample.NAMES`.

    Attributes
    ----------
    n_resamplings : int
        How many real resamplings the file takes; a stereo one counts as one, one to the same rate
        as none.

    Raises
    ------
    ConfigError
        If there is no resampler of that name, or a rate is not positive.
    EngineError
        If the resampler is one of Essentia's, which is not installed.

    Examples
    --------
    >>> mixer = SignalMixer([Signal(8_000), Signal(8_000, 2)], sr_hz=8_000, n_channels=2)
    >>> blocks = mixer.push(np.array([[1.0, 0.0], [0.0, 0.5]], dtype=np.float32))
    >>> blocks[Signal(8_000)]
    array([0.5 , 0.25], dtype=float32)
    >>> blocks[Signal(8_000, 2)]
    array([[1. , 0. ],
           [0. , 0.5]], dtype=float32)
    """

    def __init__(
        self,
        signals: Iterable[Signal],
        *,
        sr_hz: int,
        n_channels: int,
        resampler: str = SOXR_HQ,
    ) -> None:
        self._sources = {signal: _source(signal, n_channels) for signal in signals}
        sources = dict.fromkeys(self._sources.values())
        self._resamplers = {
            source: make_resampler(
                resampler, sr_in_hz=sr_hz, sr_out_hz=source.sr_hz, n_channels=source.n_channels
            )
            for source in sources
        }
        self.n_resamplings = count_resamplings(sources, sr_hz=sr_hz)

    def push(self, block: Float32) -> dict[Signal, Float32]:
        """Take a block of the file and give what is ready of each signal.

        Parameters
        ----------
        block : np.ndarray [shape=(n_channels, n_samples), float32]
            The next samples, of any number.

        Returns
        -------
        blocks : dict of Signal to np.ndarray [shape=(n_samples,) or (2, n_samples), float32]
            The next stretch of each signal; often of different lengths, some perhaps empty.
        """
        mono = to_mono(block)
        return self._fan_out(
            {
                source: resampler.push(block if source.n_channels == 2 else mono)
                for source, resampler in self._resamplers.items()
            }
        )

    def flush(self) -> dict[Signal, Float32]:
        """End the file and give the rest of each signal.

        Returns
        -------
        blocks : dict of Signal to np.ndarray [shape=(n_samples,) or (2, n_samples), float32]
            What `push` has not given yet.
        """
        return self._fan_out(
            {source: resampler.flush() for source, resampler in self._resamplers.items()}
        )

    def _fan_out(self, blocks: Mapping[Signal, Float32]) -> dict[Signal, Float32]:
        return {
            signal: blocks[source] if signal == source else np.stack([blocks[source]] * 2)
            for signal, source in self._sources.items()
        }


def _source(signal: Signal, n_channels: int) -> Signal:
    """Tell which signal to resample for the wanted one: mono unless the file itself is stereo."""
    return signal if n_channels == 2 else signal._replace(n_channels=1)


def count_resamplings(signals: Iterable[Signal], *, sr_hz: int) -> int:
    """Count the signals that are not at the rate of the file.

    Parameters
    ----------
    signals : iterable of Signal
        Distinct ones.
    sr_hz : int
        Of the file.

    Returns
    -------
    n_resamplings : int
        How many resamplings it takes.

    Examples
    --------
    >>> count_resamplings([Signal(44_100), Signal(44_100, 2), Signal(16_000)], sr_hz=44_100)
    1
    """
    return sum(signal.sr_hz != sr_hz for signal in signals)
