"""Balanced accuracy, its draws and its interval, on counts with known answers."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from embedlib.probes.score_records import Interval
from embedlib.probes.statistics import (
    UnitCounts,
    accuracy_draws,
    balanced_accuracy,
    confusion_matrix,
    count_units,
    interval_of,
)


def one_class(n_tracks: int, n_hits: int) -> UnitCounts:
    return UnitCounts((np.arange(n_tracks) < n_hits)[:, None].astype(float), np.ones((n_tracks, 1)))


def test_balanced_accuracy_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    truth, predicted = rng.integers(0, 5, (2, 400))

    found = balanced_accuracy(truth, predicted)

    assert found == pytest.approx(balanced_accuracy_score(truth, predicted), abs=1e-12)


def test_a_class_without_tracks_is_left_out() -> None:
    truth, predicted = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 1])

    assert balanced_accuracy(truth, predicted) == 0.5


def test_the_confusion_has_classes_in_rows() -> None:
    found = confusion_matrix(np.array([0, 0, 2]), np.array([1, 1, 2]), n_classes=3)

    assert found.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_units_hold_their_tracks_by_class() -> None:
    counted = count_units(np.array([4, 1, 4, 4]), np.array([0, 0, 3, 3]), np.array([0, 1, 3, 0]))

    assert counted.counts.tolist() == [[1, 0], [1, 2]]
    assert counted.hits.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(("n_tracks", "n_hits"), [(500, 350), (500, 495), (500, 500)])
def test_draws_of_one_class_are_the_posterior_of_jeffreys(n_tracks: int, n_hits: int) -> None:
    draws = accuracy_draws(one_class(n_tracks, n_hits), seed=3, n_draws=4000)

    posterior = stats.beta(n_hits + 0.5, n_tracks - n_hits + 0.5)
    assert stats.kstest(draws, posterior.cdf).pvalue > 0.001


def test_draws_spread_like_the_binomials_that_they_stand_for(rng: np.random.Generator) -> None:
    truth = np.repeat([0, 1, 2], [300, 600, 100])
    predicted = np.where(rng.random(1000) < 0.8, truth, (truth + 1) % 3)

    draws = accuracy_draws(count_units(np.arange(1000), truth, predicted), seed=0)

    expected = np.sqrt(sum(0.8 * 0.2 / n for n in (300, 600, 100))) / 3
    assert draws.std() == pytest.approx(expected, rel=0.1)


def test_tracks_of_a_group_count_as_one_when_they_fail_together(rng: np.random.Generator) -> None:
    units = np.repeat(np.arange(50), 20)
    truth = units % 2
    predicted = np.where(rng.random(50) < 0.7, truth[::20], 1 - truth[::20])[units]

    grouped = accuracy_draws(count_units(units, truth, predicted), seed=0).std()
    alone = accuracy_draws(count_units(np.arange(1000), truth, predicted), seed=0).std()

    assert grouped / alone == pytest.approx(np.sqrt(20), rel=0.15)


@pytest.mark.parametrize(("fail_together", "expected"), [(True, 0.930), (False, 0.949)])
def test_pseudo_tracks_come_in_the_clusters_that_errors_come_in(
    fail_together: bool, expected: float
) -> None:
    units = np.repeat(np.arange(20), 20)
    is_wrong = units == 7 if fail_together else np.arange(400) % 20 == 7

    draws = accuracy_draws(count_units(units, np.zeros(400, int), is_wrong.astype(int)), seed=0)

    # Half a cluster of hits and half a cluster of misses beside 380 hits and 20 misses.
    assert draws.mean() == pytest.approx(expected, abs=0.004)


def test_draws_do_not_depend_on_the_order_of_tracks(rng: np.random.Generator) -> None:
    units, truth, predicted = rng.integers(0, 4, (3, 60))
    order = rng.permutation(60)

    straight = accuracy_draws(count_units(units, truth, predicted), seed=1)
    mixed = accuracy_draws(count_units(units[order], truth[order], predicted[order]), seed=1)

    assert np.array_equal(straight, mixed)


def test_another_seed_gives_other_draws() -> None:
    counted = one_class(40, 30)

    assert not np.array_equal(accuracy_draws(counted, seed=1), accuracy_draws(counted, seed=2))


@pytest.mark.parametrize("n_tracks", [30, 280, 1820])
def test_no_error_gives_an_interval_up_to_one(n_tracks: int) -> None:
    interval = interval_of(accuracy_draws(one_class(n_tracks, n_tracks), seed=0), 1.0)

    assert interval.high == 1.0
    assert 1 - 4 / n_tracks < interval.low < 1 - 1 / n_tracks  # the rule of three says 3 / n


def test_an_interval_is_widened_to_hold_what_was_observed() -> None:
    assert interval_of(np.full(10, 0.5), 0.7) == Interval(0.5, 0.7)


@pytest.mark.parametrize("n_units", [8732, 1300])
def test_the_largest_task_takes_little_time_and_memory(
    n_units: int, rng: np.random.Generator
) -> None:
    units = rng.permutation(np.arange(8732) % n_units)
    truth, predicted = rng.integers(0, 10, (2, 8732))
    counted = count_units(units, truth, predicted)

    tracemalloc.start()
    started_s = time.process_time()
    accuracy_draws(counted, seed=0)
    taken_s, (_, peak_bytes) = time.process_time() - started_s, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken_s < 2
    assert peak_bytes < 100e6
