"""Filterbanks: scales, area, height and position of the bands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from embedlib.features.mel import (
    MelBands,
    MelScale,
    Norm,
    Slopes,
    htk_hz_to_mel,
    htk_mel_to_hz,
    mel_filterbank,
    slaney_hz_to_mel,
    slaney_mel_to_hz,
)

MUSICNN = mel_filterbank(MelBands(96, fmin_hz=0.0, fmax_hz=8000.0), n_fft=512, sr_hz=16000)


def fine_filterbank(scale: MelScale, slopes: Slopes, norm: Norm) -> np.ndarray:
    """Eight bands whose shape the bins of the spectrum follow closely."""
    bands = MelBands(8, fmin_hz=0.0, fmax_hz=8000.0, scale=scale, slopes=slopes, norm=norm)
    return mel_filterbank(bands, n_fft=2**16, sr_hz=16000)


@pytest.mark.parametrize(
    ("to_mel", "to_hz"), [(slaney_hz_to_mel, slaney_mel_to_hz), (htk_hz_to_mel, htk_mel_to_hz)]
)
def test_mel_and_hz_invert_each_other(
    to_mel: Callable[[np.ndarray], np.ndarray], to_hz: Callable[[np.ndarray], np.ndarray]
) -> None:
    frequency_hz = np.linspace(0.0, 24000.0, 4801)
    np.testing.assert_allclose(to_hz(to_mel(frequency_hz)), frequency_hz, rtol=1e-12, atol=1e-9)


def test_slaneys_scale_is_continuous_where_it_changes_its_law() -> None:
    below, above = slaney_hz_to_mel(np.array([1000.0 - 1e-9, 1000.0 + 1e-9]))
    assert above - below == pytest.approx(0.0, abs=1e-9)


def test_htks_scale_has_a_thousand_mels_at_a_kilohertz() -> None:
    assert htk_hz_to_mel(np.array([1000.0]))[0] == pytest.approx(1000.0, abs=0.02)


def test_bands_rise_in_frequency_and_none_is_empty() -> None:
    peaks = MUSICNN.argmax(axis=1)
    assert (MUSICNN.sum(axis=1) > 0).all()
    assert (np.diff(peaks) >= 0).all()


def test_no_bin_lies_in_more_than_two_bands() -> None:
    assert np.count_nonzero(MUSICNN, axis=0).max() == 2


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_unit_tri_gives_bands_an_area_of_one_hertz(scale: MelScale) -> None:
    area = fine_filterbank(scale, "linear", "unit_tri").sum(axis=1) * (16000 / 2**16)
    np.testing.assert_allclose(area, 1.0, rtol=1e-4)


@pytest.mark.parametrize("slopes", ["linear", "warped"])
def test_unit_max_gives_bands_a_vertex_of_one(slopes: Slopes) -> None:
    heights = fine_filterbank("htk", slopes, "unit_max").max(axis=1)
    np.testing.assert_allclose(heights, 1.0, rtol=2e-3)


@pytest.mark.parametrize("slopes", ["linear", "warped"])
def test_unit_sum_gives_bands_whose_weights_add_up_to_one(slopes: Slopes) -> None:
    sums = fine_filterbank("htk", slopes, "unit_sum").sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-5)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_between_two_vertices_neighbouring_bands_of_unit_height_add_up_to_one(
    scale: MelScale,
) -> None:
    filterbank = fine_filterbank(scale, "warped", "unit_max")
    first, last = filterbank[0].argmax() + 1, filterbank[-1].argmax()
    np.testing.assert_allclose(filterbank[:, first:last].sum(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize(("slopes", "height"), [("linear", 0.5), ("warped", 0.6074)])
def test_linear_sides_are_straight_in_hertz_and_warped_ones_bulge(
    slopes: Slopes, height: float
) -> None:
    # One band with its vertex at 1 kHz; 500 Hz are 607.4 of the 1000 mels up to there.
    top_hz = float(htk_mel_to_hz(2.0 * htk_hz_to_mel(np.array([1000.0])))[0])
    bands = MelBands(1, 0.0, top_hz, scale="htk", slopes=slopes, norm="unit_max")
    weights = mel_filterbank(bands, n_fft=160, sr_hz=16000)[0]
    assert weights[10] == pytest.approx(1.0, abs=1e-6)
    assert weights[5] == pytest.approx(height, abs=1e-4)


def test_the_edges_of_the_range_are_not_heard() -> None:
    narrow = mel_filterbank(MelBands(4, fmin_hz=500.0, fmax_hz=2000.0), n_fft=512, sr_hz=16000)
    # The edges are rounded as Essentia rounds them, by some 1e-4 Hz.
    heard_hz = np.flatnonzero(narrow.sum(axis=0) > 1e-6 * narrow.max()) * (16000 / 512)
    assert heard_hz.min() > 500.0
    assert heard_hz.max() < 2000.0


def librosa_htk_filterbank(
    n_mels: int, n_fft: int, sr_hz: int, fmin_hz: float, fmax_hz: float
) -> np.ndarray:
    """``librosa.filters.mel(htk=True, norm="slaney")`` from the definition in its docstring."""
    mel_min, mel_max = 2595.0 * np.log10(1.0 + np.array([fmin_hz, fmax_hz]) / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(mel_min, mel_max, n_mels + 2) / 2595.0) - 1.0)
    weights = np.zeros((n_mels, n_fft // 2 + 1))
    for band in range(n_mels):
        lower, centre, upper = edges[band : band + 3]
        for k in range(n_fft // 2 + 1):
            bin_hz = k * sr_hz / n_fft
            sides = (bin_hz - lower) / (centre - lower), (upper - bin_hz) / (upper - centre)
            weights[band, k] = max(0.0, min(sides)) * 2.0 / (upper - lower)
    return weights


def test_htk_bands_are_those_of_librosa() -> None:
    bands = MelBands(64, fmin_hz=125.0, fmax_hz=7500.0, scale="htk")
    ours = mel_filterbank(bands, n_fft=512, sr_hz=16000)
    theirs = librosa_htk_filterbank(64, 512, 16000, 125.0, 7500.0)
    # Essentia's rounding of the edges is left: some 1e-4 Hz.
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * theirs.max())
