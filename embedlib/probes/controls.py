"""Shuffled labels: whether a probe reads more off them than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from embedlib.probes.score_records import Interval

CONFIDENCE = 0.99

_ROUNDING = 1e-9  # a probe that always says the same has exactly 1 / K, up to this


def chance_band(accuracies: Sequence[float], *, n_classes: int) -> Interval:
    """Give the band in which the mean over shuffles lies if nothing leaks.

    Parameters
    ----------
    accuracies : sequence of float
        Balanced accuracy of each shuffle; at least two.
    n_classes : int > 0
        Classes that occur.

    Returns
    -------
    band : Interval
        Around ``1 / n_classes``, by Student's t: of the means of sets without a leak 99 % lie
        inside.

    Examples
    --------
    >>> 0.5 in chance_band([0.48, 0.53, 0.5], n_classes=2)
    True
    """
    n = len(accuracies)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    half = quantile * float(np.std(accuracies, ddof=1)) / math.sqrt(n) + _ROUNDING
    return Interval(1 / n_classes - half, 1 / n_classes + half)
