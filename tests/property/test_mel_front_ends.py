"""Mel frames and patch inputs do not depend on how the samples arrive, and counts are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from embedlib.features.log_mel import MelFrontEnd
from embedlib.features.musicnn import MusicnnFrontEnd
from embedlib.features.sinet import SinetFrontEnd, normalise
from embedlib.features.tempocnn import (
    MIN_SAMPLES,
    PaddedTempoCnnFrontEnd,
    TempoCnnFrontEnd,
    standardise,
)
from embedlib.features.vggish import VggishFrontEnd

FRONT_ENDS = [
    MusicnnFrontEnd(),
    VggishFrontEnd(),
    TempoCnnFrontEnd(),
    PaddedTempoCnnFrontEnd(),
    SinetFrontEnd(),
]
NOISE = np.random.default_rng(440).uniform(-1, 1, MIN_SAMPLES + 5000).astype(np.float32)

each_front_end = pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda each: each.name)
lengths = st.one_of(
    st.integers(0, 3000), st.integers(0, 60_000), st.integers(MIN_SAMPLES - 9, MIN_SAMPLES + 5000)
)
levels = st.floats(0.0, 10.0, width=32)
patches = npst.arrays(np.float32, (6, 4), elements=levels)


@each_front_end
@settings(deadline=None, max_examples=25)
@given(n_samples=lengths, cuts=st.lists(st.integers(0, len(NOISE)), max_size=8))
def test_frames_are_bit_equal_however_the_samples_arrive(
    front_end: MelFrontEnd, n_samples: int, cuts: list[int]
) -> None:
    y = NOISE[:n_samples]
    whole, split = front_end.stream(), front_end.stream()
    expected = np.concatenate([whole.push(y), whole.flush()])
    pieces = np.split(y, sorted(min(cut, n_samples) for cut in cuts))
    given_split = np.concatenate([*map(split.push, pieces), split.flush()])
    np.testing.assert_array_equal(given_split, expected)
    assert expected.dtype == np.float32
    assert expected.shape == (front_end.n_frames(n_samples), front_end.n_bands)


@each_front_end
@given(n_samples=st.integers(0, 2 * MIN_SAMPLES))
def test_more_audio_never_has_fewer_frames_nor_more_zeros_in_front(
    front_end: MelFrontEnd, n_samples: int
) -> None:
    assert front_end.n_frames(n_samples + 1) >= front_end.n_frames(n_samples)
    if n_samples > 0:
        assert front_end.lead_samples(n_samples + 1) <= front_end.lead_samples(n_samples)


@given(n_samples=st.integers(1, MIN_SAMPLES))
def test_zeros_around_short_audio_fill_30_s_evenly(n_samples: int) -> None:
    lead_samples = PaddedTempoCnnFrontEnd().lead_samples(n_samples)
    trail_samples = MIN_SAMPLES - n_samples - lead_samples
    assert lead_samples - trail_samples in (0, 1)


@given(patch=patches, gain=st.floats(0.1, 10.0), offset=st.floats(-5.0, 5.0))
def test_a_standardised_patch_knows_neither_level_nor_offset(
    patch: np.ndarray, gain: float, offset: float
) -> None:
    # A spread that is lost in float32 is none to compare.
    assume(patch.std() > 1e-2)
    moved = (gain * patch.astype(np.float64) + offset).astype(np.float32)
    np.testing.assert_allclose(standardise(moved), standardise(patch), atol=1e-3)


@given(y=npst.arrays(np.float32, st.integers(0, 50), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_normalised_clip_never_passes_full_scale(y: np.ndarray) -> None:
    assert (np.abs(normalise(y)) <= 1.0).all()
