"""Decode one open stream to blocks of float32 samples, leaving out what does not decode."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from embedlib.audio.samples import check_samples, to_float32
from embedlib.errors import UndecodableAudioError
from embedlib.records import Float32

BLOCK_SAMPLES = 65_536
"""Most samples per channel in one block: 1.5 s of CD audio, 0.5 MB in stereo."""


MAX_GAP_S = 0.02
"""A longer step on the time line between two frames is a frame that got lost: less than one of MP3
or AAC at 44.1 kHz, far more than the milliseconds to which Matroska rounds."""

MIN_SR_HZ, MAX_SR_HZ = 1_000, 1_000_000
MAX_CHANNELS = 64
"""What a header may claim: a few samples at 1 Hz are hours after resampling, and a gigabyte."""

PACKETS_PER_LOOK = 16
"""Packets between two looks at the clock: a look takes 5 us, the decoding of one of MP3 20 us."""

FFMPEG_PLANES = 8
"""``AV_NUM_DATA_POINTERS``. From here on PyAV 18 counts planes beyond the end of their list and
hands out memory that is none of the frame's, so FFmpeg has to interleave the channels first."""

WIDE_INTEGERS = frozenset({"s64", "s64p"})
"""Formats that PyAV 18 hands out no array of."""


class BlockReader:
    """One pass over an audio stream, with a count of what was read.

    Counted as a bad packet is what does not decode, or has a wrong checksum; a gap on the time
    line, where a demuxer skipped over bytes that it did not understand; a frame, left out, whose
    rate, channels or sample format differ from those of the first one: the models want one
    waveform, and only damaged or chained files change it; and samples that the header of a FLAC
    file states and that are not in it, if nothing else tells of them.

    Parameters
    ----------
    container : av.container.InputContainer
        Open, at its beginning.
    stream : av.audio.stream.AudioStream
        One of its streams.

    Attributes
    ----------
    sr_hz, n_channels : int
        Of the first frame; zero before it.
    n_samples : int
        Decoded by now, per channel.
    n_bad_packets : int
        Packets left out by now, and frames and gaps as above.
    reached_s : float
        Where the last good frame ends on the time line of the stream. A lost packet moves it on,
        a missing end does not.
    """

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        self._container = container
        self._stream = stream
        self._fifo = av.AudioFifo()  # gathers frames three times as fast as NumPy does
        self._first: AudioFrame | None = None
        # Elsewhere the length is rounded, an estimate, or not that of what the decoder gives.
        self._n_declared = (stream.duration or 0) if container.format.name == "flac" else 0
        # Read once: as fractions, for each frame, they would take a tenth of the decoding time.
        self._tick_s = float(stream.time_base or 0)
        self._first_tick = stream.start_time or 0
        self.sr_hz = 0
        self.n_channels = 0
        self.n_samples = 0
        self.n_bad_packets = 0
        self.reached_s = 0.0
        self._is_gap_counted = True  # the first frame need not begin at zero

    def __iter__(self) -> Iterator[Float32 | None]:
        """Decode to the end.

        Yields
        ------
        block : np.ndarray [shape=(n_channels, n_samples), float32] or None
            At most `BLOCK_SAMPLES` long; None after `PACKETS_PER_LOOK` packets, a moment to look
            at the clock.

        Raises
        ------
        UndecodableAudioError
            If rate or channels are not those of audio.
        NonfiniteError
            If float samples are NaN, infinite or beyond all reason.
        """
        for number, packet in enumerate(self._packets(), start=1):
            for frame in self._frames(packet):
                self._queue(frame)
            yield from map(self._convert, self._fifo.read_many(BLOCK_SAMPLES))
            if number % PACKETS_PER_LOOK == 0:
                yield None
        yield from map(self._convert, self._fifo.read_many(BLOCK_SAMPLES, partial=True))
        self._compare_with_header()

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Read to the end, or to where the container makes no sense any more."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            self._count_bad_packet()

    def _frames(self, packet: Packet[AudioStream]) -> list[AudioFrame]:
        try:
            return self._stream.decode(packet)
        except av.FFmpegError:
            self._count_bad_packet()
            return []

    def _compare_with_header(self) -> None:
        """Count what a FLAC file lost without a sign.

        Where the header of a frame is damaged, FFmpeg's parser hands it on behind the one before
        it, in one packet, and PyAV 18 keeps an error to itself that follows a good frame. The gap
        on the time line then tells, but there is none at the end, nor after the first packet.
        """
        if 0 < self.n_samples < self._n_declared and not self.n_bad_packets:
            self._count_bad_packet()

    def _count_bad_packet(self) -> None:
        self.n_bad_packets += 1
        self._is_gap_counted = True

    def _queue(self, frame: AudioFrame) -> None:
        if self._first is None:
            _check_plausible(frame)
            self._first = frame
            self.sr_hz, self.n_channels = frame.sample_rate, frame.layout.nb_channels
        if not _same_format(frame, self._first):
            self._count_bad_packet()
            return
        self._count(frame)
        frame.pts = None  # the queue refuses the gap that a lost packet leaves
        self._fifo.write(frame)

    def _count(self, frame: AudioFrame) -> None:
        start_s = self._start_s(frame)
        if start_s - self.reached_s > MAX_GAP_S and not self._is_gap_counted:
            self._count_bad_packet()
        self._is_gap_counted = False
        self.n_samples += frame.samples
        self.reached_s = start_s + frame.samples / self.sr_hz

    def _start_s(self, frame: AudioFrame) -> float:
        """Place a frame on the time line; after the one before it where nothing is stated."""
        if frame.pts is None or not self._tick_s:
            return self.reached_s
        return (frame.pts - self._first_tick) * self._tick_s

    def _convert(self, frame: AudioFrame) -> Float32:
        if frame.format.name in WIDE_INTEGERS:
            frame = _converted(frame, "dbl")
        elif frame.format.is_planar and self.n_channels >= FFMPEG_PLANES:
            frame = _converted(frame, frame.format.packed.name)
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(frame.samples, self.n_channels).T
        y = to_float32(samples)
        if samples.dtype.kind == "f":
            check_samples(y)
        return y


def _same_format(frame: AudioFrame, first: AudioFrame) -> bool:
    return (
        frame.sample_rate == first.sample_rate
        and frame.layout == first.layout
        and frame.format.name == first.format.name
    )


def _check_plausible(frame: AudioFrame) -> None:
    sr_hz, n_channels = frame.sample_rate, frame.layout.nb_channels
    if not (MIN_SR_HZ <= sr_hz <= MAX_SR_HZ and 0 < n_channels <= MAX_CHANNELS):
        raise UndecodableAudioError(
            f"sr_hz={sr_hz} with n_channels={n_channels} is not audio: at most {MAX_CHANNELS} "
            f"channels at {MIN_SR_HZ} to {MAX_SR_HZ} Hz are",
            fix="leave the file out",
        )


def _converted(frame: AudioFrame, sample_format: str) -> AudioFrame:
    """Give the same samples in another format, with interleaved channels."""
    (converted,) = av.AudioResampler(format=sample_format).resample(frame)
    return converted
