"""What holds of scores, intervals and p values whatever the predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from embedlib.probes.comparisons import holm, paired_p, unit_differences
from embedlib.probes.ranks import friedman_p, model_ranks
from embedlib.probes.statistics import accuracy_draws, balanced_accuracy, count_units, interval_of

# Unit, class and two predictions of each track.
TRACKS = st.lists(
    st.tuples(st.integers(0, 6), *(st.integers(0, 3),) * 3), min_size=1, max_size=60
).map(lambda rows: np.array(rows, dtype=np.int64).T)
P_VALUES = st.lists(st.floats(0, 1), max_size=20)


@given(TRACKS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_balanced_accuracy_is_that_of_scikit_learn(tracks: np.ndarray) -> None:
    _, truth, predicted, _ = tracks

    expected = balanced_accuracy_score(truth, predicted)
    assert balanced_accuracy(truth, predicted) == pytest.approx(expected, abs=1e-12)


@given(TRACKS, st.integers(0, 2**32 - 1))
def test_draws_are_accuracies_and_the_interval_holds_what_was_seen(
    tracks: np.ndarray, seed: int
) -> None:
    counted = count_units(*tracks[:3])

    draws = accuracy_draws(counted, seed=seed, n_draws=50)

    interval = interval_of(draws, counted.accuracy)
    assert np.all((draws >= 0) & (draws <= 1))
    assert 0 <= interval.low <= counted.accuracy <= interval.high <= 1


@given(TRACKS, st.permutations(range(7)))
def test_draws_do_not_depend_on_the_names_of_units(tracks: np.ndarray, names: list[int]) -> None:
    units, truth, predicted, _ = tracks

    draws = accuracy_draws(count_units(units, truth, predicted), seed=0, n_draws=20)
    renamed = count_units(np.array(names)[units], truth, predicted)

    assert np.array_equal(draws, accuracy_draws(renamed, seed=0, n_draws=20))


@given(TRACKS)
@settings(max_examples=50)
def test_p_is_a_probability_and_is_one_where_nothing_differs(tracks: np.ndarray) -> None:
    units, truth, first, second = tracks
    a, b = count_units(units, truth, first), count_units(units, truth, second)

    p = paired_p(a, b, seed=0, n_flips=99)

    assert 0.01 <= p <= 1
    assert p == 1 or np.any(unit_differences(a, b))
    assert unit_differences(a, b).sum() == pytest.approx(a.accuracy - b.accuracy, abs=1e-12)


@given(P_VALUES)
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)

    by_p = [each for _, each in sorted(zip(p_values, corrected, strict=True))]
    assert all(p <= each <= 1 for p, each in zip(p_values, corrected, strict=True))
    assert by_p == sorted(by_p)


@given(P_VALUES)
def test_holm_does_not_depend_on_the_order(p_values: list[float]) -> None:
    assert sorted(holm(p_values)) == sorted(holm(p_values[::-1]))


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 10_000))
def test_ranks_of_a_task_add_up_and_p_is_a_probability(
    n_tasks: int, n_models: int, seed: int
) -> None:
    ranks = model_ranks(np.random.default_rng(seed).integers(0, 4, (n_tasks, n_models)) / 4)

    assert np.allclose(ranks.sum(axis=1), n_models * (n_models + 1) / 2)
    assert 0 <= friedman_p(ranks) <= 1
