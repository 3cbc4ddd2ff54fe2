"""How often intervals hold the truth, by simulation; the table of `accuracy_draws` comes from here.

``python tests/unit/test_probes_coverage.py 400`` prints it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from embedlib.probes.records import Float64
from embedlib.probes.statistics import UnitCounts, accuracy_draws, interval_of

N_DRAWS = 500
N_TRACKS = (230, 600, 1820)
N_CLASSES = (2, 5, 10)
ACCURACIES = (0.5, 0.8, 0.95, 0.99, 0.995)

Draws = Callable[[UnitCounts, int], Float64]


def ours(counted: UnitCounts, seed: int) -> Float64:
    return accuracy_draws(counted, seed=seed, n_draws=N_DRAWS)


def percentile(counted: UnitCounts, seed: int) -> Float64:
    """The bootstrap that resamples tracks; classes that vanish are left out."""
    hits, n_tracks = counted.hits.sum(axis=0), len(counted.hits)
    shares = np.stack([hits, counted.class_sizes - hits]).ravel() / n_tracks
    drawn = np.random.default_rng(seed).multinomial(n_tracks, shares, size=N_DRAWS)
    right, wrong = np.split(drawn, 2, axis=1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(right / (right + wrong), axis=1)


def class_sizes(n_tracks: int, n_classes: int, *, is_even: bool) -> np.ndarray:
    """Equal, or rising tenfold from the smallest, which has eight tracks at least."""
    shares = np.ones(n_classes) if is_even else np.geomspace(1, 10, n_classes)
    return np.maximum(8, (n_tracks * shares / shares.sum()).astype(int))


def tracks_alone(sizes: np.ndarray, accuracy: float, rng: np.random.Generator) -> UnitCounts:
    counts = np.repeat(np.eye(len(sizes)), sizes, axis=0)
    return UnitCounts(counts * (rng.random((len(counts), 1)) < accuracy), counts)


def groups_of(
    n_groups: int, *, n_classes: int, accuracy: float, spread: float, rng: np.random.Generator
) -> UnitCounts:
    """Groups of one class and some ten tracks, whose accuracies have the given correlation."""
    counts = np.eye(n_classes)[np.arange(n_groups) % n_classes] * rng.geometric(0.1, (n_groups, 1))
    scale = 1 / spread - 1
    own = rng.beta(accuracy * scale, (1 - accuracy) * scale, (n_groups, 1))
    return UnitCounts(rng.binomial(counts.astype(int), own).astype(float), counts)


def coverage(draw: Draws, make: Callable[[], UnitCounts], *, truth: float, n_sets: int) -> float:
    hits = 0
    for seed in range(n_sets):
        counted = make()
        hits += truth in interval_of(draw(counted, seed), counted.accuracy)
    return hits / n_sets


def table_row(draw: Draws, n_sets: int, accuracy: float) -> np.ndarray:
    """Coverage for all sizes."""
    rng = np.random.default_rng(0)
    sizes = [
        class_sizes(n_tracks, n_classes, is_even=is_even)
        for n_tracks, n_classes, is_even in product(N_TRACKS, N_CLASSES, (True, False))
    ]
    shares = [
        coverage(
            draw, lambda each=each: tracks_alone(each, accuracy, rng), truth=accuracy, n_sets=n_sets
        )
        for each in sizes
    ]
    return np.array(shares)


@pytest.mark.parametrize("accuracy", [0.8, 0.99])
def test_the_truth_lies_in_most_intervals_of_small_sets(accuracy: float) -> None:
    rng = np.random.default_rng(1)
    sizes = class_sizes(230, 5, is_even=False)

    share = coverage(ours, lambda: tracks_alone(sizes, accuracy, rng), truth=accuracy, n_sets=300)

    assert share > 0.91  # of 300 sets, three deviations below 95 %


def test_the_plain_percentile_interval_would_not_do() -> None:
    rng = np.random.default_rng(1)
    sizes = class_sizes(230, 5, is_even=False)

    share = coverage(percentile, lambda: tracks_alone(sizes, 0.99, rng), truth=0.99, n_sets=200)

    assert share < 0.85


def test_few_large_groups_widen_the_interval_enough() -> None:
    rng = np.random.default_rng(2)

    share = coverage(
        ours,
        lambda: groups_of(40, n_classes=2, accuracy=0.9, spread=0.2, rng=rng),
        truth=0.9,
        n_sets=300,
    )

    assert share > 0.90


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", ACCURACIES)
def test_the_interval_covers_94_percent_and_never_less_than_90(accuracy: float) -> None:
    shares = table_row(ours, 400, accuracy)

    assert shares.mean() > 0.94
    assert shares.min() > 0.90 - 2 * np.sqrt(0.9 * 0.1 / 400)  # 18 shares of 400 sets each


if __name__ == "__main__":
    for accuracy in ACCURACIES:
        for draws in (percentile, ours):
            row = table_row(draws, int(sys.argv[1]), accuracy)
            sys.stdout.write(f"{accuracy} {draws.__name__}: {row.mean():.3f} {row.min():.3f}\n")
            sys.stdout.flush()
