"""Classification heads: small graphs that turn the embeddings of one model into predictions.

They are the models that Essentia runs with ``TensorflowPredict2D``. A head is a ``.pb`` and a
``.json`` file of one stem, in the folders that weights are searched in; the metadata name its
nodes, its classes and the model whose embeddings it takes. Lengths are read off the graph: some
published metadata are wrong there (danceability-discogs-effnet-1.json says 1200 for 1280 values).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embedlib.errors import ConfigError, ModelError, WeightsMissingError
from embedlib.models.essentia import ESSENTIA_MODELS
from embedlib.models.graph import parse_graph
from embedlib.models.known import Shape
from embedlib.models.locks import locked_sha256, read_weights, require_sha256
from embedlib.models.metadata import (
    PREDICTIONS,
    Metadata,
    find_outputs,
    metadata_path,
    read_metadata,
)
from embedlib.models.nodes import known_shapes, tensor_shape
from embedlib.models.registry import model_specs
from embedlib.models.spec import ModelSpec
from embedlib.models.store import FOLDERS_VARIABLE, find_file, weights_folder
from embedlib.models.tensors import node_of
from embedlib.models.trust import Trust, trust_in

HEADS_URL = f"{ESSENTIA_MODELS}/classification-heads"
"""Holds one folder per task."""

# The three heads of approachability and of engagement share a folder.
_VARIANT = re.compile(r"_(2c|3c|regression)$")

# The batch and version at the end of a model's name, which its heads leave out.
_BATCH_AND_VERSION = re.compile(r"(-bs\d+)?-\d+$")


@dataclass(frozen=True, slots=True)
class Head:
    """A head that was found and is whole.

    Attributes
    ----------
    name : str
        Stem of its files.
    path : Path
        The graph.
    sha256 : str
        Hex digest of the graph file.
    input_node : str
        Tensor that takes the embeddings.
    input_shape : tuple of int
        Shape of one embedding as the graph takes it: (n_dims,) or (1, n_dims).
    output_node : str
        Tensor with one value per class.
    classes : tuple of str
        Names of the values, in their order.
    embedding_model : str
        Name of the model whose embeddings it takes.
    trust : Trust
        How its hash is known.
    """

    name: str
    path: Path
    sha256: str
    input_node: str
    input_shape: tuple[int, ...]
    output_node: str
    classes: tuple[str, ...]
    embedding_model: str
    trust: Trust = field(default=Trust.UNKNOWN, compare=False)

    @property
    def n_values(self) -> int:
        """Length of one prediction."""
        return len(self.classes)


def locate_head(name: str, *, model: ModelSpec) -> Head:
    """Find a head and check it: hash, ops, nodes, classes, and that it belongs to a model.

    Parameters
    ----------
    name : str
        Stem of its files.
    model : ModelSpec
        Whose embeddings it is to take.

    Returns
    -------
    head : Head
        Ready to be loaded.

    Raises
    ------
    WeightsMissingError
        If one of its two files is missing.
    HashMismatchError
        If the graph is not the one that was locked.
    ModelError
        If the graph is not harmless, or graph and metadata contradict each other.
    ConfigError
        If it was made for the embeddings of another model.
    """
    path = find_file(head_file(name))
    if path is None:
        raise WeightsMissingError(
            f"the head {name} is neither in {FOLDERS_VARIABLE} nor in {weights_folder()}",
            fix=_bring(name),
        )
    metadata = read_metadata(path)
    if metadata is None:
        raise WeightsMissingError(
            f"{path} has no {metadata_path(path).name} beside it, which names its classes",
            fix=_bring(name),
        )
    head = check_head(read_weights(path), metadata, path=path, origin=str(path))
    _require_model(head, model)
    return head


def check_head(data: bytes, metadata: Metadata, *, path: Path, origin: str) -> Head:
    """Check that a graph and its metadata are a head.

    Parameters
    ----------
    data : bytes
        The graph file.
    metadata : Metadata
        What its authors say.
    path : Path
        Where the graph lies or will lie.
    origin : str
        Where it comes from, for errors.

    Returns
    -------
    head : Head
        For whichever model.

    Raises
    ------
    HashMismatchError
        If the graph is not the one that was locked.
    GraphRefusedError
        If the graph holds an op that is not on the allow-list.
    ModelError
        If a node, the classes or the embedding model are missing, or their numbers differ.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    locked = locked_sha256(weights_folder() / path.name)
    require_sha256(sha256, expected=locked, origin=origin)
    input_node, output_node, embedding_model = _required(metadata, origin=origin)
    shapes = known_shapes(parse_graph(data, origin=origin))
    input_shape = _input_shape(shapes, input_node, origin=origin)
    _require_classes(shapes, output_node, metadata.classes, origin=origin)
    return Head(
        name=path.stem,
        path=path,
        sha256=sha256,
        input_node=input_node,
        input_shape=input_shape,
        output_node=output_node,
        classes=metadata.classes,
        embedding_model=embedding_model,
        trust=trust_in(pinned=None, locked=locked),
    )


def head_file(name: str) -> str:
    """Name the graph file of a head.

    Parameters
    ----------
    name : str
        Name of the head.

    Returns
    -------
    file_name : str
        The same in every folder.

    Raises
    ------
    ConfigError
        If the name is a path or could not name a column.

    Examples
    --------
    >>> head_file("emomusic-msd-musicnn-1")
    'emomusic-msd-musicnn-1.pb'
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ConfigError(
            f"{name!r} cannot be the name of a head",
            fix=f"give the stem of a file in a folder of {FOLDERS_VARIABLE}",
        )
    return f"{name}.pb"


def head_url(name: str, *, base_url: str = HEADS_URL) -> str | None:
    """Say where the authors give out a head of one of our models.

    Parameters
    ----------
    name : str
        Name of the head: task, model without its version, version of the head.
    base_url : str
        Folder that holds one folder per task.

    Returns
    -------
    url : str or None
        Of the graph; None where the name is not made that way.

    Examples
    --------
    >>> head_url("emomusic-msd-musicnn-1", base_url="")
    '/emomusic/emomusic-msd-musicnn-1.pb'
    >>> head_url("msd-musicnn-1") is None
    True
    """
    models = {_BATCH_AND_VERSION.sub("", spec.name) for spec in model_specs()}
    pattern = rf"(\w+)-({'|'.join(map(re.escape, models))})-([\w-]+-)?\d+"
    match = re.fullmatch(pattern, name, re.ASCII)
    if match is None:
        return None
    return f"{base_url}/{_VARIANT.sub('', match[1])}/{head_file(name)}"


def _bring(name: str) -> str:
    if head_url(name) is None:
        return f"put {name}.pb and {name}.json into a folder of {FOLDERS_VARIABLE}"
    return f"fetch it with `embedlib models pull {name} --trust-first`"


def _required(metadata: Metadata, *, origin: str) -> tuple[str, str, str]:
    """Give the input node, the output node and the embedding model, which a head cannot lack."""
    inputs = [info.name for info in metadata.schema.inputs if info.name]
    outputs = [info.name for info in find_outputs(metadata, purpose=PREDICTIONS)]
    model = metadata.inference.embedding_model.model_name
    wanted = {
        "an input": inputs,
        "an output for predictions": outputs,
        "an embedding model": model,
        "classes": metadata.classes,
    }
    lacking = [what for what, found in wanted.items() if not found]
    if lacking:
        raise ModelError(
            f"the metadata of {origin} do not name {' and '.join(lacking)}",
            fix="give the head with the .json file of its authors",
        )
    return inputs[0], outputs[0], model


def _input_shape(shapes: Mapping[str, Shape], node: str, *, origin: str) -> tuple[int, ...]:
    shape = _shape_of(shapes, node, origin=origin)
    lengths = tuple(length for length in (shape or ())[1:] if length is not None)
    if not lengths or len(lengths) != len(shape or ()) - 1 or set(lengths[:-1]) - {1}:
        raise ModelError(
            f"the input {node!r} of {origin} has the shape {shape}, not one embedding a row",
            fix="give a head for embeddings",
        )
    return lengths


def _require_classes(
    shapes: Mapping[str, Shape], node: str, classes: tuple[str, ...], *, origin: str
) -> None:
    shape = _shape_of(shapes, node, origin=origin)
    if shape and shape[-1] not in (None, len(classes)):
        raise ModelError(
            f"{origin} gives {shape[-1]} values, its metadata name {len(classes)} classes",
            fix="give the .json file of this head",
        )


def _shape_of(shapes: Mapping[str, Shape], node: str, *, origin: str) -> Shape:
    if node_of(node) not in shapes:
        raise ModelError(
            f"{origin} has no node {node!r}, which its metadata name",
            fix="give the .json file of this head",
        )
    return tensor_shape(shapes, node)


def _require_model(head: Head, model: ModelSpec) -> None:
    if head.embedding_model != model.base_name:
        raise ConfigError(
            f"the head {head.name} takes the embeddings of {head.embedding_model}, "
            f"not of {model.base_name}",
            fix=f"name the model {head.embedding_model}, or another head",
        )
    if head.input_shape[-1] != model.n_dims:
        raise ConfigError(
            f"the head {head.name} takes {head.input_shape[-1]} values, "
            f"{model.name} gives {model.n_dims}",
            fix="give the head that was made for this model",
        )
