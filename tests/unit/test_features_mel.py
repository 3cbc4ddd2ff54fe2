"""Filterbanks: scale, area and position of the bands."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.features.mel import slaney_filterbank, slaney_hz_to_mel, slaney_mel_to_hz

MUSICNN = slaney_filterbank(96, n_fft=512, sr_hz=16000, fmin_hz=0.0, fmax_hz=8000.0)


def test_mel_and_hz_invert_each_other() -> None:
    frequency_hz = np.linspace(0.0, 24000.0, 4801)
    round_trip_hz = slaney_mel_to_hz(slaney_hz_to_mel(frequency_hz))
    np.testing.assert_allclose(round_trip_hz, frequency_hz, rtol=1e-12, atol=1e-9)


def test_the_scale_is_continuous_where_it_changes_its_law() -> None:
    below, above = slaney_hz_to_mel(np.array([1000.0 - 1e-9, 1000.0 + 1e-9]))
    assert above - below == pytest.approx(0.0, abs=1e-9)


def test_bands_rise_in_frequency_and_none_is_empty() -> None:
    peaks = MUSICNN.argmax(axis=1)
    assert (MUSICNN.sum(axis=1) > 0).all()
    assert (np.diff(peaks) >= 0).all()


def test_no_bin_lies_in_more_than_two_bands() -> None:
    assert np.count_nonzero(MUSICNN, axis=0).max() == 2


def test_bands_have_unit_area() -> None:
    fine = slaney_filterbank(8, n_fft=2**16, sr_hz=16000, fmin_hz=0.0, fmax_hz=8000.0)
    area = fine.sum(axis=1) * (16000 / 2**16)
    np.testing.assert_allclose(area, 1.0, rtol=1e-4)


def test_the_edges_of_the_range_are_not_heard() -> None:
    narrow = slaney_filterbank(4, n_fft=512, sr_hz=16000, fmin_hz=500.0, fmax_hz=2000.0)
    # The edges are rounded as Essentia rounds them, by some 1e-4 Hz.
    heard_hz = np.flatnonzero(narrow.sum(axis=0) > 1e-6 * narrow.max()) * (16000 / 512)
    assert heard_hz.min() > 500.0
    assert heard_hz.max() < 2000.0
