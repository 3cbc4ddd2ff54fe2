"""Which engine runs a model: the one that was asked for, or the best one here."""

from __future__ import annotations

from importlib.util import find_spec

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.errors import ConfigError

ENGINES = ("auto", "openvino", "essentia")

REFERENCE_PARITY = {"openvino": 1e-5, "essentia": 0.0}
"""Bound on the relative l2 error of f32 embeddings against Essentia's TensorFlow."""


def resolve_engine(name: str) -> str:
    """Say which engine `name` means on a CPU slot of this machine.

    Parameters
    ----------
    name : str
        ``auto``, ``openvino`` or ``essentia``.

    Returns
    -------
    engine : str
        ``openvino`` for ``auto`` where it is installed, else ``essentia``.

    Raises
    ------
    ConfigError
        If there is no such engine.
    """
    if name not in ENGINES:
        raise ConfigError(f"engine={name!r} is unknown", fix=f"use one of {', '.join(ENGINES)}")
    if name != "auto":
        return name
    return "openvino" if find_spec("openvino") else "essentia"


def load_engine(name: str, spec: GraphSpec) -> Engine:
    """Load a graph into an engine.

    Parameters
    ----------
    name : str
        As for `resolve_engine`.
    spec : GraphSpec
        The graph and what to read from it.

    Returns
    -------
    engine : Engine
        Ready for batches.
    """
    if resolve_engine(name) == "essentia":
        from embedlib.engines.essentia import EssentiaEngine

        return EssentiaEngine(spec)
    from embedlib.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(spec)
