"""One track in, blocks of every signal that the models listen to out: decoded once.

This is what the rest of embedlib calls; the other modules of this folder are its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from embedlib.audio.blocks import BLOCK_SAMPLES
from embedlib.audio.decode import AudioLimits, Decoding
from embedlib.audio.essentia_loader import (
    count_samples,
    essentia_standard,
    load_mono,
    load_stereo,
    quality_of,
)
from embedlib.audio.fetch import LocalAudio, local_copy
from embedlib.audio.resample import SOXR_HQ, check_resampler
from embedlib.audio.samples import clip_length, sample_bounds
from embedlib.audio.signals import SignalMixer, count_resamplings
from embedlib.catalog.allowed import ANYWHERE, Allowed
from embedlib.errors import AudioError, ConfigError
from embedlib.records import DecodedTrack, Float32, Signal, Status, Track

DECODERS = ("pyav", "essentia")
"""``pyav`` streams; ``essentia`` is the reference, see `embedlib.audio.essentia_loader`."""


class AudioStream:
    """The audio of one track as blocks of several signals, decoded once.

    A context manager, to be iterated once inside its context. Nothing is opened before the first
    block is asked for, so that `decoded` can be asked also after a failure. With ``pyav`` and
    ``soxr-hq`` the memory does not depend on the length of the track.

    Parameters
    ----------
    track : Track
        What to decode; its clip, where it has one.
    signals : sequence of Signal
        What the models listen to, mono or stereo; see `embedlib.audio.signals.SignalMixer` for
        what becomes of files with other numbers of channels.
    decoder : str
        One of `DECODERS`. ``essentia`` loads mono with MonoLoader and stereo with AudioLoader,
        once per signal, and cuts clips after resampling; it refuses files of more than two
        channels. The facts still come from our own pass over the file, which takes a tenth of
        its time, but `n_samples` counts what Essentia decodes. It cannot be interrupted by the
        deadline.
    resampler : str
        One of `embedlib.audio.resample.NAMES`; for ``essentia`` one of Essentia's.
    limits : AudioLimits or None
        None means the defaults.
    allowed : Allowed
        Where the track may lie; what lies elsewhere is ``unreadable``.

    Raises
    ------
    ConfigError
        If a name is not known, a signal is none, there is none, or the resampler is not one of
        the decoder's.
    EngineError
        If Essentia is asked for and not installed.

    Examples
    --------
    >>> mono = Signal(16_000)
    >>> stream = AudioStream(Track("t", "no-such.mp3", -1, ""), signals=[mono])
    >>> with stream:
    ...     n_samples = sum(len(blocks[mono]) for blocks in stream)
    Traceback (most recent call last):
    embedlib.errors.MissingAudioError: ...no-such.mp3 does not exist; ...
    """

    def __init__(
        self,
        track: Track,
        *,
        signals: Sequence[Signal],
        decoder: str = "pyav",
        resampler: str = SOXR_HQ,
        limits: AudioLimits | None = None,
        allowed: Allowed = ANYWHERE,
    ) -> None:
        check_request(signals, decoder=decoder, resampler=resampler)
        self._track = track
        self._signals = tuple(dict.fromkeys(signals))
        self._decoder = decoder
        self._resampler = resampler
        self._limits = limits or AudioLimits()
        self._allowed = allowed
        self._files = ExitStack()
        self._decoding: Decoding | None = None
        self._n_samples: int | None = None  # as Essentia counts them
        self._n_resamplings = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()

    def decoded(self, index: int) -> DecodedTrack:
        """Tell what is known about the track by now; all of it once the last block is out.

        Parameters
        ----------
        index : int
            Position of the track in its shard.

        Returns
        -------
        decoded : DecodedTrack
            Without a failure, which `as_failure` adds.
        """
        if self._decoding is None:
            return DecodedTrack(index=index, status=Status.OK)
        facts = self._decoding.facts(index)
        if self._n_samples is None:
            return facts
        return replace(facts, n_samples=self._n_samples, duration_s=self._n_samples / facts.sr_hz)

    @property
    def n_resamplings(self) -> int:
        """How many real resamplings the track took: none before the first block is out."""
        return self._n_resamplings

    def __iter__(self) -> Iterator[dict[Signal, Float32]]:
        """Decode, mix, resample.

        Yields
        ------
        blocks : dict of Signal to np.ndarray [shape=(n_samples,) or (2, n_samples), float32]
            The next stretch of each signal, of bounded length; some may be empty.

        Raises
        ------
        AudioError
            One of its classes, if the track gives no audio; see `embedlib.audio.decode.Decoding`
            and `embedlib.audio.fetch.local_copy`.
        OSError
            If the store or the disk fails.
        """
        deadline_s = self._limits.cpu_deadline_s
        audio = self._files.enter_context(
            local_copy(self._track, cpu_deadline_s=deadline_s, allowed=self._allowed)
        )
        self._decoding = Decoding(
            audio, start_s=self._track.start_s, end_s=self._track.end_s, limits=self._limits
        )
        try:
            if self._decoder == "essentia":
                yield from self._load_with_essentia(audio, self._decoding)
            else:
                yield from self._mix(self._decoding)
        except AudioError:
            audio.check_unchanged()  # a file that is being rewritten looks damaged
            raise
        audio.check_unchanged()

    def _mix(self, decoding: Decoding) -> Iterator[dict[Signal, Float32]]:
        blocks = iter(decoding)
        first = next(blocks)  # there is one, or an error
        facts = decoding.facts(0)
        mixer = SignalMixer(
            self._signals,
            sr_hz=facts.sr_hz,
            n_channels=facts.n_channels,
            resampler=self._resampler,
        )
        self._n_resamplings = mixer.n_resamplings
        yield mixer.push(first)
        yield from map(mixer.push, blocks)
        yield from _in_blocks(mixer.flush())

    def _load_with_essentia(
        self, audio: LocalAudio, decoding: Decoding
    ) -> Iterator[dict[Signal, Float32]]:
        for _ in decoding:
            pass  # limits, status and native rate
        quality = quality_of(self._resampler) or 0
        clip = (self._track.start_s, self._track.end_s)
        sr_hz = decoding.facts(0).sr_hz
        self._n_samples = clip_length(count_samples(audio.path), *clip, sr_hz=sr_hz)
        self._n_resamplings = count_resamplings(self._signals, sr_hz=sr_hz)
        signals = {}
        for signal in self._signals:
            load = load_mono if signal.n_channels == 1 else load_stereo
            first, end = sample_bounds(*clip, sr_hz=signal.sr_hz)
            y = load(audio.path, rate_hz=signal.sr_hz, quality=quality)
            signals[signal] = y[..., first:end]
        yield from _in_blocks(signals)


def as_failure(decoded: DecodedTrack, exc: AudioError) -> DecodedTrack:
    """Tell the facts of a track that failed.

    Parameters
    ----------
    decoded : DecodedTrack
        What was known when it failed.
    exc : AudioError
        Why it failed.

    Returns
    -------
    failed : DecodedTrack
        With the status of the error, and its text on one line.

    Examples
    --------
    >>> from embedlib.errors import EmptyAudioError
    >>> as_failure(DecodedTrack(3, Status.OK), EmptyAudioError("a.wav has no bytes")).status
    <Status.EMPTY: 'empty'>
    """
    return replace(decoded, status=Status(exc.status), error=" ".join(str(exc).split()))


def _in_blocks(signals: Mapping[Signal, Float32]) -> Iterator[dict[Signal, Float32]]:
    longest = max((y.shape[-1] for y in signals.values()), default=0)
    for start in range(0, longest, BLOCK_SAMPLES):
        yield {signal: y[..., start : start + BLOCK_SAMPLES] for signal, y in signals.items()}


def check_request(signals: Sequence[Signal], *, decoder: str, resampler: str) -> None:
    """Refuse what no stream can give, before there is a track.

    Parameters
    ----------
    signals : sequence of Signal
        What the models listen to.
    decoder, resampler : str
        Names, as `AudioStream` takes them.

    Raises
    ------
    ConfigError
        If a name is not known, a signal is none, there is none, or the resampler is not one of
        the decoder's.
    EngineError
        If Essentia is asked for and not installed.
    """
    check_resampler(resampler)
    if decoder not in DECODERS:
        raise ConfigError(f"decoder={decoder!r} is not known", fix=f"use one of {DECODERS}")
    if not signals:
        raise ConfigError("signals=[] asks for nothing", fix="name at least one signal")
    for signal in signals:
        if signal.sr_hz <= 0 or signal.n_channels not in (1, 2):
            raise ConfigError(
                f"sr_hz={signal.sr_hz} with n_channels={signal.n_channels} is no signal",
                fix="give a positive rate, and 1 or 2 channels",
            )
    if decoder == "essentia" and quality_of(resampler) is None:
        raise ConfigError(
            f"resampler={resampler!r} does not go with decoder='essentia'",
            fix="use one of essentia-q0 (best) to essentia-q4",
        )
    if quality_of(resampler) is not None:
        essentia_standard()
