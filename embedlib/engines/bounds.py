"""How far engines may be apart that run the same graph on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_RELATIVE_L2: Final[Mapping[str, float]] = {"f32": 1e-5, "bf16": 3e-2}
"""Relative l2 distance of vectors by precision, for any two engines, processors or versions.

As ``docs/fidelity.md`` states it and ``tests/contract/test_fidelity_engines.py`` holds it: 2e-6 was
measured in f32, and bf16 keeps 8 bits. What was measured of each model is in ``docs/models.json``.
"""

_MAX_OF_LOGARITHMS: Final = 5e-2
_LOGARITHMIC: Final = frozenset({"spleeter-sum", "spleeter-max"})


@dataclass(frozen=True, slots=True)
class Bound:
    """How far the vectors of a track may be apart.

    Attributes
    ----------
    relative_l2 : float
        At most.
    is_of_all : bool
        Whether of all vectors taken as one; else of each.
    """

    relative_l2: float
    is_of_all: bool = False


def engine_bound(precision: str, *, readout: str) -> Bound:
    """Say how far two engines may be apart in what is read from a graph.

    Spleeter's vectors are logarithms with a sign, which magnify what engines differ by where a sum
    is close to zero, and jump where it changes its sign. One of 20,000 that does so makes 4e-2 of
    all vectors of a clip, while a delay of one frame makes more than 0.1
    (``tests/contract/test_fidelity_models.py``).

    Parameters
    ----------
    precision : str
        Of inference: ``f32`` or ``bf16``.
    readout : str
        Name of the function that makes vectors of the outputs of the graph.

    Returns
    -------
    bound : Bound
        For any two engines, processors or versions.

    Examples
    --------
    >>> engine_bound("f32", readout="vector")
    Bound(relative_l2=1e-05, is_of_all=False)
    """
    if readout in _LOGARITHMIC:
        return Bound(_MAX_OF_LOGARITHMS, is_of_all=True)
    return Bound(MAX_RELATIVE_L2[precision])
