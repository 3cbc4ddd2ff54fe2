"""What holds for folds and means of any tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedlib.errors import ConfigError
from embedlib.probes.folds import assign_folds, shuffled
from embedlib.probes.probe import track_means
from embedlib.probes.records import Sample, Split
from embedlib.probes.rows import rows_of
from embedlib.tasks.cohort import Cohort

CLASSES = ("calm", "glad", "sad")


@st.composite
def cohorts(draw: st.DrawFn, *, is_grouped: bool = False) -> Cohort:
    """Three classes of 6 to 30 tracks each; of the grouped ones about a half share a group."""
    counts = [draw(st.integers(6, 30)) for _ in CLASSES]
    y = np.repeat(np.arange(3), counts)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = rng.permutation([f"t{number:03}" for number in range(len(y))])
    groups = tuple(f"g{number}" for number in rng.integers(len(y), size=len(y)))
    track_ids = tuple(str(name) for name in names)
    return Cohort("toy", CLASSES, track_ids, y, groups if is_grouped else ())


def reordered(tracks: Cohort, order: np.ndarray) -> Cohort:
    return replace(
        tracks,
        track_ids=tuple(tracks.track_ids[i] for i in order),
        y=tracks.y[order],
        groups=tuple(tracks.groups[i] for i in order) if tracks.groups else (),
    )


@given(cohorts(), st.integers(3, 6), st.integers(0, 4))
def test_counts_of_a_class_in_two_stratified_folds_differ_by_one_at_most(
    tracks: Cohort, n_folds: int, repeat: int
) -> None:
    folds = assign_folds(tracks, n_folds=n_folds, repeat=repeat, split=Split.STRATIFIED)

    assert set(folds) == set(range(n_folds))
    for number in range(3):
        assert np.ptp(np.bincount(folds[tracks.y == number], minlength=n_folds)) <= 1


@given(cohorts(is_grouped=True), st.integers(0, 4))
def test_a_group_is_never_split_and_each_class_is_in_each_fold_or_it_is_refused(
    tracks: Cohort, repeat: int
) -> None:
    try:
        folds = assign_folds(tracks, n_folds=3, repeat=repeat, split=Split.GROUPED)
    except ConfigError:
        assume(False)

    pairs = set(zip(tracks.groups, folds.tolist(), strict=True))
    assert len(pairs) == len(set(tracks.groups))
    assert len(set(zip(tracks.y.tolist(), folds.tolist(), strict=True))) == 3 * len(CLASSES)


@pytest.mark.parametrize("split", [Split.STRATIFIED, Split.GROUPED])
@given(data=st.data())
def test_folds_and_shuffles_do_not_depend_on_the_order_of_tracks(
    split: Split, data: st.DataObject
) -> None:
    tracks = data.draw(cohorts(is_grouped=split is Split.GROUPED))
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(tracks))
    other = reordered(tracks, order)
    try:
        folds = assign_folds(tracks, n_folds=3, repeat=0, split=split)
    except ConfigError:
        assume(False)

    np.testing.assert_array_equal(
        assign_folds(other, n_folds=3, repeat=0, split=split), folds[order]
    )
    np.testing.assert_array_equal(
        shuffled(other, shuffle=3).y, shuffled(tracks, shuffle=3).y[order]
    )


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_the_rows_of_tracks_are_theirs_and_mean_is_over_them(
    counts: list[int], data: st.DataObject
) -> None:
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    x = np.repeat(np.arange(len(counts)), counts).astype(np.float32)[:, None]
    tracks = np.array(data.draw(st.permutations(range(len(counts)))))

    rows, row_starts = rows_of(Sample("tiny", x, starts, "id"), tracks)
    means = track_means(rows.astype(np.float64), row_starts)[:, 0]

    has_rows = np.array(counts)[tracks] > 0
    np.testing.assert_array_equal(means, np.where(has_rows, tracks, np.nan))
