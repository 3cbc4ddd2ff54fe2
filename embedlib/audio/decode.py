"""Decode a local file, or a clip of it, within limits, and tell how that went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from embedlib.audio.blocks import BlockReader
from embedlib.audio.container import declared_duration_s, open_audio
from embedlib.audio.fetch import LocalAudio
from embedlib.audio.samples import ClipCutter
from embedlib.errors import (
    AudioDeadlineError,
    EmptyAudioError,
    TooLongAudioError,
    UndecodableAudioError,
)
from embedlib.records import DecodedTrack, Float32, Status

LACKING_S = 0.1
LACKING_SHARE = 0.01
"""How much of the declared length may be lacking, the larger of the two: a few codec frames of
encoder delay, and headers that were written from an estimate."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """How much one file may cost.

    Attributes
    ----------
    max_duration_s : float
        Seconds of audio; for a clip those of the clip. The default is half a day.
    cpu_deadline_s : float
        CPU seconds of decoding; time spent waiting or in the caller is not counted. The default
        is about three times what ten hours of FLAC at 192 kHz take. Hashing a local file before
        has the same limit.
    """

    max_duration_s: float = 43_200.0
    cpu_deadline_s: float = 600.0


class Decoding:
    """One pass over the audio of a file: iterate once for its blocks, ask `facts` at any time.

    Parameters
    ----------
    audio : LocalAudio
        The file.
    start_s, end_s : float or None
        The clip, in seconds; None means from the start, to the end. What lies before it is decoded
        and dropped, because seeking is not exact to the sample in every container.
    limits : AudioLimits or None
        Checked after each block and every few packets; None means the defaults.
    """

    def __init__(
        self,
        audio: LocalAudio,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        limits: AudioLimits | None = None,
    ) -> None:
        self._audio = audio
        self._start_s = start_s
        self._end_s = end_s
        self._limits = limits or AudioLimits()
        self._declared_s: float | None = None
        self._reader: BlockReader | None = None
        self._cutter: ClipCutter | None = None
        self._is_finished = False

    def facts(self, index: int) -> DecodedTrack:
        """Tell what is known by now; all of it once the last block is out.

        Parameters
        ----------
        index : int
            Position of the track in its shard.

        Returns
        -------
        decoded : DecodedTrack
            Its `status` is ``ok``, ``damaged`` or ``truncated``; that of an error is the caller's
            to add, see `embedlib.audio.waveform.as_failure`.
        """
        size, content_hash = self._audio.size, self._audio.content_hash
        reader = self._reader
        if reader is None:
            return DecodedTrack(index, Status.OK, size=size, content_hash=content_hash)
        expected_s = self._declared_s if self._end_s is None else self._end_s
        status, error = verdict(
            expected_s=expected_s if self._is_finished else None,
            reached_s=reader.reached_s,
            n_bad_packets=reader.n_bad_packets,
        )
        return DecodedTrack(
            index=index,
            status=status,
            error=error,
            duration_s=self._duration_s,
            sr_hz=reader.sr_hz,
            n_channels=reader.n_channels,
            n_samples=self._n_samples,
            n_bad_packets=reader.n_bad_packets,
            size=size,
            content_hash=content_hash,
        )

    def __iter__(self) -> Iterator[Float32]:
        """Decode.

        Yields
        ------
        block : np.ndarray [shape=(n_channels, n_samples), float32]
            At most `embedlib.audio.blocks.BLOCK_SAMPLES` long; integer formats in [-1, 1).

        Raises
        ------
        UndecodableAudioError
            If no demuxer knows the file, it has no audio, or nothing of it decodes.
        EmptyAudioError
            If it is well formed and holds no sample, or none within the clip.
        TooLongAudioError
            If it is longer than the limit, as soon as that is known.
        AudioDeadlineError
            If decoding takes more CPU time than the limit.
        NonfiniteError
            If float samples are NaN, infinite or beyond all reason.
        """
        if self._audio.size == 0:
            raise EmptyAudioError(f"{self._audio.name} has no bytes", fix="leave it out")
        spent_s, began_s = 0.0, time.thread_time()
        for block in self._steps():
            spent_s += time.thread_time() - began_s
            self._check_duration(self._duration_s)
            self._check_deadline(spent_s)
            if block is not None and block.size:
                yield block
            began_s = time.thread_time()
        self._is_finished = True

    def _steps(self) -> Iterator[Float32 | None]:
        """Decode and cut; None where there is no block yet, so that the limits are looked at."""
        with open_audio(self._audio) as (container, stream):
            self._declared_s = declared_duration_s(container, stream, self._audio.path)
            self._check_declared_duration()
            self._reader = reader = BlockReader(container, stream)
            for block in reader:
                yield None if block is None else self._cut(block, reader.sr_hz)
                if self._cutter is not None and self._cutter.is_past_end:
                    break
            self._check_not_empty(reader, header_sr_hz=stream.rate)

    def _cut(self, block: Float32, sr_hz: int) -> Float32:
        if self._cutter is None:
            self._cutter = ClipCutter(self._start_s, self._end_s, sr_hz=sr_hz)
        return self._cutter.cut(block)

    @property
    def _n_samples(self) -> int:
        return 0 if self._cutter is None else self._cutter.n_samples

    @property
    def _duration_s(self) -> float:
        return self._n_samples / self._reader.sr_hz if self._reader and self._n_samples else 0.0

    def _check_declared_duration(self) -> None:
        ends_s = [end_s for end_s in (self._declared_s, self._end_s) if end_s is not None]
        if ends_s:
            self._check_duration(min(ends_s) - (self._start_s or 0.0))

    def _check_duration(self, duration_s: float) -> None:
        if duration_s > self._limits.max_duration_s:
            raise TooLongAudioError(
                f"{self._audio.name} has at least {duration_s:.1f} s of audio, more than "
                f"max_duration_s={self._limits.max_duration_s:g}",
                fix="raise the limit or cut it into clips",
            )

    def _check_deadline(self, spent_s: float) -> None:
        if spent_s > self._limits.cpu_deadline_s:
            raise AudioDeadlineError(
                f"{self._audio.name} took {spent_s:.3g} s of CPU time to decode, more than "
                f"cpu_deadline_s={self._limits.cpu_deadline_s:g}",
                fix="raise the limit",
            )

    def _check_not_empty(self, reader: BlockReader, *, header_sr_hz: int) -> None:
        if self._n_samples:
            return
        name = self._audio.name
        if reader.n_samples:
            raise EmptyAudioError(
                f"{name} ends at {reader.reached_s:.3f} s and has nothing in its clip from "
                f"start_s={self._start_s} to end_s={self._end_s}",
                fix="correct the times of the clip",
            )
        if reader.n_bad_packets or not header_sr_hz:
            raise UndecodableAudioError(
                f"{name} has no packet that decodes, {reader.n_bad_packets} bad ones",
                fix="leave it out",
            )
        raise EmptyAudioError(f"{name} holds no sample", fix="leave it out")


def verdict(
    *, expected_s: float | None, reached_s: float, n_bad_packets: int
) -> tuple[Status, str]:
    """Judge a track that was decoded to its end.

    Parameters
    ----------
    expected_s : float or None
        Where the audio should end, by the header or by the clip; None when nothing says so.
    reached_s : float
        Where the last good frame ends.
    n_bad_packets : int
        Packets that were left out.

    Returns
    -------
    status : Status
        ``truncated`` if the end is lacking, else ``damaged`` if packets are, else ``ok``.
    error : str
        Why, for people.

    Examples
    --------
    >>> verdict(expected_s=10.0, reached_s=9.95, n_bad_packets=0)
    (<Status.OK: 'ok'>, '')
    >>> verdict(expected_s=10.0, reached_s=5.0, n_bad_packets=1)
    (<Status.TRUNCATED: 'truncated'>, 'ends at 5.000 s instead of 10.000 s')
    """
    if expected_s is not None:
        tolerated_s = max(LACKING_S, LACKING_SHARE * expected_s)
        if expected_s - reached_s > tolerated_s:
            return Status.TRUNCATED, f"ends at {reached_s:.3f} s instead of {expected_s:.3f} s"
    if n_bad_packets:
        return Status.DAMAGED, f"{n_bad_packets} packets did not decode and were left out"
    return Status.OK, ""
