"""Samples: scaled exactly, mixed by their mean, cut where the clip says."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.audio.samples import ClipCutter, clip_length, sample_bounds, to_float32, to_mono


@pytest.mark.parametrize(
    ("dtype", "lowest", "zero"),
    [("uint8", 0, 128), ("int16", -(2**15), 0), ("int32", -(2**31), 0), ("int64", -(2**63), 0)],
)
def test_the_lowest_integer_is_minus_one_and_the_middle_is_zero(
    dtype: str, lowest: int, zero: int
) -> None:
    y = to_float32(np.array([lowest, zero], dtype=dtype))
    assert y.dtype == np.float32
    assert y.tolist() == [-1.0, 0.0]


def test_sixteen_bits_survive_the_way_to_float_and_back() -> None:
    samples = np.arange(-(2**15), 2**15).astype(np.int16)
    np.testing.assert_array_equal((to_float32(samples) * 2**15).astype(np.int16), samples)


def test_twenty_four_bits_in_thirty_two_are_exact() -> None:
    samples = np.array([1, -1, 2**23 - 1, -(2**23)], dtype=np.int32) * 256
    assert to_float32(samples).tolist() == [2**-23, -(2**-23), 1 - 2**-23, -1.0]


def test_float_samples_beyond_one_are_kept() -> None:
    assert to_float32(np.array([1.5, -2.0])).tolist() == [1.5, -2.0]


def test_a_double_too_large_for_float_becomes_infinite() -> None:
    assert np.isinf(to_float32(np.array([1e300]))).all()


def test_packed_samples_come_out_contiguous() -> None:
    packed = np.arange(6, dtype=np.int16).reshape(3, 2)
    assert to_float32(packed.T).flags.c_contiguous


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 6])
def test_mono_is_the_mean_of_the_channels(n_channels: int, rng: np.random.Generator) -> None:
    block = rng.uniform(-1, 1, (n_channels, 100)).astype(np.float32)
    y = to_mono(block)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, block.mean(axis=0, dtype=np.float64), atol=1e-7)


def test_a_time_falls_on_the_nearest_sample() -> None:
    assert sample_bounds(1 / 3, 2 / 3, sr_hz=44_100) == (14_700, 29_400)


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [(None, None, 100), (2.0, None, 80), (None, 3.0, 30), (9.0, 12.0, 10), (11.0, 12.0, 0)],
)
def test_a_clip_is_as_long_as_what_lies_in_the_signal(
    start_s: float | None, end_s: float | None, expected: int
) -> None:
    assert clip_length(100, start_s, end_s, sr_hz=10) == expected


@pytest.mark.parametrize("n_block", [1, 3, 7, 100])
def test_a_clip_does_not_depend_on_the_blocks(n_block: int) -> None:
    signal = np.arange(100, dtype=np.float32)[np.newaxis]
    cutter = ClipCutter(1.5, 6.2, sr_hz=10)
    kept = [cutter.cut(signal[:, i : i + n_block]) for i in range(0, 100, n_block)]
    assert np.concatenate(kept, axis=1).tolist() == signal[:, 15:62].tolist()
    assert cutter.n_samples == 47


def test_a_clip_is_past_its_end_with_its_last_sample() -> None:
    cutter = ClipCutter(None, 0.5, sr_hz=4)
    cutter.cut(np.zeros((1, 1), np.float32))
    assert not cutter.is_past_end
    cutter.cut(np.zeros((1, 1), np.float32))
    assert cutter.is_past_end
