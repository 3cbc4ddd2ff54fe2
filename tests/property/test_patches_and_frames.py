"""Frames and patches do not depend on how the signal arrives, and counts are exact."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embedlib.features.frames import FrameCutter, Framing
from embedlib.features.front_end import front_end
from embedlib.features.patches import (
    LastPatch,
    PatchCutter,
    PatchRule,
    frames_to_ms,
    ms_to_frames,
    patch_starts_ms,
)

MUSICNN = front_end("musicnn-mel")
NOISE = np.random.default_rng(440).uniform(-1, 1, 90_000).astype(np.float32)

cuts = st.lists(st.integers(0, 90_000), max_size=8)
framings = st.integers(1, 40).flatmap(
    lambda frame: st.builds(Framing, st.just(frame), st.integers(1, frame))
)
rules = st.integers(1, 12).flatmap(
    lambda patch: st.builds(
        PatchRule,
        st.just(patch),
        st.integers(1, patch),
        st.sampled_from(get_args(LastPatch)),
    )
)


def pieces(values: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return np.split(values, sorted(min(cut, len(values)) for cut in cuts))


@settings(deadline=None, max_examples=40)
@given(n_samples=st.integers(0, 90_000), cuts=cuts)
def test_mel_frames_are_bit_equal_however_the_samples_arrive(
    n_samples: int, cuts: list[int]
) -> None:
    y = NOISE[:n_samples]
    whole, split = MUSICNN.stream(), MUSICNN.stream()
    expected = np.concatenate([whole.push(y), whole.flush()])
    given_split = [*map(split.push, pieces(y, cuts)), split.flush()]
    np.testing.assert_array_equal(np.concatenate(given_split), expected)
    assert len(expected) == MUSICNN.n_frames(n_samples)


@given(framing=framings, n_samples=st.integers(1, 200), cuts=st.lists(st.integers(0, 200)))
def test_every_frame_is_the_slice_of_the_padded_signal_that_it_claims(
    framing: Framing, n_samples: int, cuts: list[int]
) -> None:
    y = np.arange(1, n_samples + 1, dtype=np.float32)
    cutter = FrameCutter(framing)
    frames = np.concatenate([*map(cutter.push, pieces(y, cuts)), cutter.flush()])
    padded = np.pad(y, (framing.lead_samples, 2 * framing.frame_samples))
    starts = np.arange(len(frames)) * framing.hop_samples
    np.testing.assert_array_equal(
        frames, padded[starts[:, None] + np.arange(framing.frame_samples)]
    )


@given(rule=rules, n_frames=st.integers(0, 60), cuts=st.lists(st.integers(0, 60)))
def test_patches_do_not_depend_on_how_the_frames_arrive_and_are_counted_exactly(
    rule: PatchRule, n_frames: int, cuts: list[int]
) -> None:
    frames = np.arange(2 * n_frames, dtype=np.float32).reshape(n_frames, 2)
    whole, split = PatchCutter(rule), PatchCutter(rule)
    expected = [*whole.push(frames), *whole.finish()[0]]
    arrived = [patch for piece in pieces(frames, cuts) for patch in split.push(piece)]
    arrived += [*split.finish()[0]]
    np.testing.assert_array_equal(arrived, expected)
    assert len(expected) == rule.n_patches(n_frames)


@given(rule=rules, n_frames=st.integers(0, 60))
def test_every_full_patch_is_the_slice_it_claims(rule: PatchRule, n_frames: int) -> None:
    frames = np.arange(n_frames, dtype=np.float32)[:, None]
    rule = replace(rule, last="discard")
    starts = np.arange(rule.n_full(n_frames)) * rule.hop_frames
    patches = PatchCutter(rule).push(frames)
    np.testing.assert_array_equal(patches[..., 0], starts[:, None] + np.arange(rule.patch_frames))


@given(
    n_frames=st.integers(0, 10_000_000),
    hop_samples=st.integers(1, 8192),
    sr_hz=st.integers(1000, 192_000),
)
def test_milliseconds_invert_frames_wherever_a_frame_takes_one(
    n_frames: int, hop_samples: int, sr_hz: int
) -> None:
    hop_samples = max(hop_samples, -(-sr_hz // 1000))
    time_ms = frames_to_ms(n_frames, hop_samples=hop_samples, sr_hz=sr_hz)
    assert ms_to_frames(time_ms, hop_samples=hop_samples, sr_hz=sr_hz) == n_frames


@given(n_patches=st.integers(0, 500), hop_frames=st.integers(1, 400))
def test_patch_starts_are_the_times_of_their_first_frames(n_patches: int, hop_frames: int) -> None:
    rule = PatchRule(patch_frames=400, hop_frames=hop_frames)
    mel = front_end("musicnn-mel")
    starts_ms = patch_starts_ms(n_patches, rule=rule, front_end=mel, n_samples=0)
    assert starts_ms.tolist() == [hop_frames * 16 * patch for patch in range(n_patches)]
