"""Where weight files are, and whether they are what they should be.

A file is searched for in this order: the path that the caller gives, the folders of
``EMBEDLIB_MODELS``, the cache (``EMBEDLIB_CACHE``, else ``~/.cache/embedlib``). Untrained models
are built into the cache when they are first wanted.

A file is held against the sha256 in its spec or, where none is known, against the one that was
locked when the user brought it into the cache. A lock is a small JSON file beside the weights;
everything is written under a temporary name and renamed, so that two processes may do the same.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import ConfigError, ModelError, WeightsMissingError
from embedlib.models.builder import BUILDER_VERSION, build_untrained
from embedlib.models.graph import list_nodes, parse_graph
from embedlib.models.locks import (
    checked_sha256,
    file_sha256,
    locked_sha256,
    read_weights,
    require_sha256,
    write_atomically,
    write_lock,
)
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import UNTRAINED_PREFIX, ModelSpec

FOLDERS_VARIABLE = "EMBEDLIB_MODELS"
CACHE_VARIABLE = "EMBEDLIB_CACHE"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file that was found and is what it should be.

    Attributes
    ----------
    path : Path
        Where it is.
    sha256 : str
        Hex digest of its bytes.
    untrained : bool
        Whether its weights are random.
    """

    path: Path
    sha256: str
    untrained: bool


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A file of the cache, held against what is known of it.

    Attributes
    ----------
    path : Path
        Where it is.
    sha256 : str
        Hex digest of its bytes.
    expected : str or None
        What it should be; None where nothing is known.
    """

    path: Path
    sha256: str
    expected: str | None

    @property
    def is_good(self) -> bool:
        """Whether the file is what it should be, as far as that is known."""
        return self.expected in (None, self.sha256)


def cache_folder() -> Path:
    """Give the folder in which embedlib keeps what it can fetch or make again.

    Returns
    -------
    folder : Path
        Of ``EMBEDLIB_CACHE``, else ``~/.cache/embedlib``; it may not exist yet.
    """
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder).expanduser() if folder else Path.home() / ".cache" / "embedlib"


def weights_folder() -> Path:
    """Give the folder of the cache that holds weight files.

    Returns
    -------
    folder : Path
        It may not exist yet.
    """
    return cache_folder() / "models"


def locate(spec: ModelSpec, *, path: Path | None = None, seed: int = 0) -> WeightFile:
    """Find the weights of a model and check them: hash, ops, and nodes.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    path : Path or None
        The file to take; None to search for it.
    seed : int >= 0
        Of an untrained model.

    Returns
    -------
    weights : WeightFile
        Its hash is that of the spec or the lock, where there is one.

    Raises
    ------
    WeightsMissingError
        If there is no file.
    HashMismatchError
        If the file is not the one that is pinned or locked.
    ModelError
        If the file is no harmless graph, or lacks the nodes of the model.
    ConfigError
        If a file is given for an untrained model.
    """
    if spec.untrained:
        if path is not None:
            raise ConfigError(
                f"{spec.name} has random weights, so {path} cannot be its file",
                fix=f"name the model {spec.base_name}",
            )
        return build(spec, seed=seed)
    found = path if path is not None else _search(spec)
    if found is None:
        raise _missing(spec)
    return WeightFile(found, check_weights(spec, read_weights(found), origin=str(found)), False)


def build(spec: ModelSpec, *, seed: int = 0) -> WeightFile:
    """Build the untrained twin of a model into the cache, where it is not there yet.

    Parameters
    ----------
    spec : ModelSpec
        The model, by its own name or the untrained one.
    seed : int >= 0
        Source of the weights.

    Returns
    -------
    weights : WeightFile
        In the cache.

    Raises
    ------
    HashMismatchError
        If the file in the cache is not the one that was built.
    ConfigError
        If the seed is negative.
    """
    name = f"{UNTRAINED_PREFIX}{spec.base_name}.v{BUILDER_VERSION}.seed{seed}.pb"
    path = weights_folder() / name
    locked = locked_sha256(path)
    if not path.is_file() or locked is None:
        graph = build_untrained(spec, seed=seed)
        locked = hashlib.sha256(graph).hexdigest()
        write_atomically(path, graph)
        write_lock(path, sha256=locked, source=f"embedlib models build, seed {seed}")
    return WeightFile(path, checked_sha256(path, expected=locked), True)


def add(file: Path, *, name: str) -> WeightFile:
    """Copy a file of the user's into the cache and lock its hash.

    Parameters
    ----------
    file : Path
        A frozen TensorFlow graph.
    name : str
        Name of the model that it is.

    Returns
    -------
    weights : WeightFile
        In the cache.

    Raises
    ------
    WeightsMissingError
        If there is no such file.
    HashMismatchError
        If the model's hash is known, or another file was locked, and the file differs.
    ModelError
        If the file is no harmless graph, or lacks the nodes of the model.
    ConfigError
        If there is no such model, or it is an untrained one.
    """
    spec = model_spec(name)
    if spec.untrained:
        raise ConfigError(
            f"{name} has random weights, so {file} cannot be its file",
            fix=f"use --as {spec.base_name}",
        )
    data = read_weights(file)
    sha256 = check_weights(spec, data, origin=str(file))
    path = weights_folder() / spec.weights.file_name
    write_atomically(path, data)
    write_lock(path, sha256=sha256, source=str(file.resolve()))
    return WeightFile(path, sha256, False)


def verify() -> tuple[VerifiedFile, ...]:
    """Hash every weight file of the cache again.

    Returns
    -------
    files : tuple of VerifiedFile
        In the order of their names.
    """
    pinned = {spec.weights.file_name: spec.weights.sha256 for spec in model_specs()}
    return tuple(
        VerifiedFile(path, file_sha256(path), pinned.get(path.name) or locked_sha256(path))
        for path in sorted(weights_folder().glob("[!.]*.pb"))
    )


def expected_sha256(spec: ModelSpec) -> str | None:
    """Give the hash that the weights of a model must have.

    Parameters
    ----------
    spec : ModelSpec
        The model.

    Returns
    -------
    sha256 : str or None
        From the spec, else from the lock in the cache; None where neither is there.
    """
    return spec.weights.sha256 or locked_sha256(weights_folder() / spec.weights.file_name)


def check_weights(spec: ModelSpec, data: bytes, *, origin: str) -> str:
    """Check that bytes are the weights of a model.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    data : bytes
        A file.
    origin : str
        Where it comes from, for errors.

    Returns
    -------
    sha256 : str
        Hex digest of the bytes.

    Raises
    ------
    HashMismatchError
        If their hash is not the one that is pinned or locked.
    GraphRefusedError
        If the graph holds an op that is not on the allow-list.
    ModelError
        If they are no graph, or lack the nodes of the model.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    require_sha256(sha256, expected=expected_sha256(spec), origin=origin)
    _require_nodes(spec, parse_graph(data, origin=origin), origin=origin)
    return sha256


def _require_nodes(spec: ModelSpec, graph: GraphDef, *, origin: str) -> None:
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    for node in (spec.input_node, *(node for _, node in spec.outputs)):
        if node not in shapes:
            raise ModelError(
                f"{origin} is not {spec.name}: it has no node {node!r}",
                fix=f"see `embedlib models nodes` and `embedlib models info {spec.name}`",
            )
    # A model without activations lists one output.
    for (_, node), n_values in zip(spec.outputs, (spec.n_dims, spec.n_activations), strict=False):
        shape = shapes[node]
        if shape is not None and shape[-1:] not in ((None,), (n_values,)):
            raise ModelError(
                f"{origin} is not {spec.name}: node {node!r} has the shape {shape}, "
                f"not {n_values} values per patch",
                fix=f"see `embedlib models info {spec.name}`",
            )


def _search(spec: ModelSpec) -> Path | None:
    folders = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    candidates = [Path(folder).expanduser() for folder in folders if folder]
    for folder in (*candidates, weights_folder()):
        path = folder / spec.weights.file_name
        if path.is_file():
            return path
    return None


def _missing(spec: ModelSpec) -> WeightsMissingError:
    bring = (
        f"fetch them with `embedlib models pull {spec.name}`"
        if spec.weights.urls
        else f"bring your own with `embedlib models add FILE --as {spec.name}`"
    )
    return WeightsMissingError(
        f"the weights of {spec.name} are neither in {FOLDERS_VARIABLE} nor in {weights_folder()}",
        fix=f"{bring}, or take {UNTRAINED_PREFIX}{spec.name}, a stand-in with random weights that "
        f"`embedlib models build {spec.name}` makes",
    )
