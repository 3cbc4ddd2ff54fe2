"""What is known of a tensor without running the graph.

Shapes are tuples in which None is a length known at run time only, or None where not even the
rank is known. `Known` carries beside the shape the value of small integer tensors, because
``Reshape`` and its like take their shape from one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Known:
    """Shape and value of a tensor, as far as they are known.

    Attributes
    ----------
    shape : tuple of (int or None), or None
        Its shape.
    value : np.ndarray of object, or None
        Its integers, None for those known at run time only.
    """

    shape: Shape = None
    value: NDArray[np.object_] | None = None


UNKNOWN = Known()

Node = Any  # a NodeDef; protobuf messages have no types here
Rule = Callable[[Node, Sequence[Known]], Known]
"""Gives what is known of the first output of a node, from its attributes and inputs."""
