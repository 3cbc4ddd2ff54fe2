"""Frames of tracks packed into bounded chunks, and shards decoded into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.features.front_end import front_end
from embedlib.records import DecodedTrack, FeatureChunk, Shard, Status, Track
from embedlib.run.decoding import ChunkPacker, decode_shard
from embedlib.run.job import DecodeJob

MEL = front_end("musicnn-mel")
FRAME_BYTES = 4 * MEL.n_bands

# Lengths of the pieces in which the frames of each track come.
pieces = st.lists(st.lists(st.integers(0, 12), max_size=4), max_size=6)


def pack(tracks: list[list[int]], *, max_frames: int) -> tuple[np.ndarray, list[FeatureChunk]]:
    """Pack numbered frames of some tracks; also gives all frames, one after the other."""
    n_frames = sum(map(sum, tracks))
    frames = np.arange(n_frames * MEL.n_bands, dtype=np.float32).reshape(n_frames, MEL.n_bands)
    packer = ChunkPacker(MEL, max_bytes=max_frames * FRAME_BYTES)
    chunks, start = [], 0
    for index, lengths in enumerate(tracks):
        for length in lengths:
            chunks += packer.add(index, frames[start : start + length])
            start += length
        packer.end(DecodedTrack(index, Status.OK))
    return frames, [*chunks, *packer.rest()]


@given(pieces, st.integers(1, 20))
def test_chunks_hold_all_frames_in_their_order(tracks: list[list[int]], max_frames: int) -> None:
    frames, chunks = pack(tracks, max_frames=max_frames)
    packed = [chunk.frames for chunk in chunks]
    assert np.array_equal(np.concatenate([frames[:0], *packed]), frames)


@given(pieces, st.integers(1, 20))
def test_no_chunk_is_larger_than_its_bound_and_all_but_the_last_are_full(
    tracks: list[list[int]], max_frames: int
) -> None:
    _, chunks = pack(tracks, max_frames=max_frames)
    assert all(len(chunk.frames) == max_frames for chunk in chunks[:-1])
    assert all(len(chunk.frames) <= max_frames for chunk in chunks)


@given(pieces, st.integers(1, 20))
def test_segments_say_whose_frames_they_are(tracks: list[list[int]], max_frames: int) -> None:
    _, chunks = pack(tracks, max_frames=max_frames)
    counted = [0] * len(tracks)
    for chunk in chunks:
        assert sum(segment.n_frames for segment in chunk.segments) == len(chunk.frames)
        for segment in chunk.segments:
            counted[segment.index] += segment.n_frames
    assert counted == [sum(lengths) for lengths in tracks]


@given(pieces, st.integers(1, 20))
def test_each_track_ends_once_and_not_before_its_frames(
    tracks: list[list[int]], max_frames: int
) -> None:
    _, chunks = pack(tracks, max_frames=max_frames)
    ended: list[int] = []
    for chunk in chunks:
        assert not {segment.index for segment in chunk.segments} & set(ended)
        ended += [decoded.index for decoded in chunk.ended]
    assert ended == list(range(len(tracks)))


def test_a_bound_below_one_frame_still_lets_frames_through() -> None:
    packer = ChunkPacker(MEL, max_bytes=1)
    assert len(list(packer.add(0, np.zeros((3, MEL.n_bands), np.float32)))) == 3


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    """Two songs of five seconds with a text between them."""
    for name in ("a.wav", "c.wav"):
        write_audio(tmp_path / name, synthesise_music(5.0, sr_hz=16_000), sr_hz=16_000)
    (tmp_path / "b.wav").write_text("This is not music.")
    names = ("a.wav", "b.wav", "c.wav")
    return Shard("s", tuple(Track(name, str(tmp_path / name), -1, "") for name in names), 10.0)


def job(*front_ends: str, chunk_bytes: int) -> DecodeJob:
    limits = AudioLimits(max_duration_s=3600.0, cpu_deadline_s=60.0)
    return DecodeJob(front_ends or (MEL.name,), "pyav", "soxr-hq", limits, chunk_bytes)


def test_a_shard_gives_the_same_frames_in_chunks_of_any_size(shard: Shard) -> None:
    small, large = (
        list(decode_shard(shard, job(chunk_bytes=n_bytes))) for n_bytes in (5_000, 1 << 20)
    )
    assert len(small) > len(large) == 1
    assert max(chunk.frames.nbytes for chunk in small) <= 5_000
    assert np.array_equal(np.concatenate([chunk.frames for chunk in small]), large[0].frames)


def test_a_track_that_fails_is_a_status_in_the_stream_and_the_next_ones_follow(
    shard: Shard,
) -> None:
    (chunk,) = decode_shard(shard, job(chunk_bytes=1 << 20))
    assert [decoded.status for decoded in chunk.ended] == ["ok", "undecodable", "ok"]
    assert [segment.index for segment in chunk.segments] == [0, 2]
    assert "b.wav" in chunk.ended[1].error


def test_equal_songs_have_equal_frames(shard: Shard) -> None:
    (chunk,) = decode_shard(shard, job(chunk_bytes=1 << 20))
    n_frames = chunk.segments[0].n_frames
    assert n_frames == MEL.n_frames(5 * 16_000)
    assert np.array_equal(chunk.frames[:n_frames], chunk.frames[n_frames:])


def test_chunks_of_a_waveform_are_bounded_like_all_others(shard: Shard) -> None:
    chunks = list(decode_shard(shard, job("mono-48k", "stereo-44k", chunk_bytes=100_000)))
    assert max(chunk.frames.nbytes for chunk in chunks) <= 100_000
    for name, n_channels, sr_hz in (("mono-48k", 1, 48_000), ("stereo-44k", 2, 44_100)):
        frames = np.concatenate([chunk.frames for chunk in chunks if chunk.front_end == name])
        assert frames.shape == (2 * 5 * sr_hz, n_channels)


def test_each_track_ends_once_for_each_front_end(shard: Shard) -> None:
    names = ("mono-48k", "musicnn-mel", "stereo-44k")
    chunks = list(decode_shard(shard, job(*names, chunk_bytes=100_000)))
    for name in names:
        ended = [each for chunk in chunks if chunk.front_end == name for each in chunk.ended]
        assert [decoded.index for decoded in ended] == [0, 1, 2]
        assert [decoded.status for decoded in ended] == ["ok", "undecodable", "ok"]
