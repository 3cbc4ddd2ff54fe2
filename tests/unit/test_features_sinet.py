"""The FSD-SINet front end on signals with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features.mel import slaney_hz_to_mel
from embedlib.features.sinet import SinetFrontEnd, normalise, periodic_hamming
from embedlib.records import Signal

SINET = SinetFrontEnd()


def mel(y: np.ndarray) -> np.ndarray:
    stream = SINET.stream()
    return np.concatenate([stream.push(y), stream.flush()])


def test_it_listens_to_mono_at_22050_hz() -> None:
    assert SINET.signal == Signal(sr_hz=22050, n_channels=1)
    assert (SINET.frame_samples, SINET.hop_samples, SINET.n_bands) == (660, 220, 96)
    assert SINET.lead_samples(1) == 0


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_silence_is_minus_30_whatever_its_offset(offset: float) -> None:
    frames = mel(np.full(22050, offset, np.float32))
    assert frames.shape == (102, 96)
    assert (frames == -30.0).all()


@pytest.mark.parametrize("frequency_hz", [200.0, 440.0, 1000.0, 3000.0, 8000.0])
def test_a_sine_is_loudest_in_the_band_of_its_frequency(frequency_hz: float) -> None:
    y = np.sin(2 * np.pi * frequency_hz * np.arange(22050) / 22050).astype(np.float32)
    low, high, sine = slaney_hz_to_mel(np.array([50.0, 10500.0, frequency_hz]))
    expected_band = (sine - low) / ((high - low) / 97) - 1
    assert abs(mel(y)[50].argmax() - expected_band) <= 1


def test_no_frame_is_given_before_the_end() -> None:
    stream = SINET.stream()
    given = stream.push(np.ones(22050, np.float32))
    assert given.shape == (0, 96)
    assert given.dtype == np.float32
    assert len(stream.flush()) == SINET.n_frames(22050)


def test_samples_that_are_held_back_may_be_overwritten_by_the_caller(
    rng: np.random.Generator,
) -> None:
    y = rng.uniform(-1, 1, 5000).astype(np.float32)
    stream, block = SINET.stream(), y.copy()
    stream.push(block)
    block[:] = 0.0
    np.testing.assert_array_equal(stream.flush(), mel(y))


def test_the_caller_keeps_its_samples(rng: np.random.Generator) -> None:
    y = rng.uniform(0, 1, 5000).astype(np.float32)
    kept = y.copy()
    mel(y)
    np.testing.assert_array_equal(y, kept)


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (1.0, 0.25), (30.0, -2.0)])
def test_a_normalised_clip_has_no_offset_and_a_peak_just_below_one(
    rng: np.random.Generator, gain: float, offset: float
) -> None:
    y = gain * rng.uniform(-1, 1, 22050) + offset
    peak = np.abs(y - y.mean()).max()
    normal = normalise(y.astype(np.float32))
    assert normal.mean() == pytest.approx(0.0, abs=1e-5)
    assert np.abs(normal).max() == pytest.approx(peak / (peak + 0.005), rel=1e-5)


def test_loudness_and_offset_are_all_but_unheard(rng: np.random.Generator) -> None:
    y = rng.uniform(-0.5, 0.5, 22050).astype(np.float32)
    np.testing.assert_allclose(mel(0.5 * y + np.float32(0.1)), mel(y), atol=0.02)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_sample_beyond_all_reason_spoils_the_clip_without_a_warning(value: float) -> None:
    y = np.zeros(22050, np.float32)
    y[:2] = value, -value
    frames = mel(y)
    assert frames.shape == (102, 96)
    assert np.isfinite(frames).all() == np.isfinite(np.float32(value))


def test_an_empty_track_has_no_frame() -> None:
    assert SINET.n_frames(0) == 0
    assert mel(np.zeros(0, np.float32)).shape == (0, 96)


def test_stereo_is_refused_when_it_comes() -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 100\) are not mono"):
        SINET.stream().push(np.zeros((2, 100), np.float32))


def test_the_window_is_the_first_period_of_a_cosine() -> None:
    turns = np.arange(660) / 660
    expected = 0.54 - 0.46 * np.cos(2 * np.pi * turns)
    np.testing.assert_allclose(periodic_hamming(660), expected, atol=1e-15)
