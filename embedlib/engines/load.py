"""Which engine runs a model: the one that was asked for, or the best one here."""

from __future__ import annotations

from importlib.util import find_spec

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.errors import ConfigError, EngineError

ENGINES = ("auto", "openvino", "essentia")

_PACKAGES = {
    "openvino": "openvino",
    "essentia": "essentia-tensorflow==2.1b6.dev1389 (Linux on x86-64 only), or take openvino",
}


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
    EngineError
        If its runtime is not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"engine={name!r} is unknown", fix=f"use one of {', '.join(ENGINES)}")
    wanted = ("openvino", "essentia") if name == "auto" else (name,)
    for engine in wanted:
        if find_spec(engine):
            return engine
    raise EngineError(f"{wanted[0]} is not installed", fix=f"pip install {_PACKAGES[wanted[0]]}")


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
