"""One track in, mono blocks at every rate that the models want out: decoded once.

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
from embedlib.audio.essentia_loader import count_samples, essentia_standard, load_mono, quality_of
from embedlib.audio.fetch import LocalAudio, local_copy
from embedlib.audio.resample import SOXR_HQ, Resampler, check_resampler, make_resampler
from embedlib.audio.samples import clip_length, sample_bounds, to_mono
from embedlib.errors import AudioError, ConfigError
from embedlib.records import DecodedTrack, Float32, Status, Track

DECODERS = ("pyav", "essentia")
"""``pyav`` streams; ``essentia`` is the reference, see `embedlib.audio.essentia_loader`."""


class MonoStream:
    """The audio of one track as mono blocks at several rates.

    A context manager, to be iterated once inside its context. Nothing is opened before the first
    block is asked for, so that `decoded` can be asked also after a failure. With ``pyav`` and
    ``soxr-hq`` the memory does not depend on the length of the track.

    Parameters
    ----------
    track : Track
        What to decode; its clip, where it has one.
    rates_hz : sequence of int
        Distinct rates of the models; the audio is resampled once for each.
    decoder : str
        One of `DECODERS`. ``essentia`` loads with MonoLoader, once per rate, and cuts clips after
        resampling; the facts still come from our own pass over the file, which takes a tenth of
        its time, but `n_samples` counts what Essentia decodes. It cannot be interrupted by the
        deadline.
    resampler : str
        One of `embedlib.audio.resample.NAMES`; for ``essentia`` one of Essentia's.
    limits : AudioLimits or None
        None means the defaults.

    Raises
    ------
    ConfigError
        If a name is not known, a rate is not positive, there is none, or the resampler is not
        one of the decoder's.
    EngineError
        If Essentia is asked for and not installed.

    Examples
    --------
    >>> stream = MonoStream(Track("t", "no-such.mp3", -1, ""), rates_hz=[16_000])
    >>> with stream:
    ...     n_samples = sum(len(blocks[16_000]) for blocks in stream)
    Traceback (most recent call last):
    embedlib.errors.MissingAudioError: ...no-such.mp3 does not exist; list the catalogue again
    """

    def __init__(
        self,
        track: Track,
        *,
        rates_hz: Sequence[int],
        decoder: str = "pyav",
        resampler: str = SOXR_HQ,
        limits: AudioLimits | None = None,
    ) -> None:
        check_request(rates_hz, decoder=decoder, resampler=resampler)
        self._track = track
        self._rates_hz = tuple(dict.fromkeys(rates_hz))
        self._decoder = decoder
        self._resampler = resampler
        self._limits = limits or AudioLimits()
        self._files = ExitStack()
        self._decoding: Decoding | None = None
        self._n_samples: int | None = None  # as Essentia counts them

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

    def __iter__(self) -> Iterator[dict[int, Float32]]:
        """Decode, mix, resample.

        Yields
        ------
        blocks : dict of int to np.ndarray [shape=(n_samples,), float32]
            The next stretch at each of the rates, of bounded length; some may be empty.

        Raises
        ------
        AudioError
            One of its classes, if the track gives no audio; see `embedlib.audio.decode.Decoding`
            and `embedlib.audio.fetch.local_copy`.
        OSError
            If the store or the disk fails.
        """
        audio = self._files.enter_context(local_copy(self._track))
        self._decoding = Decoding(
            audio, start_s=self._track.start_s, end_s=self._track.end_s, limits=self._limits
        )
        try:
            if self._decoder == "essentia":
                yield from self._load_with_essentia(audio, self._decoding)
            else:
                yield from self._resample(self._decoding)
        except AudioError:
            audio.check_unchanged()  # a file that is being rewritten looks damaged
            raise
        audio.check_unchanged()

    def _resample(self, decoding: Decoding) -> Iterator[dict[int, Float32]]:
        resamplers: dict[int, Resampler] = {}
        for block in decoding:
            if not resamplers:
                sr_hz = decoding.facts(0).sr_hz
                resamplers = {
                    rate_hz: make_resampler(self._resampler, sr_in_hz=sr_hz, sr_out_hz=rate_hz)
                    for rate_hz in self._rates_hz
                }
            y = to_mono(block)
            yield {rate_hz: resampler.push(y) for rate_hz, resampler in resamplers.items()}
        yield from _in_blocks({rate_hz: r.flush() for rate_hz, r in resamplers.items()})

    def _load_with_essentia(
        self, audio: LocalAudio, decoding: Decoding
    ) -> Iterator[dict[int, Float32]]:
        for _ in decoding:
            pass  # limits, status and native rate
        quality = quality_of(self._resampler) or 0
        clip = (self._track.start_s, self._track.end_s)
        sr_hz = decoding.facts(0).sr_hz
        self._n_samples = clip_length(count_samples(audio.path), *clip, sr_hz=sr_hz)
        signals = {}
        for rate_hz in self._rates_hz:
            first, end = sample_bounds(*clip, sr_hz=rate_hz)
            y = load_mono(audio.path, rate_hz=rate_hz, quality=quality)
            signals[rate_hz] = y[first:end]
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


def _in_blocks(signals: Mapping[int, Float32]) -> Iterator[dict[int, Float32]]:
    longest = max((len(y) for y in signals.values()), default=0)
    for start in range(0, longest, BLOCK_SAMPLES):
        yield {rate_hz: y[start : start + BLOCK_SAMPLES] for rate_hz, y in signals.items()}


def check_request(rates_hz: Sequence[int], *, decoder: str, resampler: str) -> None:
    """Refuse what no stream can give, before there is a track.

    Parameters
    ----------
    rates_hz : sequence of int
        Rates of the models.
    decoder, resampler : str
        Names, as `MonoStream` takes them.

    Raises
    ------
    ConfigError
        If a name is not known, a rate is not positive, there is none, or the resampler is not
        one of the decoder's.
    EngineError
        If Essentia is asked for and not installed.
    """
    check_resampler(resampler)
    if decoder not in DECODERS:
        raise ConfigError(f"decoder={decoder!r} is not known", fix=f"use one of {DECODERS}")
    if not rates_hz or min(rates_hz) <= 0:
        raise ConfigError(f"rates_hz={list(rates_hz)} must be positive, and at least one")
    if decoder == "essentia" and quality_of(resampler) is None:
        raise ConfigError(
            f"resampler={resampler!r} does not go with decoder='essentia'",
            fix="use one of essentia-q0 (best) to essentia-q4",
        )
    if quality_of(resampler) is not None:
        essentia_standard()
