"""Resampling: blocks do not show, lengths are known, tones stay tones."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import soxr

from embedlib.audio.essentia_loader import essentia_standard, quality_of
from embedlib.audio.resample import NAMES, make_resampler, resampled_length
from embedlib.errors import ConfigError, EngineError
from embedlib.records import Float32


def resampled(name: str, y: Float32, n_block: int, *, sr_in_hz: int, sr_out_hz: int) -> Float32:
    resampler = make_resampler(name, sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz)
    blocks = [resampler.push(y[i : i + n_block]) for i in range(0, len(y), n_block)]
    return np.concatenate([*blocks, resampler.flush()])


def tone(frequency_hz: float, sr_hz: int, duration_s: float = 0.5) -> Float32:
    t_s = np.arange(round(duration_s * sr_hz)) / sr_hz
    return np.sin(2 * np.pi * frequency_hz * t_s).astype(np.float32)


@pytest.mark.parametrize("n_block", [1_000, 1_024, 44_100])
def test_blocks_give_the_samples_of_one_call(n_block: int, rng: np.random.Generator) -> None:
    y = rng.uniform(-1, 1, 44_100).astype(np.float32)
    expected = soxr.resample(y, 44_100, 16_000, quality="HQ")
    blocks = resampled("soxr-hq", y, n_block, sr_in_hz=44_100, sr_out_hz=16_000)
    np.testing.assert_array_equal(blocks, expected)


@pytest.mark.parametrize("name", ["soxr-hq", "essentia-q0"])
@pytest.mark.parametrize("sr_in_hz", [8_000, 44_100, 96_000])
def test_a_tone_stays_a_tone(name: str, sr_in_hz: int) -> None:
    if name != "soxr-hq":
        pytest.importorskip("essentia")
    y = resampled(name, tone(440, sr_in_hz), 4_096, sr_in_hz=sr_in_hz, sr_out_hz=16_000)
    middle = slice(1_000, 7_000)
    np.testing.assert_allclose(y[middle], tone(440, 16_000)[middle], atol=2e-3)


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    y = resampled("soxr-hq", tone(12_000, 44_100), 4_096, sr_in_hz=44_100, sr_out_hz=16_000)
    assert np.abs(y[1_000:7_000]).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_equal_rates_change_nothing(name: str, rng: np.random.Generator) -> None:
    y = rng.uniform(-1, 1, 1_000).astype(np.float32)
    same = resampled(name, y, 300, sr_in_hz=16_000, sr_out_hz=16_000)
    np.testing.assert_array_equal(same, y)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sr_out_hz", [16_000, 44_100, 48_000])
def test_each_channel_of_stereo_gives_the_samples_that_it_gives_alone(
    name: str, sr_out_hz: int, rng: np.random.Generator
) -> None:
    if quality_of(name) is not None:
        pytest.importorskip("essentia")
    rates = {"sr_in_hz": 44_100, "sr_out_hz": sr_out_hz}
    y = rng.uniform(-1, 1, (2, 10_000)).astype(np.float32)
    resampler = make_resampler(name, **rates, n_channels=2)
    blocks = [resampler.push(y[:, :3_333]), resampler.push(y[:, 3_333:]), resampler.flush()]
    alone = [resampled(name, channel, 10_000, **rates) for channel in y]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), alone)


@pytest.mark.parametrize("n_samples", [0, 1, 2, 3])
def test_the_shortest_signals_have_the_length_of_the_rule(n_samples: int) -> None:
    y = resampled("soxr-hq", np.ones(n_samples, np.float32), 1, sr_in_hz=44_100, sr_out_hz=16_000)
    assert len(y) == resampled_length(n_samples, sr_in_hz=44_100, sr_out_hz=16_000)


def test_essentia_blocks_give_the_samples_of_its_own_call(rng: np.random.Generator) -> None:
    standard = pytest.importorskip("essentia.standard")
    y = rng.uniform(-1, 1, 44_100).astype(np.float32)
    expected = standard.Resample(inputSampleRate=44_100, outputSampleRate=16_000, quality=1)(y)
    blocks = resampled("essentia-q1", y, 1_000, sr_in_hz=44_100, sr_out_hz=16_000)
    np.testing.assert_array_equal(blocks, expected)


@pytest.mark.parametrize(
    ("name", "quality"), [("essentia-q0", 0), ("essentia-q4", 4), ("essentia-q5", None)]
)
def test_the_quality_is_in_the_name(name: str, quality: int | None) -> None:
    assert quality_of(name) == quality


@pytest.mark.parametrize("name", ["", "soxr", "essentia-q5", "essentia-q1 "])
def test_an_unknown_resampler_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not known; use one of soxr-hq, essentia-q0"):
        make_resampler(name, sr_in_hz=44_100, sr_out_hz=16_000)


@pytest.mark.parametrize(("sr_in_hz", "sr_out_hz"), [(0, 16_000), (44_100, -1)])
def test_a_rate_that_is_not_positive_is_refused(sr_in_hz: int, sr_out_hz: int) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        make_resampler("soxr-hq", sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz)


@pytest.mark.parametrize("n_channels", [0, -1])
def test_a_number_of_channels_that_is_not_positive_is_refused(n_channels: int) -> None:
    with pytest.raises(ConfigError, match=f"n_channels={n_channels} must be positive"):
        make_resampler("soxr-hq", sr_in_hz=44_100, sr_out_hz=16_000, n_channels=n_channels)


def test_without_essentia_its_resampler_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "essentia", None)
    essentia_standard.cache_clear()
    with pytest.raises(EngineError, match="pip install essentia-tensorflow"):
        make_resampler("essentia-q1", sr_in_hz=44_100, sr_out_hz=16_000)
