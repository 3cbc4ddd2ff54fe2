"""Ranks of models over tasks, and how far apart they must be (Demsar 2006, JMLR 7, 1-30)."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from embedlib.probes.records import Float64

_DECIMALS = 12  # accuracies that differ by less are ties


def model_ranks(accuracies: Float64) -> Float64:
    """Rank the models of each task.

    Parameters
    ----------
    accuracies : np.ndarray [shape=(n_tasks, n_models), float64]
        The larger the better.

    Returns
    -------
    ranks : np.ndarray [shape=(n_tasks, n_models), float64]
        From 1, the best; ties share their mean.

    Examples
    --------
    >>> model_ranks(np.array([[0.5, 0.9, 0.9]]))
    array([[3. , 1.5, 1.5]])
    """
    ranks = stats.rankdata(-np.round(accuracies, _DECIMALS), axis=1)
    return np.asarray(ranks, dtype=np.float64)


def friedman_p(ranks: Float64) -> float:
    """Test whether all models are equally good.

    Parameters
    ----------
    ranks : np.ndarray [shape=(n_tasks, n_models), float64]
        Of `model_ranks`, at least two models.

    Returns
    -------
    p : float
        By the chi-square approximation with the correction for ties; 1 where all tie.
    """
    n_models = ranks.shape[1]
    deviations = ranks - (n_models + 1) / 2
    spread = float(np.sum(deviations**2))
    if spread == 0:
        return 1.0
    statistic = (n_models - 1) * float(np.sum(deviations.sum(axis=0) ** 2)) / spread
    return float(stats.chi2.sf(statistic, n_models - 1))


def critical_difference(n_models: int, *, n_tasks: int, alpha: float = 0.05) -> float:
    """Give the difference of mean ranks that two models must have to differ (Nemenyi).

    Parameters
    ----------
    n_models : int >= 2
        Models that are compared, all with all.
    n_tasks : int > 0
        Tasks that were ranked.
    alpha : float, optional
        Probability to find a difference where there is none.

    Returns
    -------
    difference : float
        In ranks.

    Examples
    --------
    >>> round(critical_difference(4, n_tasks=14), 2)
    1.25
    """
    q = float(stats.studentized_range.ppf(1 - alpha, n_models, math.inf)) / math.sqrt(2)
    return q * math.sqrt(n_models * (n_models + 1) / (6 * n_tasks))
