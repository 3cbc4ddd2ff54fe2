"""From a patch of frames to what a model takes: one pure function per way, found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embedlib.errors import ConfigError
from embedlib.features import maest, openl3, spleeter, tempocnn
from embedlib.records import Float32


@dataclass(frozen=True, slots=True)
class PatchInput:
    """A way to make a model input.

    Attributes
    ----------
    name : str
        Name in specs and tables.
    version : int
        Goes up when a change of the code changes a number.
    make : callable
        Takes a patch, ``(patch_frames, n_bands)`` float32 and perhaps read-only; gives the model
        input without its batch axis, float32.
    """

    name: str
    version: int
    make: Callable[[Float32], Float32]


_BUILT_IN = (
    PatchInput("frames", 1, np.ascontiguousarray),
    PatchInput("tempocnn", 1, tempocnn.standardise),
    PatchInput("maest", 1, maest.normalise),
    PatchInput("openl3-gist", 1, openl3.gist),
    PatchInput("openl3-paper", 1, openl3.paper),
    PatchInput("spleeter-stft", 1, spleeter.stft_magnitude),
)
_PATCH_INPUTS = {each.name: each for each in _BUILT_IN}


def patch_input(name: str) -> PatchInput:
    """Find a way to make model inputs.

    Parameters
    ----------
    name : str
        As a model's spec names it; ``frames`` is the patch as it is.

    Returns
    -------
    patch_input : PatchInput
        Without state.

    Raises
    ------
    ConfigError
        If there is none of that name.

    Examples
    --------
    >>> patch_input("frames").make(np.ones((187, 96), np.float32)).shape
    (187, 96)
    """
    try:
        return _PATCH_INPUTS[name]
    except KeyError:
        raise ConfigError(
            f"unknown patch input {name!r}", fix=f"choose one of {', '.join(_PATCH_INPUTS)}"
        ) from None
