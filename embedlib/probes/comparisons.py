"""Whether two models of a task differ, beyond chance and beyond the number of questions asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedlib.probes.records import Float64, Int
from embedlib.probes.statistics import UnitCounts

N_FLIPS = 99_999
"""Permutations of a test: the least p is 1e-5, which survives Holm's factor of 448 pairs."""

_TOLERANCE = 1e-9  # sums of the same differences in another order are equal
_WORD_BITS = 64


def paired_p(a: UnitCounts, b: UnitCounts, *, seed: int, n_flips: int = N_FLIPS) -> float:
    """Test whether two models have the same balanced accuracy on the same tracks.

    If they are equally good, the predictions of a unit might as well have come from the other one.
    Given the classes, the difference of the balanced accuracies is a sum over units, so that an
    exchange flips the sign of the unit's part.

    Parameters
    ----------
    a, b : UnitCounts
        Of the same units and tracks.
    seed : int
        Of the exchanges.
    n_flips : int > 0, optional
        Random exchanges.

    Returns
    -------
    p : float
        Two-sided, ``(1 + exchanges as far from zero as what was observed) / (1 + n_flips)``: never
        0, and never too small (Phipson and Smyth 2010, Statistical Applications in Genetics and
        Molecular Biology 9(1)).
    """
    parts = unit_differences(a, b)
    sizes, counts = np.unique(np.abs(np.round(parts, 12)), return_counts=True)
    rng = np.random.default_rng(seed)
    total = np.zeros(n_flips)
    for size, n_units in zip(sizes[sizes > 0], counts[sizes > 0], strict=True):
        heads = fair_heads(int(n_units), rng=rng, n_draws=n_flips)
        total += size * (2 * heads - n_units)
    n_far = np.count_nonzero(np.abs(total) >= abs(parts.sum()) - _TOLERANCE)
    return float((1 + n_far) / (1 + n_flips))


def unit_differences(a: UnitCounts, b: UnitCounts) -> Float64:
    """Split the difference of two balanced accuracies into the parts of the units.

    Parameters
    ----------
    a, b : UnitCounts
        Of the same units and tracks.

    Returns
    -------
    parts : np.ndarray [shape=(n_units,), float64]
        Their sum is ``a.accuracy - b.accuracy``.
    """
    parts = ((a.hits - b.hits) / a.class_sizes).mean(axis=1)
    return np.asarray(parts, dtype=np.float64)


def fair_heads(n_coins: int, *, rng: np.random.Generator, n_draws: int) -> Int:
    """Toss fair coins and count the heads.

    One random bit is one coin: for what is tossed here this is some ten times as fast as binomial
    variates.

    Parameters
    ----------
    n_coins : int >= 0
        Coins.
    rng : numpy.random.Generator
        Where the bits come from.
    n_draws : int > 0
        Tosses of all coins.

    Returns
    -------
    heads : np.ndarray [shape=(n_draws,), int64]
        From 0 to `n_coins`.
    """
    heads = np.zeros(n_draws, dtype=np.int64)
    for done in range(0, n_coins, _WORD_BITS):
        n_bits = min(_WORD_BITS, n_coins - done)
        words = rng.integers(0, 1 << n_bits, size=n_draws, dtype=np.uint64)
        heads += np.bitwise_count(words)
    return heads


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p values for their number (Holm 1979).

    Parameters
    ----------
    p_values : sequence of float
        Of one family of tests, in any order.

    Returns
    -------
    corrected : tuple of float
        In the same order; at most 1. Rejecting those that are at most alpha rejects a true
        hypothesis with a probability of alpha at most, however the tests depend on each other.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(factors * np.asarray(p_values)[order])
    return tuple(np.minimum(corrected, 1).tolist())
