"""Signals: mixed before resampling, resampled once, stereo only where there is left and right."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.audio.resample import make_resampler
from embedlib.audio.samples import to_mono
from embedlib.audio.signals import SignalMixer, count_resamplings
from embedlib.records import Float32, Signal

MONO, STEREO = Signal(16_000), Signal(16_000, 2)


def mixed(block: Float32, *signals: Signal, sr_hz: int = 44_100) -> dict[Signal, Float32]:
    mixer = SignalMixer(signals, sr_hz=sr_hz, n_channels=len(block))
    pushed, flushed = mixer.push(block), mixer.flush()
    return {key: np.concatenate([pushed[key], flushed[key]], axis=-1) for key in pushed}


def noise(n_channels: int, rng: np.random.Generator) -> Float32:
    return rng.uniform(-1, 1, (n_channels, 5_000)).astype(np.float32)


@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_mono_is_mixed_before_it_is_resampled(n_channels: int, rng: np.random.Generator) -> None:
    block = noise(n_channels, rng)
    resampler = make_resampler("soxr-hq", sr_in_hz=44_100, sr_out_hz=16_000)
    expected = np.concatenate([resampler.push(to_mono(block)), resampler.flush()])
    np.testing.assert_array_equal(mixed(block, MONO, STEREO)[MONO], expected)


def test_the_mean_of_stereo_is_mono(rng: np.random.Generator) -> None:
    signals = mixed(noise(2, rng), MONO, STEREO)
    np.testing.assert_allclose(signals[STEREO].mean(axis=0), signals[MONO], atol=1e-6)


def test_swapped_channels_come_out_swapped(rng: np.random.Generator) -> None:
    block = noise(2, rng)
    swapped = mixed(block[::-1], STEREO)[STEREO]
    np.testing.assert_array_equal(swapped, mixed(block, STEREO)[STEREO][::-1])


@pytest.mark.parametrize("n_channels", [1, 3, 5])
def test_what_is_not_stereo_gives_equal_channels(n_channels: int, rng: np.random.Generator) -> None:
    signals = mixed(noise(n_channels, rng), STEREO, MONO)
    np.testing.assert_array_equal(signals[STEREO], [signals[MONO], signals[MONO]])


@pytest.mark.parametrize(
    ("n_channels", "sr_hz", "n_resamplings"),
    [(1, 44_100, 1), (2, 44_100, 2), (6, 44_100, 1), (2, 16_000, 0)],
)
def test_one_resampling_serves_all_signals_that_are_the_same_mix(
    n_channels: int, sr_hz: int, n_resamplings: int
) -> None:
    mixer = SignalMixer([MONO, STEREO, MONO], sr_hz=sr_hz, n_channels=n_channels)
    assert mixer.n_resamplings == n_resamplings


def test_only_other_rates_are_counted() -> None:
    assert count_resamplings([MONO, STEREO, Signal(48_000)], sr_hz=48_000) == 2
