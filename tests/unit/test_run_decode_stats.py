"""What decoding a shard took, as its workers count it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import flip_bytes, synthesise_music
from embedlib.records import DecodeStats, FeatureChunk, Shard, Track
from embedlib.run.decoding import decode_shard
from embedlib.run.job import DecodeJob

MEL, VGGISH, STEREO, MONO = "musicnn-mel", "vggish-mel", "stereo-44k", "mono-44k"


def write_music(path: Path, *, sr_hz: int, n_channels: int = 1, duration_s: float = 1.0) -> Path:
    music = synthesise_music(duration_s, sr_hz=sr_hz, n_channels=n_channels)
    write_audio(path, music, sr_hz=sr_hz)
    return path


def decode(
    *paths: Path, front_ends: tuple[str, ...], max_duration_s: float = 3600.0
) -> tuple[list[FeatureChunk], DecodeStats]:
    """Give the chunks of a shard, and the value of the generator behind them."""
    tracks = tuple(Track(path.name, str(path), -1, "") for path in paths)
    limits = AudioLimits(max_duration_s=max_duration_s, cpu_deadline_s=60.0)
    job = DecodeJob(front_ends, "pyav", "soxr-hq", limits, 1 << 20)
    chunks, stream = [], decode_shard(Shard("s", tracks, 1.0), job)
    while True:
        try:
            chunks.append(next(stream))
        except StopIteration as end:
            return chunks, end.value


def test_front_ends_of_one_signal_share_its_resampling(tmp_path: Path) -> None:
    song = write_music(tmp_path / "a.wav", sr_hz=44_100)
    _, stats = decode(song, front_ends=(MEL, VGGISH))
    assert stats == DecodeStats(1, 1, ((MEL, 1, 1), (VGGISH, 1, 1)))


def test_a_file_at_the_rate_of_a_front_end_is_not_resampled(tmp_path: Path) -> None:
    songs = [write_music(tmp_path / f"{sr_hz}.wav", sr_hz=sr_hz) for sr_hz in (16_000, 44_100)]
    _, stats = decode(*songs, front_ends=(MEL, STEREO))
    assert stats == DecodeStats(2, 2, ((MEL, 2, 1), (STEREO, 2, 1)))


@pytest.mark.parametrize(("n_channels", "n_resamplings"), [(1, 1), (2, 2)])
def test_stereo_is_a_signal_of_its_own_only_where_a_file_has_two_channels(
    tmp_path: Path, n_channels: int, n_resamplings: int
) -> None:
    song = write_music(tmp_path / "a.wav", sr_hz=48_000, n_channels=n_channels)
    _, stats = decode(song, front_ends=(MONO, STEREO))
    assert stats.n_resamplings == n_resamplings
    assert stats.passes == ((MONO, 1, 1), (STEREO, 1, 1))


def test_a_damaged_file_counts_once(tmp_path: Path) -> None:
    hole = write_music(tmp_path / "hole.flac", sr_hz=22_050, n_channels=2, duration_s=3.0)
    flip_bytes(hole, n_bytes=2_000)
    chunks, stats = decode(hole, front_ends=(MEL, VGGISH))
    assert {decoded.status for chunk in chunks for decoded in chunk.ended} == {"damaged"}
    assert stats == DecodeStats(1, 1, ((MEL, 1, 1), (VGGISH, 1, 1)))


def test_files_that_gave_no_sample_were_not_decoded(tmp_path: Path) -> None:
    text = tmp_path / "text.mp3"
    text.write_text("This is not music.")
    long = write_music(tmp_path / "long.flac", sr_hz=44_100, duration_s=5.0)
    files = (text, tmp_path / "gone.wav", long)
    chunks, stats = decode(*files, front_ends=(MEL,), max_duration_s=2.0)
    statuses = [decoded.status for chunk in chunks for decoded in chunk.ended]
    assert statuses == ["undecodable", "missing", "too_long"]
    assert stats == DecodeStats(0, 0, ((MEL, 0, 0),))


def test_a_file_that_was_given_up_on_the_way_was_decoded(tmp_path: Path) -> None:
    y = np.zeros((1, 5 * 44_100), np.float32)
    y[0, -1] = np.nan
    write_audio(tmp_path / "a.wav", y, sr_hz=44_100, codec="pcm_f32le")
    chunks, stats = decode(tmp_path / "a.wav", front_ends=(MEL,))
    assert [decoded.status for chunk in chunks for decoded in chunk.ended] == ["nonfinite"]
    assert stats == DecodeStats(1, 1, ((MEL, 1, 1),))


def test_each_front_end_gives_what_it_gives_alone(tmp_path: Path) -> None:
    songs = [
        write_music(tmp_path / f"{sr_hz}.wav", sr_hz=sr_hz, n_channels=2)
        for sr_hz in (16_000, 48_000)
    ]
    together, _ = decode(*songs, front_ends=(MEL, VGGISH, STEREO))
    for name in (MEL, VGGISH, STEREO):
        alone, _ = decode(*songs, front_ends=(name,))
        frames = [chunk.frames for chunk in together if chunk.front_end == name]
        assert np.array_equal(
            np.concatenate(frames), np.concatenate([chunk.frames for chunk in alone])
        )
