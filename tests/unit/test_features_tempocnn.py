"""The front ends of Tempo-CNN and its patch input on signals with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features.log_mel import MelFrontEnd
from embedlib.features.mel import slaney_hz_to_mel
from embedlib.features.tempocnn import (
    MIN_SAMPLES,
    PaddedTempoCnnFrontEnd,
    TempoCnnFrontEnd,
    standardise,
)
from embedlib.records import Signal

PLAIN, PADDED = TempoCnnFrontEnd(), PaddedTempoCnnFrontEnd()


def mel(front_end: MelFrontEnd, y: np.ndarray) -> np.ndarray:
    stream = front_end.stream()
    return np.concatenate([stream.push(y), stream.flush()])


@pytest.mark.parametrize("front_end", [PLAIN, PADDED], ids=lambda front_end: front_end.name)
def test_both_listen_to_mono_at_11025_hz(front_end: MelFrontEnd) -> None:
    assert front_end.signal == Signal(sr_hz=11025, n_channels=1)
    assert (front_end.frame_samples, front_end.hop_samples, front_end.n_bands) == (1024, 512, 40)


@pytest.mark.parametrize("frequency_hz", [200.0, 440.0, 1000.0, 3000.0])
def test_a_sine_is_loudest_in_the_band_of_its_frequency(frequency_hz: float) -> None:
    y = np.sin(2 * np.pi * frequency_hz * np.arange(11025) / 11025).astype(np.float32)
    low, high, sine = slaney_hz_to_mel(np.array([20.0, 5000.0, frequency_hz]))
    expected_band = (sine - low) / ((high - low) / 41) - 1
    assert abs(mel(PLAIN, y)[10].argmax() - expected_band) <= 1


def test_twice_the_amplitude_is_twice_the_value(rng: np.random.Generator) -> None:
    y = rng.uniform(-0.5, 0.5, 11025).astype(np.float32)
    np.testing.assert_array_equal(mel(PLAIN, 2 * y), 2 * mel(PLAIN, y))


@pytest.mark.parametrize("n_samples", [1, 2, 512, 11025, MIN_SAMPLES - 1])
def test_short_audio_has_the_frames_of_audio_with_zeros_at_both_sides(
    rng: np.random.Generator, n_samples: int
) -> None:
    y = rng.uniform(-1, 1, n_samples).astype(np.float32)
    missing = MIN_SAMPLES - n_samples
    # The larger half in front, as the code of the paper has it.
    filled = np.concatenate(
        [np.zeros(missing - missing // 2), y, np.zeros(missing // 2)], dtype=np.float32
    )
    np.testing.assert_array_equal(mel(PADDED, y), mel(PLAIN, filled))
    assert PADDED.lead_samples(n_samples) == missing - missing // 2


@pytest.mark.parametrize("n_samples", [MIN_SAMPLES, MIN_SAMPLES + 1, 2 * MIN_SAMPLES])
def test_audio_of_30_s_or_more_is_taken_as_it_is(rng: np.random.Generator, n_samples: int) -> None:
    y = rng.uniform(-1, 1, n_samples).astype(np.float32)
    np.testing.assert_array_equal(mel(PADDED, y), mel(PLAIN, y))
    assert PADDED.lead_samples(n_samples) == 0


def test_an_impulse_sits_in_the_frame_that_the_lead_says() -> None:
    y = np.zeros(11025, np.float32)
    y[0] = 1.0
    expected_frame = PADDED.lead_samples(len(y)) / PADDED.hop_samples
    assert abs(mel(PADDED, y).sum(axis=1).argmax() - expected_frame) <= 0.5


def test_nothing_is_given_before_30_s_have_come_and_all_of_it_then() -> None:
    stream = PADDED.stream()
    assert stream.push(np.ones(MIN_SAMPLES - 1, np.float32)).shape == (0, 40)
    assert len(stream.push(np.ones(1, np.float32))) == len(
        PLAIN.stream().push(np.ones(MIN_SAMPLES, np.float32))
    )


def test_samples_that_are_held_back_may_be_overwritten_by_the_caller() -> None:
    stream, block = PADDED.stream(), np.ones(11025, np.float32)
    stream.push(block)
    block[:] = 0.0
    np.testing.assert_array_equal(stream.flush(), mel(PADDED, np.ones(11025, np.float32)))


@pytest.mark.parametrize("front_end", [PLAIN, PADDED], ids=lambda front_end: front_end.name)
def test_an_empty_track_has_no_frame(front_end: MelFrontEnd) -> None:
    assert front_end.n_frames(0) == front_end.lead_samples(0) == 0
    assert mel(front_end, np.zeros(0, np.float32)).shape == (0, 40)


@pytest.mark.parametrize("front_end", [PLAIN, PADDED], ids=lambda front_end: front_end.name)
def test_stereo_is_refused(front_end: MelFrontEnd) -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 100\) are not mono"):
        front_end.stream().push(np.zeros((2, 100), np.float32))


def test_a_standardised_patch_has_mean_0_and_deviation_1(rng: np.random.Generator) -> None:
    model_input = standardise(rng.gamma(2.0, 3.0, (256, 40)).astype(np.float32))
    assert model_input.mean(dtype=np.float64) == pytest.approx(0.0, abs=1e-7)
    assert model_input.std(dtype=np.float64) == pytest.approx(1.0, abs=1e-6)


def test_the_input_is_bands_by_frames_by_one_and_contiguous() -> None:
    patch = np.zeros((256, 40), np.float32)
    patch[100, 7] = 1.0
    patch.setflags(write=False)
    model_input = standardise(patch)
    assert model_input.shape == (40, 256, 1)
    assert model_input.dtype == np.float32
    assert model_input.flags.c_contiguous
    assert np.unravel_index(model_input.argmax(), model_input.shape) == (7, 100, 0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-38, 3e38, -7.7])
def test_a_constant_patch_becomes_zeros(value: float) -> None:
    assert not standardise(np.full((256, 40), value, np.float32)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nonfinite_value_spoils_its_patch_without_a_warning(value: float) -> None:
    patch = np.zeros((256, 40), np.float32)
    patch[0, 0] = value
    assert not np.isfinite(standardise(patch)).any()
