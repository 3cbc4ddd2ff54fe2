"""What is known of a tensor for all inputs: around which value each of its channels stays.

A channel is an index along one axis, that of the filters which made the tensor. Arithmetic is that
of a centre and a radius, in float64: the radius grows with each layer and is never too small, so
that a channel whose radius is below all that float32 can tell is a constant, proven, not observed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedlib.models.known import Shape

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Ints = NDArray[np.int64]
Array = NDArray[Any]
Border = tuple[tuple[int, int], ...]

INPUT_BOUND = 1e4
"""Largest magnitude of an input that the proof covers.

Far above what front ends give: logarithms of mel bands stay below 10, decibels below 200, and the
spectrum of 4096 samples of full scale below 4096.
"""

DEAD_BELOW = 2.0**-24
"""How far a dead channel may move, as a share of the largest input: the rounding of float32.

In the published MusiCNN no filter of the front end, its batch norm included, moves by between 8e-10
and 4e-3 of the input, in its fine-tuned sibling genre_dortmund_musicnn_msd.pb none by between 0 and
1.5e-4.
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds for a tensor, whatever the input.

    Attributes
    ----------
    shape : tuple of (int or None), or None
        Its shape.
    axis : int or None
        The axis whose channels are told apart; None where all values share one bound.
    ids : np.ndarray [shape=(n_channels,), int64]
        Which filter each channel comes from; empty without an axis.
    value : np.ndarray [shape=(n_channels,) or (1,), float64]
        What each channel is for an input of zeros, edges apart.
    radius : np.ndarray [shape=(n_channels,) or (1,), float64]
        How far from it the channel can get; infinite where nothing is known.
    border : tuple of (int, int), or None
        Zeros that were put before and behind each axis, which the values leave out.
    """

    shape: Shape
    axis: int | None
    ids: Ints
    value: Float64
    radius: Float64
    border: Border | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape or ())

    def without_border(self) -> Facts:
        """Count zeros around the values among them.

        Returns
        -------
        facts : Facts
            Without a border.
        """
        return self if self.border is None else replace(self, radius=self.reach, border=None)

    @property
    def largest(self) -> Float64:
        """The largest magnitude of each channel."""
        return np.abs(self.value) + self.radius

    @property
    def reach(self) -> Float64:
        """How far from its value a channel can get, or zeros around it are."""
        return np.maximum(self.radius, np.abs(self.value))

    def is_constant(self, tolerance: float) -> Bool:
        """Tell which channels are constants.

        Parameters
        ----------
        tolerance : float >= 0
            Largest radius of a constant.

        Returns
        -------
        is_constant : np.ndarray [shape=(n_channels,), bool]
            False where nothing is known.
        """
        return (self.radius <= tolerance) & np.isfinite(self.value)


def bounded(shape: Shape, *, value: float = 0.0, radius: float = np.inf) -> Facts:
    """Give a tensor all of whose values share one bound.

    Parameters
    ----------
    shape : tuple of (int or None), or None
        Its shape.
    value, radius : float
        Centre and radius of the bound.

    Returns
    -------
    facts : Facts
        Without an axis.

    Examples
    --------
    >>> bounded((None, 187, 96), radius=1e4).axis is None
    True
    """
    return Facts(shape, None, np.zeros(0, np.int64), np.array([value]), np.array([radius]))


def merged(facts: Facts) -> Facts:
    """Give one bound for all channels of a tensor.

    Parameters
    ----------
    facts : Facts
        Any.

    Returns
    -------
    merged : Facts
        Without an axis.
    """
    if facts.axis is None:
        return facts.without_border()
    low, high = (facts.value - facts.radius).min(), (facts.value + facts.radius).max()
    if facts.border is not None:
        low, high = min(low, 0.0), max(high, 0.0)
    if not np.isfinite(high - low):
        return bounded(facts.shape)
    return bounded(facts.shape, value=(low + high) / 2, radius=(high - low) / 2)
