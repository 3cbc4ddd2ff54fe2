"""Patches: counts at the boundaries, tiling, and time."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.features.front_end import front_end
from embedlib.features.patches import (
    LastPatch,
    PatchCutter,
    PatchRule,
    n_patches_of_samples,
    patch_starts_ms,
)


def cut(n_frames: int, rule: PatchRule) -> tuple[list[list[int]], bool]:
    """Number the frames of each patch; zeros that fill up stand out as 0."""
    first = 1 if rule.last in ("pad-short", "pad", "centred") else 0
    frames = np.arange(first, first + n_frames, dtype=np.float32)[:, None].repeat(2, axis=1)
    cutter = PatchCutter(rule)
    early = cutter.push(frames)
    late, padded = cutter.finish()
    return [*early[..., 0].astype(int).tolist(), *late[..., 0].astype(int).tolist()], padded


@pytest.mark.parametrize(
    ("last", "n_frames", "expected"),
    [
        ("discard", 3, []),
        ("discard", 4, [[0, 1, 2, 3]]),
        ("discard", 6, [[0, 1, 2, 3]]),
        ("discard", 7, [[0, 1, 2, 3], [3, 4, 5, 6]]),
        ("repeat", 3, [[0, 1, 2, 0]]),
        ("repeat", 4, [[0, 1, 2, 3], [3, 3, 3, 3]]),
        ("repeat", 6, [[0, 1, 2, 3], [3, 4, 5, 3]]),
        ("tile-short", 1, [[0, 0, 0, 0]]),
        ("tile-short", 3, [[0, 1, 2, 0]]),
        ("tile-short", 6, [[0, 1, 2, 3]]),
        ("pad-short", 3, [[1, 2, 3, 0]]),
        ("pad-short", 6, [[1, 2, 3, 4]]),
        ("pad", 1, [[1, 0, 0, 0]]),
        ("pad", 3, [[1, 2, 3, 0]]),
        ("pad", 4, [[1, 2, 3, 4], [4, 0, 0, 0]]),
        ("pad", 7, [[1, 2, 3, 4], [4, 5, 6, 7], [7, 0, 0, 0]]),
        ("centred", 1, [[0, 0, 1, 0]]),
        ("centred", 2, [[0, 0, 1, 2], [2, 0, 0, 0]]),
        ("centred", 4, [[0, 0, 1, 2], [2, 3, 4, 0], [0, 0, 0, 0]][:2]),
        ("centred", 7, [[0, 0, 1, 2], [2, 3, 4, 5], [5, 6, 7, 0]]),
    ],
)
def test_each_rule_treats_the_rest_as_it_says(
    last: LastPatch, n_frames: int, expected: list[list[int]]
) -> None:
    patches, _ = cut(n_frames, PatchRule(patch_frames=4, hop_frames=3, last=last))
    assert patches == expected


def test_repeat_without_overlap_adds_nothing_to_whole_patches() -> None:
    patches, _ = cut(8, PatchRule(patch_frames=4, hop_frames=4, last="repeat"))
    assert patches == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("last", "n_frames", "padded"),
    [
        ("tile-short", 3, True),
        ("tile-short", 4, False),
        ("repeat", 3, True),
        ("repeat", 5, False),
        ("pad", 3, True),
        ("pad", 5, False),
        ("centred", 3, True),
        ("centred", 4, False),
    ],
)
def test_only_a_track_shorter_than_a_patch_is_padded(
    last: LastPatch, n_frames: int, padded: bool
) -> None:
    assert cut(n_frames, PatchRule(patch_frames=4, hop_frames=2, last=last))[1] is padded


@pytest.mark.parametrize("last", get_args(LastPatch))
def test_a_track_without_frames_has_no_patch(last: LastPatch) -> None:
    patches, padded = PatchCutter(PatchRule(last=last)).finish()
    assert (len(patches), padded) == (0, False)
    assert PatchRule(last=last).n_patches(0) == 0


def test_patches_given_early_survive_later_calls(rng: np.random.Generator) -> None:
    cutter = PatchCutter(PatchRule(patch_frames=4, hop_frames=2))
    early = cutter.push(rng.random((6, 3), dtype=np.float32))
    kept = early.copy()
    cutter.push(rng.random((6, 3), dtype=np.float32))
    np.testing.assert_array_equal(early, kept)


@pytest.mark.parametrize(("seconds", "n_patches"), [(1, 1), (3, 1), (10, 5), (30, 19)])
def test_the_counts_that_essentia_gives_for_whole_seconds(seconds: int, n_patches: int) -> None:
    musicnn = front_end("musicnn-mel")
    counted = n_patches_of_samples(16000 * seconds, rule=PatchRule(), front_end=musicnn)
    assert counted == n_patches


def test_starts_are_whole_milliseconds_even_where_the_hop_is_not() -> None:
    rule = PatchRule(patch_frames=2, hop_frames=1)
    tempo = front_end("tempocnn-mel")
    starts_ms = patch_starts_ms(4, rule=rule, front_end=tempo, n_samples=0)
    assert starts_ms.dtype == np.int32
    assert starts_ms.tolist() == [0, 46, 93, 139]


def test_the_first_of_centred_patches_starts_half_a_patch_before_the_audio() -> None:
    rule = PatchRule(patch_frames=10, hop_frames=5, last="centred")
    mel = front_end("musicnn-mel")
    assert patch_starts_ms(3, rule=rule, front_end=mel, n_samples=0).tolist() == [-80, 0, 80]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch_frames": 0}, "patch_frames=0"),
        ({"hop_frames": 0}, "hop_frames=0 .*; use 187 for patches without overlap"),
        ({"hop_frames": -93}, "hop_frames=-93"),
        ({"hop_frames": 188}, "hop_frames=188"),
        ({"last": "zeros"}, "'zeros'; choose one of tile-short, pad-short, discard"),
    ],
)
def test_an_impossible_rule_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PatchRule(**values)
