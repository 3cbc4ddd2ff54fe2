"""Where weight files are, and whether they are what they should be.

A file is searched for in this order: the path that the caller gives, the folders of
``EMBEDLIB_MODELS``, the cache (``EMBEDLIB_CACHE``, else ``~/.cache/embedlib``). Untrained models
are built into the cache when they are wanted. Who prefers ONNX gets the ``.onnx`` file of the
same stem where one lies in any of these folders, else the ``.pb``.

A file is held against the sha256 in its spec or, where none is known, against the one that was
locked when the user brought it into the cache, and against the metadata of the authors, where they
lie beside it. A lock is a small JSON file beside the weights; everything is written under a
temporary name and renamed, so that two processes may do the same.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedlib.errors import ConfigError, ModelError, WeightsMissingError
from embedlib.models.builder_files import build_into
from embedlib.models.folders import cache_folder
from embedlib.models.graph import parse_graph
from embedlib.models.locks import (
    checked_sha256,
    locked_sha256,
    read_weights,
    require_sha256,
)
from embedlib.models.metadata import check_metadata, metadata_path, read_metadata
from embedlib.models.nodes import SpecNodes, check_nodes, named_nodes
from embedlib.models.spec import UNTRAINED_PREFIX, ModelSpec, Output
from embedlib.models.trust import Trust, trust_in

FOLDERS_VARIABLE = "EMBEDLIB_MODELS"

ONNX_SUFFIX = ".onnx"


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
    input_node : str
        Tensor that takes the patches, by its name in the file.
    outputs : tuple of Output
        Those of the spec, with the names of their nodes in the file.
    trust : Trust
        How its hash is known. That of a file that nobody has vouched for is none of `locate`'s
        business: who runs it asks `embedlib.models.trust.require_trust`.
    """

    path: Path
    sha256: str
    untrained: bool
    input_node: str
    outputs: tuple[Output, ...]
    trust: Trust = field(default=Trust.UNKNOWN, compare=False)


def weights_folder() -> Path:
    """Give the folder of the cache that holds weight files.

    Returns
    -------
    folder : Path
        It may not exist yet.
    """
    return cache_folder() / "models"


def locate(
    spec: ModelSpec, *, path: Path | None = None, prefer_onnx: bool = False, seed: int = 0
) -> WeightFile:
    """Find the weights of a model and check them: hash, ops, nodes, metadata.

    The nodes of an ``.onnx`` file are left to the engine that reads it.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    path : Path or None
        The file to take; None to search for it.
    prefer_onnx : bool
        Whether to take an ``.onnx`` file where there is one.
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
        If the file is no harmless graph, lacks the nodes of the model, or its metadata say
        otherwise.
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
    found = path if path is not None else find_weights(spec, prefer_onnx=prefer_onnx)
    if found is None:
        raise _missing(spec)
    sha256, nodes = _checked(spec, found)
    metadata = read_metadata(found)
    if metadata is not None:
        resolved = replace(spec, outputs=nodes.outputs)
        check_metadata(resolved, metadata, origin=str(metadata_path(found)))
    trust = weights_trust(spec, onnx=is_onnx(found))
    return WeightFile(found, sha256, False, nodes.input_node, nodes.outputs, trust)


def build(spec: ModelSpec, *, seed: int = 0, anew: bool = False) -> WeightFile:
    """Build the untrained twin of a model into the cache.

    One of embedlib's own is built where it is not there yet, any other each time.

    Parameters
    ----------
    spec : ModelSpec
        The model, by its own name or the untrained one.
    seed : int >= 0
        Source of the weights.
    anew : bool
        Whether to write the file even where the same one is in the cache.

    Returns
    -------
    weights : WeightFile
        In the cache.

    Raises
    ------
    HashMismatchError
        If the file in the cache is not the one that was built; not where it is built anew.
    ModelError
        If a model that does not come with embedlib writes a graph that cannot be taken.
    ConfigError
        If the seed is negative, or nothing here can write the graph of the model.
    """
    spec = spec if spec.untrained else spec.as_untrained()
    file = build_into(weights_folder(), spec, seed=seed, anew=anew)
    nodes = file.nodes
    return WeightFile(file.path, file.sha256, True, nodes.input_node, nodes.outputs, Trust.BUILT)


def weights_name(spec: ModelSpec, *, onnx: bool = False) -> str:
    """Name the weight file of a model.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    onnx : bool
        Whether its ``.onnx`` file is meant.

    Returns
    -------
    file_name : str
        The same in every folder.
    """
    name = Path(spec.weights.file_name)
    return str(name.with_suffix(ONNX_SUFFIX)) if onnx else str(name)


def find_weights(spec: ModelSpec, *, prefer_onnx: bool = False) -> Path | None:
    """Search for the weights of a model, without looking into them.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    prefer_onnx : bool
        Whether to take an ``.onnx`` file where there is one. A model with a tensor that has to be
        found in the graph takes none.

    Returns
    -------
    path : Path or None
        None where no folder has the file.
    """
    if prefer_onnx and named_nodes(spec) is not None:
        found = find_file(weights_name(spec, onnx=True))
        if found is not None:
            return found
    return find_file(weights_name(spec))


def find_file(file_name: str) -> Path | None:
    """Search the folders of ``EMBEDLIB_MODELS`` and the cache for a file.

    Parameters
    ----------
    file_name : str
        Its name.

    Returns
    -------
    path : Path or None
        Of the first folder that has it.
    """
    folders = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    candidates = [Path(folder).expanduser() for folder in folders if folder]
    paths = (folder / file_name for folder in (*candidates, weights_folder()))
    return next((path for path in paths if path.is_file()), None)


def is_onnx(path: Path) -> bool:
    """Tell an ONNX file from a TensorFlow graph.

    Parameters
    ----------
    path : Path
        The file, which is not opened.

    Returns
    -------
    onnx : bool
        By its suffix.
    """
    return path.suffix.lower() == ONNX_SUFFIX


def expected_sha256(spec: ModelSpec, *, onnx: bool = False) -> str | None:
    """Give the hash that the weights of a model must have.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    onnx : bool
        Whether of its ``.onnx`` file.

    Returns
    -------
    sha256 : str or None
        From the spec, else from the lock in the cache; None where neither is there.
    """
    return _pinned(spec, onnx=onnx) or _locked(spec, onnx=onnx)


def weights_trust(spec: ModelSpec, *, onnx: bool = False) -> Trust:
    """Tell how the hash of the weights of a model is known.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    onnx : bool
        Whether of its ``.onnx`` file.

    Returns
    -------
    trust : Trust
        Of a file that has that hash.
    """
    return trust_in(pinned=_pinned(spec, onnx=onnx), locked=_locked(spec, onnx=onnx))


def check_weights(spec: ModelSpec, data: bytes, *, origin: str) -> tuple[str, SpecNodes]:
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
    nodes : SpecNodes
        The tensors of the spec, by their names in the file.

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
    graph = parse_graph(data, origin=origin)
    del data  # 289 MB of VGGish; the graph holds a copy
    return sha256, check_nodes(spec, graph, origin=origin)


def _pinned(spec: ModelSpec, *, onnx: bool) -> str | None:
    return spec.weights.onnx_sha256 if onnx else spec.weights.sha256


def _locked(spec: ModelSpec, *, onnx: bool) -> str | None:
    return locked_sha256(weights_folder() / weights_name(spec, onnx=onnx))


def _checked(spec: ModelSpec, path: Path) -> tuple[str, SpecNodes]:
    if not is_onnx(path):
        return check_weights(spec, read_weights(path), origin=str(path))
    nodes = named_nodes(spec)
    if nodes is None:
        raise ModelError(
            f"{path} is ONNX, in which the tensors of {spec.name} cannot be found by their place",
            fix=f"give {spec.weights.file_name}, which every engine takes",
        )
    return checked_sha256(path, expected=expected_sha256(spec, onnx=True)), nodes


def _missing(spec: ModelSpec) -> WeightsMissingError:
    ways = [f"fetch them with `embedlib models pull {spec.name}`"] if spec.weights.urls else []
    ways.append(f"bring a file of yours with `embedlib models add FILE --as {spec.name}`")
    if spec.write_graph is not None:
        ways.append(
            f"take {UNTRAINED_PREFIX}{spec.name}, a stand-in with random weights that "
            f"`embedlib models build {spec.name}` makes"
        )
    return WeightsMissingError(
        f"the weights of {spec.name} are neither in {FOLDERS_VARIABLE} nor in {weights_folder()}",
        fix=", or ".join(ways),
    )
