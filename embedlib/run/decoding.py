"""From a shard to chunks of frames: each file decoded once, each front end run once.

A track that fails is part of the stream: the chunk that ends it carries its status, and whatever
frames of it went out before are void.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from embedlib.audio.waveform import AudioStream, as_failure
from embedlib.catalog.duplicates import is_duplicate
from embedlib.catalog.uris import is_url
from embedlib.errors import AudioError
from embedlib.features.front_end import FrontEnd, front_end
from embedlib.records import (
    DecodedTrack,
    DecodeStats,
    FeatureChunk,
    Float32,
    Segment,
    Shard,
    Signal,
    Status,
    Track,
)
from embedlib.run.deadline import bounded
from embedlib.run.job import DecodeJob
from embedlib.run.memory import within_memory
from embedlib.run.points import Point, reach

CHUNK_BYTES = 4 << 20
"""Frames per chunk: what one costs the driver and Ray hardly hangs on its size. All eight models on
two cores take 0.93 of the time that they take with 1 MiB, MusiCNN on one core 0.95."""

_TAKEN = "another file of the listing has this id; give each a track_id in a manifest"

_Blocks = Mapping[Signal, Float32]


class ChunkPacker:
    """Collect frames of one front end, of one track after the other, into bounded chunks.

    Parameters
    ----------
    front_end : FrontEnd
        Who makes the frames.
    max_bytes : int > 0
        Bound on the frames of a chunk.
    """

    def __init__(self, front_end: FrontEnd, *, max_bytes: int) -> None:
        self._name = front_end.name
        self._n_bands = front_end.n_bands
        self._max_frames = max(1, max_bytes // (4 * front_end.n_bands))
        self._reset()

    def _reset(self) -> None:
        self._frames: list[Float32] = []
        self._segments: list[Segment] = []
        self._ended: list[DecodedTrack] = []
        self._n_frames = 0

    def add(self, index: int, frames: Float32) -> Iterator[FeatureChunk]:
        """Take frames of a track and give the chunks that they fill.

        Parameters
        ----------
        index : int
            Position of the track in its shard.
        frames : np.ndarray [shape=(n_frames, n_bands), float32]
            Its next frames; possibly none.

        Yields
        ------
        chunk : FeatureChunk
            Full chunks.
        """
        while len(frames):
            head = frames[: self._max_frames - self._n_frames]
            frames = frames[len(head) :]
            self._frames.append(head)
            self._count(index, len(head))
            if self._n_frames == self._max_frames:
                yield self._pack()

    def end(self, decoded: DecodedTrack) -> None:
        """Note that no more frames of a track will come.

        Parameters
        ----------
        decoded : DecodedTrack
            How the track ended.
        """
        self._ended.append(decoded)

    def rest(self) -> Iterator[FeatureChunk]:
        """Give what is left, if anything.

        Yields
        ------
        chunk : FeatureChunk
            The last chunk.
        """
        if self._n_frames or self._ended:
            yield self._pack()

    def _count(self, index: int, n_frames: int) -> None:
        self._n_frames += n_frames
        if self._segments and self._segments[-1].index == index:
            n_frames += self._segments.pop().n_frames
        self._segments.append(Segment(index, n_frames))

    def _pack(self) -> FeatureChunk:
        frames = (
            np.concatenate(self._frames)
            if self._frames
            else np.empty((0, self._n_bands), np.float32)
        )
        chunk = FeatureChunk(self._name, frames, tuple(self._segments), tuple(self._ended))
        self._reset()
        return chunk


def decode_shard(shard: Shard, job: DecodeJob) -> Generator[FeatureChunk, None, DecodeStats]:
    """Decode the tracks of a shard, one after the other.

    Parameters
    ----------
    shard : Shard
        What to decode.
    job : DecodeJob
        How.

    Yields
    ------
    chunk : FeatureChunk
        At most ``job.chunk_bytes`` of frames of one front end. Per front end the chunks are in
        order, and each track of the shard ends in exactly one of them.

    Returns
    -------
    stats : DecodeStats
        What it took: the value of the generator.
    """
    reach(Point.BEFORE_DECODE, shard.shard_id)
    decoder = _ShardDecoder(job)
    decode_s, started_s = 0.0, time.perf_counter()
    for number, chunk in enumerate(decoder.chunks(shard)):
        if number:
            reach(Point.BETWEEN_CHUNKS, shard.shard_id)
        decode_s += time.perf_counter() - started_s
        yield chunk
        started_s = time.perf_counter()  # what the taker did meanwhile is not decoding
    return replace(decoder.stats(), decode_s=decode_s + time.perf_counter() - started_s)


class _ShardDecoder:
    """The front ends of a run, their packers, and what they have done."""

    def __init__(self, job: DecodeJob) -> None:
        self._job = job
        self._front_ends = [front_end(name) for name in job.front_ends]
        self._packers = [ChunkPacker(fe, max_bytes=job.chunk_bytes) for fe in self._front_ends]
        self._n_resamplings = 0
        self._sources_hz: list[int] = []

    def chunks(self, shard: Shard) -> Iterator[FeatureChunk]:
        reasons = {crash.index: crash.reason for crash in self._job.skip}
        for index, track in enumerate(shard.tracks):
            if reason := reasons.get(index):
                self._end(DecodedTrack(index, Status.CRASHED, error=reason))
            elif is_duplicate(track):
                self._end(DecodedTrack(index, Status.DUPLICATE_ID, error=_TAKEN))
            else:
                yield from self.track(index, track)
        yield from self.rest()

    def track(self, index: int, track: Track) -> Iterator[FeatureChunk]:
        job = self._job
        signals = [fe.signal for fe in self._front_ends]
        audio = AudioStream(
            track,
            signals=signals,
            decoder=job.decoder,
            resampler=job.resampler,
            limits=job.limits,
            allowed=job.allowed,
        )
        try:
            with audio:
                yield from self._frames(index, self._steps(audio, track))
            decoded = audio.decoded(index)
        except AudioError as exc:
            decoded = as_failure(audio.decoded(index), exc)
        self._end(decoded)
        self._n_resamplings += audio.n_resamplings
        if decoded.sr_hz:
            self._sources_hz.append(decoded.sr_hz)

    def _end(self, decoded: DecodedTrack) -> None:
        for packer in self._packers:
            packer.end(decoded)

    def _steps(self, audio: AudioStream, track: Track) -> Iterable[_Blocks]:
        job, steps = self._job, iter(audio)
        if job.step_memory_bytes:
            steps = within_memory(steps, n_bytes=job.step_memory_bytes)
        if not job.is_expendable:
            return steps
        deadline_s = job.limits.cpu_deadline_s
        return bounded(steps, deadline_s=deadline_s, is_by_clock=not is_url(track.uri))

    def _frames(self, index: int, steps: Iterable[_Blocks]) -> Iterator[FeatureChunk]:
        streams = [fe.stream() for fe in self._front_ends]
        for blocks in steps:
            for fe, stream, packer in zip(self._front_ends, streams, self._packers, strict=True):
                yield from packer.add(index, stream.push(blocks[fe.signal]))
        for stream, packer in zip(streams, self._packers, strict=True):
            yield from packer.add(index, stream.flush())

    def rest(self) -> Iterator[FeatureChunk]:
        for packer in self._packers:
            yield from packer.rest()

    def stats(self) -> DecodeStats:
        passes = (
            (fe.name, len(self._sources_hz), sum(sr_hz != fe.sr_hz for sr_hz in self._sources_hz))
            for fe in self._front_ends
        )
        return DecodeStats(len(self._sources_hz), self._n_resamplings, tuple(passes))
