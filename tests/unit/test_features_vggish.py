"""The VGGish front end on signals with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.features.mel import htk_hz_to_mel
from embedlib.features.vggish import VggishFrontEnd
from embedlib.records import Signal

VGGISH = VggishFrontEnd()


def mel(y: np.ndarray) -> np.ndarray:
    stream = VGGISH.stream()
    return np.concatenate([stream.push(y), stream.flush()])


def test_it_listens_to_mono_at_16_khz() -> None:
    assert VGGISH.signal == Signal(sr_hz=16000, n_channels=1)
    assert (VGGISH.frame_samples, VGGISH.hop_samples, VGGISH.n_bands) == (400, 160, 64)
    assert VGGISH.lead_samples(1) == 0


def test_silence_is_the_logarithm_of_the_offset() -> None:
    frames = mel(np.zeros(16000, np.float32))
    assert frames.shape == (101, 64)
    assert (frames == np.log(np.float32(0.01))).all()


@pytest.mark.parametrize("frequency_hz", [200.0, 440.0, 1000.0, 3000.0, 6000.0])
def test_a_sine_is_loudest_in_the_band_of_its_frequency(frequency_hz: float) -> None:
    y = np.sin(2 * np.pi * frequency_hz * np.arange(16000) / 16000).astype(np.float32)
    low, high, sine = htk_hz_to_mel(np.array([125.0, 7500.0, frequency_hz]))
    expected_band = (sine - low) / ((high - low) / 65) - 1
    assert abs(mel(y)[50].argmax() - expected_band) <= 1


def test_twice_the_amplitude_is_twice_the_magnitude() -> None:
    y = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    quiet, loud = (np.exp(mel(gain * y)[50]) - 0.01 for gain in (0.5, 1.0))
    np.testing.assert_allclose(loud, 2 * quiet, rtol=1e-4, atol=1e-4)


def test_what_lies_outside_the_bands_is_not_heard() -> None:
    y = np.sin(2 * np.pi * 7900 * np.arange(16000) / 16000).astype(np.float32)
    # A sine within the bands reaches 100.
    assert mel(y)[50].max() < np.log(0.1)


def test_a_nonfinite_sample_stays_in_the_frames_that_hold_it() -> None:
    y = np.zeros(16000, np.float32)
    y[8000] = np.nan
    is_finite = np.isfinite(mel(y)).all(axis=1)
    assert np.flatnonzero(~is_finite).tolist() == [49, 50, 51]


def test_an_empty_track_has_no_frame() -> None:
    assert VGGISH.n_frames(0) == 0
    assert mel(np.zeros(0, np.float32)).shape == (0, 64)
