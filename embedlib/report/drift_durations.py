"""How long the tracks of two states are: hours, quantiles, and a histogram with common classes."""

from __future__ import annotations

from typing import Final

import numpy as np

from embedlib.probes.records import Float64
from embedlib.report.drift_records import Durations

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""The whole range, the middle 90 %, the middle half, the median."""

N_CLASSES: Final = 24
"""Of the histogram; fewer hide a second peak, more are empty in a catalogue of some hundred."""

_LEAST_S: Final = 1e-3
"""A millisecond: durations are shown by their logarithm, and one may be zero."""


def compare_durations(first_s: Float64, second_s: Float64) -> Durations:
    """Compare the durations of two states.

    Parameters
    ----------
    first_s, second_s : np.ndarray [shape=(n_tracks,), float64]
        Seconds, of any number of tracks each.

    Returns
    -------
    durations : Durations
        Equal durations in both states give equal values on both sides.

    Examples
    --------
    >>> half = compare_durations(np.array([1.0, 3.0]), np.array([2.0]))
    >>> half.quantiles_first[3], half.quantiles_second[3], sum(half.shares_first)
    (2.0, 2.0, 1.0)
    """
    edges_s = _edges_s(np.concatenate((first_s, second_s)))
    return Durations(
        hours_first=float(first_s.sum()) / 3600,
        hours_second=float(second_s.sum()) / 3600,
        quantiles_first=_quantiles_s(first_s),
        quantiles_second=_quantiles_s(second_s),
        edges_s=tuple(edges_s.tolist()),
        shares_first=_shares(first_s, edges_s),
        shares_second=_shares(second_s, edges_s),
    )


def _edges_s(durations_s: Float64) -> Float64:
    if not durations_s.size:
        return np.empty(0)
    least_s, greatest_s = np.maximum((durations_s.min(), durations_s.max()), _LEAST_S)
    if greatest_s <= least_s * 1.01:  # all alike: one class around them
        return np.array([least_s / 1.05, greatest_s * 1.05])
    return np.geomspace(least_s, greatest_s, N_CLASSES + 1)


def _quantiles_s(durations_s: Float64) -> tuple[float, ...]:
    return tuple(np.quantile(durations_s, QUANTILES).tolist()) if durations_s.size else ()


def _shares(durations_s: Float64, edges_s: Float64) -> tuple[float, ...]:
    """Count by class; rounding at the two ends of the range loses nobody."""
    if not edges_s.size:
        return ()
    classes = np.searchsorted(edges_s, durations_s, side="right") - 1
    n_classes = len(edges_s) - 1
    counts = np.bincount(np.clip(classes, 0, n_classes - 1), minlength=n_classes)
    return tuple((counts / max(1, len(durations_s))).tolist())
