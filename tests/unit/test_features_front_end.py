"""The MusiCNN front end on signals with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features.front_end import FrontEnd, front_end
from embedlib.features.mel import slaney_hz_to_mel


@pytest.fixture
def musicnn() -> FrontEnd:
    return front_end("musicnn-mel")


def mel(front_end: FrontEnd, y: np.ndarray) -> np.ndarray:
    stream = front_end.stream()
    return np.concatenate([stream.push(y), stream.flush()])


def test_silence_is_exactly_zero(musicnn: FrontEnd) -> None:
    frames = mel(musicnn, np.zeros(16000, np.float32))
    assert frames.shape == (musicnn.n_frames(16000), 96)
    assert not frames.any()


@pytest.mark.parametrize("frequency_hz", [200.0, 440.0, 1000.0, 3000.0, 6000.0])
def test_a_sine_is_loudest_in_the_band_of_its_frequency(
    musicnn: FrontEnd, frequency_hz: float
) -> None:
    y = np.sin(2 * np.pi * frequency_hz * np.arange(16000) / 16000).astype(np.float32)
    band_width_mel = slaney_hz_to_mel(np.array([8000.0]))[0] / 97
    expected_band = slaney_hz_to_mel(np.array([frequency_hz]))[0] / band_width_mel - 1
    assert abs(mel(musicnn, y)[30].argmax() - expected_band) <= 1


def test_frames_are_float32_and_not_negative(musicnn: FrontEnd, rng: np.random.Generator) -> None:
    frames = mel(musicnn, rng.uniform(-1, 1, 8000).astype(np.float32))
    assert frames.dtype == np.float32
    assert frames.min() >= 0
    assert np.isfinite(frames).all()


def test_a_frame_more_than_a_block_does_not_change_the_frames_before(
    musicnn: FrontEnd, rng: np.random.Generator
) -> None:
    y = rng.uniform(-1, 1, 300 * 256).astype(np.float32)
    early = musicnn.stream().push(y[: 200 * 256])
    np.testing.assert_array_equal(mel(musicnn, y)[: len(early)], early)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_beyond_all_reason_give_nonfinite_frames_where_they_are(
    musicnn: FrontEnd, value: float
) -> None:
    y = np.zeros(16000, np.float32)
    y[8000] = value
    is_finite = np.isfinite(mel(musicnn, y)).all(axis=1)
    assert np.flatnonzero(~is_finite).tolist() == [31, 32]


def test_an_empty_track_has_no_frame(musicnn: FrontEnd) -> None:
    assert musicnn.n_frames(0) == 0
    assert mel(musicnn, np.zeros(0, np.float32)).shape == (0, 96)


def test_an_unknown_front_end_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match="unknown front end 'mfcc'; choose one of musicnn-mel"):
        front_end("mfcc")
