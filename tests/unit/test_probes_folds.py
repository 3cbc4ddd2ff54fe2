"""How tracks are dealt to folds, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.probes.folds import assign_folds, fold_parts, shuffled
from embedlib.probes.records import Split
from embedlib.tasks.cohort import Cohort


def cohort(y: list[int], *, groups: str = "", folds: tuple[int, ...] = ()) -> Cohort:
    track_ids = tuple(f"t{number:04}" for number in range(len(y)))
    return Cohort("toy", ("calm", "glad"), track_ids, np.array(y), tuple(groups), folds)


EVEN = cohort([0, 1] * 25)


def dealt(tracks: Cohort, *, split: Split = Split.STRATIFIED, **options: int) -> np.ndarray:
    return assign_folds(tracks, **{"n_folds": 5, "repeat": 0, **options}, split=split)


def test_repeats_are_different_splits() -> None:
    assert (dealt(EVEN) != dealt(EVEN, repeat=1)).any()


def test_another_task_has_other_folds() -> None:
    assert (dealt(EVEN) != dealt(replace(EVEN, task="other"))).any()


def test_folds_are_the_same_in_each_call_whatever_else_was_drawn() -> None:
    first = dealt(EVEN)
    np.random.default_rng().random(7)

    np.testing.assert_array_equal(dealt(EVEN), first)


def test_tracks_of_a_group_share_a_fold() -> None:
    tracks = cohort([0] * 10 + [1] * 10, groups="aabbccddeeffgghhiijj")

    folds = dealt(tracks, split=Split.GROUPED)

    np.testing.assert_array_equal(folds[::2], folds[1::2])


def test_grouped_is_stratified_where_no_track_has_a_group() -> None:
    np.testing.assert_array_equal(dealt(EVEN, split=Split.GROUPED), dealt(EVEN))


def test_published_folds_are_taken_as_they_are() -> None:
    tracks = cohort([0, 0, 0, 1, 1, 1], folds=(0, 1, 2, 2, 1, 0))

    folds = dealt(tracks, split=Split.OFFICIAL, n_folds=3)

    assert folds.tolist() == [0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("tracks", "split", "options", "message"),
    [
        (EVEN, Split.STRATIFIED, {"n_folds": 2}, "n_folds=2 leaves nothing .* give at least 3"),
        (cohort([0] * 9 + [1] * 4), Split.STRATIFIED, {}, "'glad' has 4 tracks for 5 folds"),
        (cohort([0] * 9), Split.GROUPED, {}, "'glad' has 0 tracks"),
        (cohort([0] * 5 + [1] * 8, groups="abcdeffgghhii"), Split.GROUPED, {}, "4 groups for 5"),
        (EVEN, Split.OFFICIAL, {}, "toy: not every track has a published fold"),
        (EVEN, Split.OFFICIAL, {"n_folds": 0}, "toy: not every track has a published fold"),
        (cohort([0, 1], folds=(0, -1)), Split.OFFICIAL, {}, "not every track"),
        (cohort([0, 1], folds=(0, 9)), Split.OFFICIAL, {}, "n_folds=5.* give n_folds=10"),
        (cohort([0] * 3, folds=(0, 1, 2)), Split.OFFICIAL, {"n_folds": 3, "repeat": 1}, "repeat=1"),
        (
            cohort([0, 0, 0, 1, 1], folds=(0, 1, 2, 0, 2)),
            Split.OFFICIAL,
            {"n_folds": 3},
            "toy: class 'glad' is missing from fold 1; give another split, or fewer folds",
        ),
    ],
)
def test_folds_that_cannot_be_are_refused_in_one_line(
    tracks: Cohort, split: Split, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        dealt(tracks, split=split, **options)

    assert "\n" not in str(caught.value)


def test_each_track_tests_once_validates_once_and_trains_in_the_other_folds() -> None:
    folds = dealt(EVEN)
    parts = [fold_parts(folds, fold=f, has_vectors=np.ones(50, dtype=bool)) for f in range(5)]

    for name, times in (("test", 1), ("val", 1), ("train", 3)):
        counts = np.bincount(np.concatenate([getattr(part, name) for part in parts]))
        assert counts.tolist() == [times] * 50


def test_the_fold_after_the_tested_one_validates() -> None:
    parts = fold_parts(np.array([0, 1, 2, 3]), fold=3, has_vectors=np.ones(4, dtype=bool))

    assert (parts.test.tolist(), parts.val.tolist(), parts.train.tolist()) == ([3], [0], [1, 2])


def test_a_track_without_vectors_is_in_no_part() -> None:
    has_vectors = np.arange(50) % 7 != 0
    parts = fold_parts(dealt(EVEN), fold=0, has_vectors=has_vectors)

    indices = np.sort(np.concatenate([parts.train, parts.val, parts.test]))

    np.testing.assert_array_equal(indices, np.flatnonzero(has_vectors))


def test_a_shuffle_permutes_labels_and_nothing_else() -> None:
    permuted = shuffled(EVEN, shuffle=0)

    assert (permuted.y != EVEN.y).any()
    assert np.bincount(permuted.y).tolist() == np.bincount(EVEN.y).tolist()
    assert permuted.track_ids == EVEN.track_ids


def test_shuffles_differ_by_their_number_alone() -> None:
    first, again, other = (shuffled(EVEN, shuffle=number).y for number in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_shuffle_leaves_the_true_labels() -> None:
    assert shuffled(EVEN, shuffle=-1) is EVEN
