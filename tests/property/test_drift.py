"""Drift and states: properties that hold whatever the embeddings and the order of events."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedlib.records import Float32
from embedlib.report.drift_durations import compare_durations
from embedlib.report.drift_groups import GroupFinder
from embedlib.report.drift_records import Groups, Shift, Verdict
from embedlib.report.drift_rows import Block, Keys, compare_keys
from embedlib.report.drift_shift import ShiftMeter
from embedlib.tables.layout import CATALOG_FOLDER, RUNS_FOLDER
from embedlib.tables.states import STATE_FILE, states

N_DIMS = 3

matrices = arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.just(N_DIMS)),
    elements=st.floats(-100, 100, width=32),
)
ids = st.dictionaries(st.integers(0, 30), st.integers(0, 3))
durations = arrays(np.float64, st.integers(0, 30), elements=st.floats(0, 1e5))


def measured(x: Float32, is_first: list[bool], is_second: list[bool]) -> tuple[Shift, Groups]:
    sides = np.array(is_first), np.array(is_second)
    block = Block(tuple(map(str, range(len(x)))), x, *sides)
    n_gone, n_both, n_new = (
        int(np.count_nonzero(each))
        for each in (sides[0] & ~sides[1], sides[0] & sides[1], ~sides[0] & sides[1])
    )
    meter = ShiftMeter(n_gone=n_gone, n_both=n_both, n_new=n_new, n_dims=N_DIMS)
    finder = GroupFinder(n_tracks=len(x), n_dims=N_DIMS)
    for each in (meter, finder):
        each.add(block)
    return meter.shift(), finder.groups()


@given(matrices)
@settings(deadline=None, max_examples=50)
def test_a_state_that_equals_itself_has_not_drifted(x: Float32) -> None:
    everywhere = [True] * len(x)
    shift, groups = measured(x, everywhere, everywhere)
    assert (shift.verdict, shift.shift_sd, shift.chance_sd, shift.p) == (Verdict.SAME, 0, 0, 1)
    assert groups.n_groups_first == groups.n_groups_second
    assert groups.n_new == 0


@given(matrices, st.data())
@settings(deadline=None, max_examples=50)
def test_there_and_back_is_the_same_distance(x: Float32, data: st.DataObject) -> None:
    roles = data.draw(st.lists(st.sampled_from("gbn"), min_size=len(x), max_size=len(x)))
    is_first, is_second = ([role in side for role in roles] for side in ("gb", "bn"))
    there, groups_there = measured(x, is_first, is_second)
    back, groups_back = measured(x, is_second, is_first)
    assert (there.n_gone, there.n_new) == (back.n_new, back.n_gone)
    assert groups_there.n_groups_first == groups_back.n_groups_second
    if there.shift_sd is not None:
        np.testing.assert_allclose(there.shift_sd, back.shift_sd, rtol=1e-6, atol=1e-9)
        assert 0 < there.p <= 1
        assert there.chance_sd >= 0


@given(ids, ids)
def test_counts_of_two_listings_add_up(first: dict[int, int], second: dict[int, int]) -> None:
    found = compare_keys(*(keys(listing) for listing in (first, second)))
    assert found.n_new == len(second.keys() - first.keys())
    assert found.n_gone == len(first.keys() - second.keys())
    assert found.n_changed == sum(second.get(name, v) != v for name, v in first.items())
    assert found.n_first + found.n_new - found.n_gone == found.n_second


def keys(listing: dict[int, int]) -> Keys:
    names = np.array([*listing.keys()], np.int64)
    return Keys(names, 10 * names + np.array([*listing.values()], np.int64))


@given(durations, durations)
def test_no_track_falls_out_of_the_histogram(first_s: np.ndarray, second_s: np.ndarray) -> None:
    found = compare_durations(first_s, second_s)
    for side, shares in ((first_s, found.shares_first), (second_s, found.shares_second)):
        np.testing.assert_allclose(sum(shares), 1.0 if side.size else 0.0)
    assert np.all(np.diff(found.edges_s) > 0)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
@settings(deadline=None, max_examples=30)
def test_whatever_numbers_are_on_disk_each_state_has_one_of_its_own(recorded: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        (out / CATALOG_FOLDER).mkdir()
        for place, number in enumerate(recorded):
            folder = out / RUNS_FOLDER / f"run-{place}"
            folder.mkdir(parents=True)
            state = {"number": number, "run_id": folder.name, "kind": "index", "tables": {}}
            ended_at = f"2026-11-01T0{place}:00:00.000000Z"
            (folder / STATE_FILE).write_text(json.dumps(state | {"ended_at": ended_at}))
        found = states(out)
    numbers = [state.number for state in found]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == len(recorded)
    order = [int(state.run_id.removeprefix("run-")) for state in found]
    assert order == sorted(range(len(recorded)), key=lambda place: (recorded[place], place))
