"""Arrays: the frames that a file of the same samples gives, or a reason why there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.errors import ConfigError, EmptyAudioError, NonfiniteError
from embedlib.features.front_end import front_end
from embedlib.records import FeatureChunk, Float32, Shard, Track
from embedlib.run.arrays import array_chunk
from embedlib.run.decoding import decode_shard
from embedlib.run.job import DecodeJob

SR_HZ = 44_100


def chunk_of(
    samples: Float32, *, sr_hz: int | None = SR_HZ, name: str = "musicnn-mel"
) -> FeatureChunk:
    return array_chunk(
        samples, sr_hz=sr_hz, index=2, front_end=front_end(name), resampler="soxr-hq"
    )


def noise(n_channels: int, rng: np.random.Generator) -> Float32:
    return rng.uniform(-1, 1, (n_channels, 2 * SR_HZ)).astype(np.float32)


@pytest.mark.parametrize("name", ["musicnn-mel", "stereo-44k"])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_an_array_gives_the_frames_of_a_file_of_it(
    tmp_path: Path, rng: np.random.Generator, n_channels: int, name: str
) -> None:
    y = noise(n_channels, rng)
    write_audio(tmp_path / "y.wav", y, sr_hz=SR_HZ, codec="pcm_f32le")
    job = DecodeJob((name,), "pyav", "soxr-hq", AudioLimits(), chunk_bytes=1 << 30)
    (of_file,) = decode_shard(Shard("", (Track("y", str(tmp_path / "y.wav"), -1, ""),), 0.0), job)
    np.testing.assert_array_equal(chunk_of(y, name=name).frames, of_file.frames)


def test_the_end_of_the_track_tells_its_facts(rng: np.random.Generator) -> None:
    chunk = chunk_of(noise(2, rng))
    (segment,), (ended,) = chunk.segments, chunk.ended
    assert (segment.index, segment.n_frames) == (2, len(chunk.frames))
    assert (ended.index, ended.status, ended.duration_s) == (2, "ok", 2.0)
    assert (ended.sr_hz, ended.n_channels, ended.n_samples) == (SR_HZ, 2, 2 * SR_HZ)


def test_one_axis_is_one_channel(rng: np.random.Generator) -> None:
    y = noise(1, rng)
    np.testing.assert_array_equal(chunk_of(y[0]).frames, chunk_of(y).frames)


@pytest.mark.parametrize("sr_hz", [None, 0, -1])
def test_samples_without_a_rate_are_refused(sr_hz: int | None) -> None:
    with pytest.raises(ConfigError, match=f"sr={sr_hz} is given with samples; say their rate"):
        chunk_of(np.zeros(10, np.float32), sr_hz=sr_hz)


@pytest.mark.parametrize("shape", [(100, 2), (1, 2, 100)])
def test_other_axes_than_channels_and_samples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="are no audio; give"):
        chunk_of(np.zeros(shape, np.float32))


def test_integers_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"int16 do not lie in .* divide them"):
        chunk_of(np.zeros(10, np.int16))  # type: ignore[arg-type]


def test_no_samples_are_empty() -> None:
    with pytest.raises(EmptyAudioError, match="holds no sample"):
        chunk_of(np.zeros(0, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -3e38])
def test_samples_that_are_no_numbers_are_nonfinite(value: float) -> None:
    with pytest.raises(NonfiniteError, match="NaN or infinite"):
        chunk_of(np.array([0.0, value], np.float32))
