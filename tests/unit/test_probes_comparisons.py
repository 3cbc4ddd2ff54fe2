"""Paired tests, Holm's correction, ranks and the band of controls, against known answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from embedlib.probes.comparisons import fair_heads, holm, paired_p, unit_differences
from embedlib.probes.controls import chance_band
from embedlib.probes.ranks import critical_difference, friedman_p, model_ranks
from embedlib.probes.statistics import UnitCounts, count_units


def pair(
    rng: np.random.Generator, *, n_tracks: int, accuracies: tuple[float, float], n_units: int = 0
) -> tuple[UnitCounts, UnitCounts]:
    """Two models whose predictions depend on the truth alone."""
    truth = rng.integers(0, 3, n_tracks)
    units = rng.integers(0, n_units, n_tracks) if n_units else np.arange(n_tracks)
    right = rng.random((2, n_tracks)) < np.array(accuracies)[:, None]
    a, b = (count_units(units, truth, np.where(each, truth, (truth + 1) % 3)) for each in right)
    return a, b


def enumerated_p(parts: np.ndarray) -> float:
    parts = parts[parts != 0]
    totals = [abs(np.dot(signs, parts)) for signs in product((-1, 1), repeat=len(parts))]
    return float(np.mean(np.array(totals) >= abs(parts.sum()) - 1e-9))


@pytest.mark.parametrize("n_units", [0, 8])
def test_p_is_that_of_all_exchanges(n_units: int, rng: np.random.Generator) -> None:
    a, b = pair(rng, n_tracks=24, accuracies=(0.8, 0.5), n_units=n_units)

    p = paired_p(a, b, seed=0)

    assert p == pytest.approx(enumerated_p(unit_differences(a, b)), abs=0.008)


def test_the_parts_of_units_add_up_to_the_difference(rng: np.random.Generator) -> None:
    a, b = pair(rng, n_tracks=100, accuracies=(0.8, 0.5), n_units=20)

    assert unit_differences(a, b).sum() == pytest.approx(a.accuracy - b.accuracy, abs=1e-12)


def test_equal_predictions_do_not_differ(rng: np.random.Generator) -> None:
    a, _ = pair(rng, n_tracks=100, accuracies=(0.8, 0.5))

    assert paired_p(a, a, seed=0, n_flips=99) == 1.0


def test_p_is_the_same_from_either_side(rng: np.random.Generator) -> None:
    a, b = pair(rng, n_tracks=200, accuracies=(0.7, 0.6))

    assert paired_p(a, b, seed=5, n_flips=999) == paired_p(b, a, seed=5, n_flips=999)


@pytest.mark.parametrize("n_units", [0, 40])
def test_equal_models_are_found_different_as_rarely_as_promised(
    n_units: int, rng: np.random.Generator
) -> None:
    p_values = [
        paired_p(
            *pair(rng, n_tracks=150, accuracies=(0.7, 0.7), n_units=n_units), seed=0, n_flips=199
        )
        for _ in range(600)
    ]

    assert np.mean(np.array(p_values) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert 0.45 < np.mean(p_values) < 0.58


def test_a_known_difference_is_found(rng: np.random.Generator) -> None:
    p_values = [
        paired_p(*pair(rng, n_tracks=500, accuracies=(0.85, 0.70)), seed=0, n_flips=999)
        for _ in range(40)
    ]

    assert max(p_values) < 0.01


@pytest.mark.parametrize("n_coins", [1, 5, 64, 65, 200])
def test_heads_are_binomial(n_coins: int, rng: np.random.Generator) -> None:
    heads = fair_heads(n_coins, rng=rng, n_draws=20_000)

    counts = np.bincount(heads, minlength=n_coins + 1)
    expected = 20_000 * stats.binom.pmf(np.arange(n_coins + 1), n_coins, 0.5)
    usual = expected > 5
    chi2 = float(((counts - expected)[usual] ** 2 / expected[usual]).sum())
    assert stats.chi2.sf(chi2, usual.sum() - 1) > 0.001


def test_holm_is_that_of_a_hand_computed_example() -> None:
    # Sorted 0.005 0.01 0.03 0.04 times 4 3 2 1 is 0.02 0.03 0.06 0.04, then never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


@pytest.mark.parametrize(
    ("p_values", "corrected"), [([], ()), ([0.2], (0.2,)), ([0.9] * 3, (1.0,) * 3)]
)
def test_holm_keeps_to_probabilities(p_values: list[float], corrected: tuple[float, ...]) -> None:
    assert holm(p_values) == corrected


def test_friedman_is_that_of_scipy_with_ties(rng: np.random.Generator) -> None:
    accuracies = rng.integers(0, 6, (12, 5)) / 10

    p = friedman_p(model_ranks(accuracies))

    assert p == pytest.approx(stats.friedmanchisquare(*accuracies.T).pvalue, abs=1e-12)


def test_models_that_all_tie_do_not_differ() -> None:
    assert friedman_p(model_ranks(np.full((4, 3), 0.5))) == 1.0


def test_the_best_model_has_rank_one() -> None:
    assert model_ranks(np.array([[0.2, 0.9, 0.5], [0.1, 0.3, 0.3]])).tolist() == [
        [3, 1, 2],
        [3, 1.5, 1.5],
    ]


# q of table 5(a) of Demsar 2006, at 5 %.
@pytest.mark.parametrize(("n_models", "q"), [(2, 1.960), (3, 2.343), (8, 3.031), (10, 3.164)])
def test_critical_differences_are_those_of_the_published_table(n_models: int, q: float) -> None:
    expected = q * np.sqrt(n_models * (n_models + 1) / (6 * 16))

    assert critical_difference(n_models, n_tasks=16) == pytest.approx(expected, rel=1e-3)


def test_the_band_of_a_control_holds_99_of_100_means(rng: np.random.Generator) -> None:
    shuffles = rng.normal(0.1, 0.02, size=(4000, 20))

    alarms = [row.mean() not in chance_band(row, n_classes=10) for row in shuffles]

    assert 0.005 < np.mean(alarms) < 0.016


def test_a_leak_leaves_the_band(rng: np.random.Generator) -> None:
    shuffles = rng.normal(0.13, 0.02, size=20)

    assert shuffles.mean() not in chance_band(shuffles, n_classes=10)


def test_a_probe_that_always_says_the_same_is_not_suspicious() -> None:
    rounded = 1 / 3 + 1e-15

    assert rounded in chance_band([rounded] * 20, n_classes=3)
