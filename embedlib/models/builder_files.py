"""Graphs with random weights, kept in the cache.

Those of embedlib's own models follow from `BUILDER_VERSION` and the seed, so one that is kept is
taken. What writes the graph of any other model may have been edited since: it is asked each time,
and a graph is kept under a name with its hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from embedlib.errors import ModelError
from embedlib.models.builder import BUILDER_VERSION, build_untrained
from embedlib.models.graph import parse_graph
from embedlib.models.locks import (
    checked_sha256,
    file_sha256,
    keep_weights,
    locked_sha256,
    read_weights,
)
from embedlib.models.nodes import SpecNodes, check_nodes, named_nodes, resolve_spec
from embedlib.models.registry import comes_with_embedlib
from embedlib.models.spec import ModelSpec

_N_HASH_DIGITS = 16
"""Of the sha256 in a file's name; the lock beside it has all."""


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A graph that was built and is kept.

    Attributes
    ----------
    path : Path
        Where it is.
    sha256 : str
        Hex digest of its bytes.
    nodes : SpecNodes
        The tensors of the spec, by their names in the file.
    """

    path: Path
    sha256: str
    nodes: SpecNodes


def build_into(folder: Path, spec: ModelSpec, *, seed: int = 0, anew: bool = False) -> BuiltFile:
    """Build the graph of a model with random weights into a folder.

    Parameters
    ----------
    folder : Path
        Made if absent.
    spec : ModelSpec
        An untrained model.
    seed : int >= 0
        Source of the weights.
    anew : bool
        Whether to write the file even where the same one is kept.

    Returns
    -------
    file : BuiltFile
        What the code of this moment writes.

    Raises
    ------
    HashMismatchError
        If the file that is kept is not the one that was built; not where it is built anew.
    ModelError
        If a model that does not come with embedlib writes a graph that is refused, broken, or not
        what its spec says.
    ConfigError
        If the seed is negative.
    """
    build = _build_own if comes_with_embedlib(spec) else _build_other
    return build(folder, spec, seed=seed, anew=anew)


def _build_own(folder: Path, spec: ModelSpec, *, seed: int, anew: bool) -> BuiltFile:
    path = folder / f"{spec.name}.v{BUILDER_VERSION}.seed{seed}.pb"
    locked = locked_sha256(path)
    if anew or not path.is_file() or locked is None:
        locked = _keep(path, build_untrained(spec, seed=seed), seed=seed)
    sha256 = checked_sha256(path, expected=locked)
    nodes = named_nodes(spec) or resolve_spec(
        spec, parse_graph(read_weights(path), origin=str(path))
    )
    return BuiltFile(path, sha256, nodes)


def _build_other(folder: Path, spec: ModelSpec, *, seed: int, anew: bool) -> BuiltFile:
    graph = build_untrained(spec, seed=seed)
    nodes = _checked_nodes(spec, graph)
    sha256 = hashlib.sha256(graph).hexdigest()
    path = folder / f"{spec.name}.seed{seed}.{sha256[:_N_HASH_DIGITS]}.pb"
    if anew or not _is_kept(path, sha256):
        _keep(path, graph, seed=seed)
    return BuiltFile(path, sha256, nodes)


def _keep(path: Path, graph: bytes, *, seed: int) -> str:
    sha256 = hashlib.sha256(graph).hexdigest()
    keep_weights(path, graph, sha256=sha256, source=f"embedlib models build, seed {seed}")
    return sha256


def _is_kept(path: Path, sha256: str) -> bool:
    return path.is_file() and locked_sha256(path) == sha256 == file_sha256(path)


def _checked_nodes(spec: ModelSpec, graph: bytes) -> SpecNodes:
    """Say of a graph that cannot be taken who wrote it, for he is the one to correct it."""
    code = getattr(spec.write_graph, "__code__", None)
    place = f" ({code.co_filename})" if code is not None else ""
    origin = f"the graph that write_graph of {spec.base_name}{place} writes"
    try:
        return check_nodes(spec, parse_graph(graph, origin=origin), origin=origin)
    except ModelError as exc:
        raise type(exc)(str(exc.args[0]), fix="correct write_graph, or what the spec says") from exc
