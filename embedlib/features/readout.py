"""From what a graph gives to vectors: one pure function per way, found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from embedlib.errors import ConfigError, EngineError
from embedlib.features import spleeter, tokens
from embedlib.records import Float32


@dataclass(frozen=True, slots=True)
class Readout:
    """A way to read vectors.

    Attributes
    ----------
    name : str
        Name in specs and tables.
    version : int
        Goes up when a change of the code changes a number.
    read : callable
        Takes the arrays of the nodes, each ``(batch, ...)`` float32; gives float32
        ``(batch, n_vectors, n_dims)``.
    """

    name: str
    version: int
    read: Callable[[tuple[Float32, ...]], Float32]


def vector(outputs: tuple[Float32, ...]) -> Float32:
    """Read one vector per patch.

    Parameters
    ----------
    outputs : tuple of np.ndarray [shape=(batch, ..., n_dims), float32]
        One array, whose inner axes have length one.

    Returns
    -------
    vectors : np.ndarray [shape=(batch, 1, n_dims), float32]
        A view.

    Raises
    ------
    EngineError
        If a patch gives more than one vector.

    Examples
    --------
    >>> import numpy as np
    >>> vector((np.zeros((4, 1, 1, 200), np.float32),)).shape
    (4, 1, 200)
    """
    (output,) = outputs
    if output.ndim < 2 or output[0].size != output.shape[-1]:
        raise EngineError(
            f"the node gave {output.shape}, not one vector per patch",
            fix="choose a node with one vector per patch",
        )
    return output.reshape(len(output), 1, output.shape[-1])


_BUILT_IN = (
    Readout("vector", 1, vector),
    Readout("spleeter-sum", 1, spleeter.sum_bands),
    Readout("spleeter-max", 1, spleeter.max_bands),
    Readout("maest-cls", 1, tokens.cls_token),
)
_READOUTS = {each.name: each for each in _BUILT_IN}


def readout(name: str) -> Readout:
    """Find a way to read vectors.

    Parameters
    ----------
    name : str
        As a model's spec names it.

    Returns
    -------
    readout : Readout
        Without state.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    try:
        return _READOUTS[name]
    except KeyError:
        raise ConfigError(
            f"unknown readout {name!r}", fix=f"choose one of {', '.join(_READOUTS)}"
        ) from None
