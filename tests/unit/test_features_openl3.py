from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features import openl3
from embedlib.features.mel import htk_hz_to_mel, slaney_hz_to_mel
from embedlib.features.patches import PatchCutter, PatchRule
from embedlib.records import Float32

Make = Callable[[Float32], Float32]

each_recipe = pytest.mark.parametrize("make", [openl3.gist, openl3.paper])


def window(y: np.ndarray) -> Float32:
    return y.astype(np.float32)[:, None]


def noise(rng: np.random.Generator) -> Float32:
    return window(rng.standard_normal(openl3.WINDOW_SAMPLES))


@each_recipe
def test_a_window_gives_bands_frames_and_a_channel(make: Make, rng: np.random.Generator) -> None:
    mel_db = make(noise(rng))
    assert mel_db.shape == (128, 199, 1)
    assert mel_db.dtype == np.float32
    assert mel_db.flags.c_contiguous


@pytest.mark.parametrize(
    ("make", "to_mel"), [(openl3.gist, slaney_hz_to_mel), (openl3.paper, htk_hz_to_mel)]
)
@pytest.mark.parametrize("frequency_hz", [1500.0, 3000.0, 6000.0, 12000.0])
def test_a_sine_peaks_in_the_band_of_its_frequency(
    make: Make, to_mel: Callable[[np.ndarray], np.ndarray], frequency_hz: float
) -> None:
    y = np.sin(2 * np.pi * frequency_hz * np.arange(48000) / 48000)
    mel, mel_max = to_mel(np.array([frequency_hz, 24000.0]))
    expected = round(mel / (mel_max / 129)) - 1  # the centre of band b is at b + 1 steps
    peaks = make(window(y))[:, 5:-5, 0].argmax(axis=0)
    assert set(peaks) <= {expected}


@each_recipe
def test_the_loudest_value_is_0_db_and_the_floor_is_80_db_below(
    make: Make, rng: np.random.Generator
) -> None:
    y = np.where(np.arange(48000) < 20000, rng.standard_normal(48000), 0.0)
    mel_db = make(window(y))
    assert (mel_db.min(), mel_db.max()) == (-80.0, 0.0)


@each_recipe
def test_silence_is_as_loud_as_its_own_maximum(make: Make) -> None:
    assert not make(np.zeros((48000, 1), np.float32)).any()


@pytest.mark.parametrize(("make", "lead_samples"), [(openl3.gist, 1024), (openl3.paper, 982)])
@pytest.mark.parametrize("position", [10, 24000, 47990])
def test_a_click_is_heard_in_the_frames_that_hold_it_and_no_other(
    make: Make, lead_samples: int, position: int
) -> None:
    y = np.zeros(48000)
    y[position] = 1.0
    starts = np.arange(199) * 242 - lead_samples
    holds = (starts < position) & (position < starts + 2047)  # the window ends in zeros
    np.testing.assert_array_equal(make(window(y)).max(axis=(0, 2)) > -80.0, holds)


@each_recipe
@pytest.mark.parametrize("gain", [1e-2, 0.7, 300.0])
def test_the_level_of_a_window_does_not_matter(
    make: Make, gain: float, rng: np.random.Generator
) -> None:
    quieter = noise(rng) * np.float32(gain)
    np.testing.assert_allclose(make(quieter), make(quieter / np.float32(gain)), atol=2e-4)


@each_recipe
def test_a_window_below_the_floor_of_amplitudes_is_taken_for_silence(
    make: Make, rng: np.random.Generator
) -> None:
    assert not make(noise(rng) * np.float32(1e-14)).any()


@each_recipe
def test_a_view_of_many_windows_gives_what_each_alone_gives(
    make: Make, rng: np.random.Generator
) -> None:
    y = rng.standard_normal((120_000, 1)).astype(np.float32)
    windows = PatchCutter(PatchRule(48000, 12000, "discard")).push(y)
    alone = np.ascontiguousarray(y[12000:60000])
    np.testing.assert_array_equal(make(windows[1]), make(alone))


@each_recipe
@pytest.mark.parametrize("shape", [(48000,), (47999, 1), (48001, 1), (48000, 2), (0, 1)])
def test_what_is_not_one_second_of_mono_is_refused(make: Make, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="is not 48000 mono samples"):
        make(np.zeros(shape, np.float32))


@each_recipe
@pytest.mark.parametrize("sample", [3e38, np.inf, np.nan])
def test_a_sample_beyond_reason_shows_as_nan_and_warns_not(make: Make, sample: float) -> None:
    y = np.zeros((48000, 1), np.float32)
    y[24000:24100] = sample
    assert np.isnan(make(y)).any()
