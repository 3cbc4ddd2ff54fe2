"""Published ONNX files: read one safely, and fix the batch that it takes.

An ONNX file may name other files that hold its weights, and ops that come from a library of their
own; both are refused. onnxruntime's own ops are pure functions of their inputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from embedlib.errors import GraphRefusedError, ModelError
from embedlib.models.onnx_writer import OnnxModel
from embedlib.models.store import is_onnx
from embedlib.models.tensors import tensor_name

# Names of the set of ops that every runtime has (ONNX's documentation, "Operator Schemas").
_STANDARD_DOMAINS = ("", "ai.onnx")

# Field 1 of a ModelProto is a number (`ir_version`), that of a GraphDef a message (a node).
_FIRST_BYTE = b"\x08"

_NOT_A_MODEL_FIX = "give the published .onnx file, or the frozen TensorFlow GraphDef (.pb)"


def is_onnx_file(path: Path) -> bool:
    """Tell an ONNX file from a frozen TensorFlow graph.

    Parameters
    ----------
    path : Path
        Its name may end in ``.onnx``; a copy in a cache may have another.

    Returns
    -------
    is_onnx : bool
        Whether it is to be read as ONNX; False for a file that cannot be read.
    """
    if is_onnx(path):
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == _FIRST_BYTE
    except OSError:
        return False


def read_onnx(
    data: bytes, *, origin: str, input_node: str, outputs: Sequence[str], shape: Sequence[int]
) -> OnnxModel:
    """Read an ONNX file and refuse what could harm.

    Parameters
    ----------
    data : bytes
        A serialised ModelProto.
    origin : str
        Where it comes from, for errors.
    input_node : str
        Name of its one input, with or without the port of TensorFlow (``:0``).
    outputs : sequence of str
        Names of wanted outputs, likewise.
    shape : sequence of int > 0
        What the input is fed with, the batch first.

    Returns
    -------
    model : OnnxModel
        With an input of that shape.

    Raises
    ------
    GraphRefusedError
        If the file wants other files, or ops that are not standard.
    ModelError
        If the bytes are no model, a name is not there, or the input takes another shape.
    """
    model = _parsed(data, origin=origin)
    _require_harmless(model, origin=origin)
    graph = model.graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in held}
    fed = _find(input_node, inputs, kind="input", origin=origin)
    if others := sorted(inputs.keys() - {fed}):
        raise ModelError(f"{origin} wants the inputs {', '.join(others)} too", fix=_NOT_A_MODEL_FIX)
    names = [value.name for value in graph.output]
    wanted = tuple(_find(node, names, kind="output", origin=origin) for node in outputs)
    _fix_shape(inputs[fed], shape, origin=origin)
    return OnnxModel(model.SerializeToString(), fed, wanted)


def _parsed(data: bytes, *, origin: str) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as exc:
        raise ModelError(f"{origin} is not an ONNX model", fix=_NOT_A_MODEL_FIX) from exc
    if not model.graph.node:
        raise ModelError(f"{origin} holds no node", fix=_NOT_A_MODEL_FIX)
    return model


def _require_harmless(model: ModelProto, *, origin: str) -> None:
    if model.functions or model.training_info:
        raise GraphRefusedError(
            f"{origin} brings functions of its own", fix="use a plain inference model"
        )
    for node in _nodes(model.graph):
        if node.domain not in _STANDARD_DOMAINS:
            raise GraphRefusedError(
                f"{origin} holds the op {node.domain}.{node.op_type} in node {node.name!r}, which "
                "is not one of ONNX's own",
                fix="use a model with standard ops only",
            )
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise GraphRefusedError(
                f"{origin} keeps the tensor {tensor.name!r} in another file",
                fix="use a model that is one file",
            )


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for subgraph in _subgraphs(node):
            yield from _nodes(subgraph)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH or attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Give every tensor that a graph holds, at whatever depth."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for subgraph in _subgraphs(node):
            yield from _tensors(subgraph)


def _find(node: str, names: Collection[str], *, kind: str, origin: str) -> str:
    for name in (node, tensor_name(node)):
        if name in names:
            return name
    raise ModelError(
        f"{origin} has no {kind} {node!r}, but {', '.join(sorted(names))}",
        fix="choose one of these",
    )


def _fix_shape(value: ValueInfoProto, shape: Sequence[int], *, origin: str) -> None:
    dims = value.type.tensor_type.shape.dim
    fixed = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    fits = len(fixed) == len(shape) and all(
        length in (None, wanted) for length, wanted in zip(fixed, shape, strict=True)
    )
    if not fits:
        raise ModelError(
            f"{origin} takes batches of the shape {tuple(fixed)}, not {tuple(shape)}",
            fix="use the batch size that it takes",
        )
    for dim, length in zip(dims, shape, strict=True):
        dim.dim_value = length
