"""Random weights that keep activations in size, the same for the same generator."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from embedlib.records import Float32

# Weights drawn at once: 8 MiB of float64. One layer of VGGish has 50 million.
_BLOCK = 1 << 20


def he_uniform(
    rng: np.random.Generator, shape: Sequence[int], *, fan_in: float | None = None
) -> Float32:
    """Draw a kernel with He's variance, 2 / `fan_in` [1]_.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the weights.
    shape : sequence of int
        Of the kernel, channels out last.
    fan_in : float or None
        Weights that meet in one output; None for all axes but the last.

    Returns
    -------
    weights : np.ndarray [shape=shape, float32]
        Uniform around zero.

    References
    ----------
    .. [1] K. He et al.: Delving deep into rectifiers. arXiv:1502.01852, 2015.
    """
    limit = sqrt(6.0 / (prod(shape[:-1]) if fan_in is None else fan_in))
    return uniform(rng, prod(shape), centre=0.0, half_width=limit).reshape(shape)


def uniform(
    rng: np.random.Generator, n_values: int, *, centre: float, half_width: float
) -> Float32:
    """Draw numbers from an interval, in blocks of bounded memory.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the numbers.
    n_values : int >= 0
        How many.
    centre, half_width : float
        Of the interval.

    Returns
    -------
    values : np.ndarray [shape=(n_values,), float32]
        Drawn in float64 and rounded; the block does not change them.
    """
    values = np.empty(n_values, np.float32)
    for start in range(0, n_values, _BLOCK):
        block = values[start : start + _BLOCK]
        block[:] = centre + half_width * (2.0 * rng.random(len(block)) - 1.0)
    return values
