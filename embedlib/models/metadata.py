"""What the authors say of a weight file in the JSON beside it: nodes, shapes, rate, classes.

The schema is that of the files beside the models on https://essentia.upf.edu/models.html. They
were written by hand, so what is missing is no fault, and unknown keys are left alone: a spec is
held against what is there. A shape may or may not begin with the batch axis, whose length may be a
number or a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from embedlib.errors import ModelError
from embedlib.models.graph import INPUT_OF
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output
from embedlib.models.tensors import tensor_name

MAX_BYTES = 1 << 20
"""Fifty times the longest one that was seen: 400 classes in 20 kB."""

PREDICTIONS = "predictions"

# What the files call the outputs of a spec.
_PURPOSES = {EMBEDDINGS: "embeddings", ACTIVATIONS: PREDICTIONS}

_FIX = "fetch the model and its .json again, or remove the .json"

Lengths = tuple[int | str | None, ...]


def _without_blank(value: Any) -> Any:
    """Take the empty text that a model without classes has as no classes."""
    return () if value in ("", None) else value


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor that a model takes or gives.

    Attributes
    ----------
    name : str
        Node, with or without its port.
    shape : tuple of (int, str or None), or None
        Text and None are lengths known at run time only.
    output_purpose : str
        ``embeddings``, ``predictions`` or empty.
    """

    name: str = ""
    shape: Lengths | None = None
    output_purpose: str = ""


@dataclass(frozen=True, slots=True)
class SchemaInfo:
    """All tensors that a model takes and gives.

    Attributes
    ----------
    inputs, outputs : tuple of TensorInfo
        In the order of the file.
    """

    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """The model whose embeddings a head takes.

    Attributes
    ----------
    model_name : str
        As its weight file is named, without the suffix.
    """

    model_name: str = ""


@dataclass(frozen=True, slots=True)
class Inference:
    """How a model is to be run.

    Attributes
    ----------
    sample_rate : float or None
        In Hz.
    embedding_model : EmbeddingModel
        Of a head; without a name for other models.
    """

    sample_rate: float | None = None
    embedding_model: EmbeddingModel = EmbeddingModel()


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of a metadata file that is used here.

    Attributes
    ----------
    classes : tuple of str
        Of the predictions, in their order.
    schema : SchemaInfo
        Tensors.
    inference : Inference
        How to run it.
    """

    classes: Annotated[tuple[str, ...], BeforeValidator(_without_blank)] = ()
    schema: SchemaInfo = SchemaInfo()
    inference: Inference = Inference()


_PARSER = TypeAdapter(Metadata)


def metadata_path(weights: Path) -> Path:
    """Say where the metadata of a weight file lie.

    Parameters
    ----------
    weights : Path
        The weight file.

    Returns
    -------
    path : Path
        Beside it, with the suffix ``.json``; it may not exist.
    """
    return weights.with_suffix(".json")


def read_metadata(weights: Path) -> Metadata | None:
    """Read the metadata beside a weight file.

    Parameters
    ----------
    weights : Path
        The weight file, which need not be there.

    Returns
    -------
    metadata : Metadata or None
        None where there is no file.

    Raises
    ------
    ModelError
        If the file cannot be read, is too large, or is no such JSON.
    """
    data = metadata_bytes(weights)
    return None if data is None else parse_metadata(data, origin=str(metadata_path(weights)))


def metadata_bytes(weights: Path) -> bytes | None:
    """Read the metadata beside a weight file as they are.

    Parameters
    ----------
    weights : Path
        The weight file, which need not be there.

    Returns
    -------
    data : bytes or None
        Not much more than `MAX_BYTES`; None where there is no file.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    path = metadata_path(weights)
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise ModelError(f"{path} cannot be read: {exc.strerror}", fix=_FIX) from exc


def parse_metadata(data: bytes, *, origin: str) -> Metadata:
    """Parse a metadata file.

    Parameters
    ----------
    data : bytes
        The file.
    origin : str
        Where it comes from, for errors.

    Returns
    -------
    metadata : Metadata
        What is not in the file has its default.

    Raises
    ------
    ModelError
        If the file is too large, no JSON object, or holds another type than the schema says.

    Examples
    --------
    >>> parse_metadata(b'{"classes": ["sad", "happy"], "author": "me"}', origin="x.json").classes
    ('sad', 'happy')
    """
    if len(data) > MAX_BYTES:
        raise ModelError(f"{origin} is larger than {MAX_BYTES} bytes", fix=_FIX)
    try:
        return _PARSER.validate_json(data)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"{origin} is damaged: {where}: {first['msg']}", fix=_FIX) from exc


def check_metadata(spec: ModelSpec, metadata: Metadata, *, origin: str) -> None:
    """Hold a spec against the metadata of its weight file.

    Names that the spec gives as ``input of NAME`` lie inside of a graph and are not compared.

    Parameters
    ----------
    spec : ModelSpec
        The model, with the names of its outputs in the graph.
    metadata : Metadata
        What the authors say; what is missing is no contradiction.
    origin : str
        The metadata file, for the error.

    Raises
    ------
    ModelError
        If they contradict each other; the message names the file and both values.
    """
    for what, theirs, ours in _contradictions(spec, metadata):
        raise ModelError(f"{origin} gives {what} {theirs}, {spec.name} has {ours}", fix=_FIX)


def find_outputs(metadata: Metadata, *, purpose: str) -> tuple[TensorInfo, ...]:
    """Find the outputs that serve one purpose.

    Parameters
    ----------
    metadata : Metadata
        Of a model.
    purpose : str
        ``embeddings`` or ``predictions``.

    Returns
    -------
    outputs : tuple of TensorInfo
        Those that have a name, in the order of the file.
    """
    outputs = metadata.schema.outputs
    return tuple(info for info in outputs if info.output_purpose == purpose and info.name)


Contradiction = tuple[str, object, object]


def _contradictions(spec: ModelSpec, metadata: Metadata) -> Iterator[Contradiction]:
    """Give what differs: its name, their value, ours."""
    rate_hz = metadata.inference.sample_rate
    if rate_hz not in (None, spec.sr_hz):
        yield "the sampling rate", rate_hz, spec.sr_hz
    if not spec.input_node.startswith(INPUT_OF):
        named = tuple(info for info in metadata.schema.inputs if info.name)
        yield from _compared("input", named, (spec.input_node,), spec.input_shape)
    for output in spec.outputs:
        if not _is_inner(output) and output.purpose in _PURPOSES:
            infos = find_outputs(metadata, purpose=_PURPOSES[output.purpose])
            # Of several nodes, none gives the whole vector.
            shape = (output.n_values,) if len(output.nodes) == 1 else ()
            yield from _compared(output.purpose, infos, output.nodes, shape)


def _is_inner(output: Output) -> bool:
    return any(node.startswith(INPUT_OF) for node in output.nodes)


def _compared(
    what: str, infos: Sequence[TensorInfo], nodes: Sequence[str], shape: tuple[int, ...]
) -> Iterator[Contradiction]:
    """Compare tensors of the file with nodes of the spec, which may be one of several."""
    wanted = {tensor_name(node) for node in nodes}
    ours = [info for info in infos if tensor_name(info.name) in wanted]
    if infos and not ours:
        yield f"{what} node", _joined([info.name for info in infos]), _joined(nodes)
    for info in ours:
        if info.shape is not None and not _fits(info.shape, shape):
            yield f"{what} shape", list(info.shape), list(shape)


def _fits(shape: Lengths, wanted: Sequence[int]) -> bool:
    """Compare from the last axis on, without axes of length one: they differ from file to file."""
    theirs = [length for length in shape if length != 1]
    ours = [length for length in wanted if length != 1]
    pairs = zip(reversed(theirs), reversed(ours), strict=False)
    return len(theirs) >= len(ours) and all(
        not isinstance(length, int) or length in (-1, own) for length, own in pairs
    )


def _joined(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
