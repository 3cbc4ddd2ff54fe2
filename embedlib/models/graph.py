"""Frozen TensorFlow graphs: read one safely, list its nodes, cut it to what is wanted.

No runtime sees a graph before `parse_graph` has: a graph with a ``WriteFile`` op writes the file
when it is run, through Essentia too. Messages are those of `tensorboardX`, so nothing here needs
TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from math import prod

import numpy as np
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from numpy.typing import NDArray
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.tensor_pb2 import TensorProto

from embedlib.errors import GraphRefusedError, ModelError
from embedlib.models.ops import SHAPE_RULES, UNKNOWN, Known, Shape

# Field numbers in TensorFlow's graph.proto and function.proto, which tensorboardX leaves out.
_GRAPH_LIBRARY = 2
_LIBRARY_FUNCTION = 1
_FUNCTION_NODE = 3

# DataType in TensorFlow's types.proto: what NumPy calls it, and where a TensorProto keeps it.
_DTYPES = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    9: ("int64", "int64_val"),
    10: ("bool", "bool_val"),
}

# Shapes, axes and paddings are far smaller; a claimed size costs memory, so larger ones are left.
_MAX_KNOWN_VALUES = 4096

_NOT_A_GRAPH_FIX = "give a frozen TensorFlow GraphDef (.pb)"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node of a graph, for people and tests.

    Attributes
    ----------
    name, op : str
        As the graph has them.
    shape : tuple of (int or None), or None
        Of its first output; None for lengths, or a rank, known at run time only.
    dtype : str
        Of its first output, as NumPy calls it; empty where it is not known.
    """

    name: str
    op: str
    shape: Shape
    dtype: str


def parse_graph(data: bytes, *, origin: str) -> GraphDef:
    """Read a frozen graph and refuse what could harm.

    Parameters
    ----------
    data : bytes
        A serialised GraphDef.
    origin : str
        Where it comes from, for errors.

    Returns
    -------
    graph : GraphDef
        All of whose ops, those in its function library included, are on the allow-list, and
        whose inputs all exist.

    Raises
    ------
    GraphRefusedError
        If an op is not on the allow-list; the message names the op and the node.
    ModelError
        If the bytes are no graph, or the graph is broken.
    """
    try:
        graph = GraphDef.FromString(data)
    except DecodeError as exc:
        raise ModelError(f"{origin} is not a TensorFlow graph", fix=_NOT_A_GRAPH_FIX) from exc
    if not graph.node:
        raise ModelError(f"{origin} holds no node", fix=_NOT_A_GRAPH_FIX)
    for place, node in _all_nodes(graph, origin=origin):
        if node.op not in SHAPE_RULES:
            raise GraphRefusedError(
                f"{origin} holds the op {node.op!r} in node {place!r}, which is not on the "
                "allow-list",
                fix="use a frozen inference graph from a source you trust",
            )
    _sorted_nodes(graph, origin=origin)
    return graph


def prune(graph: GraphDef, *, outputs: Sequence[str]) -> GraphDef:
    """Cut a graph to what its outputs need.

    Control inputs are dropped: they order side effects, and no op on the allow-list has any.
    So is the function library, because no op on the allow-list calls a function.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`.
    outputs : sequence of str
        Names of the wanted nodes.

    Returns
    -------
    pruned : GraphDef
        A copy with the wanted nodes and their ancestors, in the order of `graph`.

    Raises
    ------
    ModelError
        If there is no node of a wanted name.
    """
    wanted = _with_ancestors(graph, outputs)
    pruned = GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name in wanted:
            kept = pruned.node.add()
            kept.CopyFrom(node)
            del kept.input[:]
            kept.input.extend(_data_inputs(node))
    return pruned


def list_nodes(graph: GraphDef) -> tuple[NodeInfo, ...]:
    """List the nodes of a graph with the shapes that follow without running it.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`.

    Returns
    -------
    nodes : tuple of NodeInfo
        In the order of the graph.
    """
    known: dict[str, Known] = {}
    ops = {node.name: node.op for node in graph.node}
    for node in _sorted_nodes(graph, origin="the graph"):
        inputs = [_known_input(text, known, ops) for text in _data_inputs(node)]
        known[node.name] = _infer(node, inputs)
    return tuple(
        NodeInfo(node.name, node.op, known[node.name].shape, _dtype_name(node))
        for node in graph.node
    )


def const_array(node: NodeDef) -> NDArray[np.generic]:
    """Read the tensor of a ``Const`` node.

    Parameters
    ----------
    node : NodeDef
        Whose op is ``Const``.

    Returns
    -------
    values : np.ndarray
        Read-only, in the shape and dtype of the tensor.

    Raises
    ------
    ModelError
        If the tensor has a dtype that no model needs, or a wrong number of values.
    """
    tensor = node.attr["value"].tensor
    if tensor.dtype not in _DTYPES:
        raise ModelError(f"node {node.name!r} holds values of TensorFlow's type {tensor.dtype}")
    dtype, field = _DTYPES[tensor.dtype]
    shape = _tensor_shape(tensor)
    values: NDArray[np.generic]
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, dtype)
    else:
        # TensorFlow leaves out repetitions of the last value.
        listed: NDArray[np.generic] = np.array(getattr(tensor, field), dtype)
        values = np.pad(listed, (0, max(0, prod(shape) - len(listed))), "edge")
    if values.size != prod(shape):
        raise ModelError(f"node {node.name!r} holds {values.size} values for the shape {shape}")
    return values.reshape(shape)


def _with_ancestors(graph: GraphDef, names: Sequence[str]) -> set[str]:
    nodes = {node.name: node for node in graph.node}
    wanted: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in nodes:
            raise ModelError(
                f"the graph has no node {name!r}", fix="see `embedlib models nodes FILE`"
            )
        if name not in wanted:
            wanted.add(name)
            pending.extend(_source(text)[0] for text in _data_inputs(nodes[name]))
    return wanted


def _all_nodes(graph: GraphDef, *, origin: str) -> Iterator[tuple[str, NodeDef]]:
    for node in graph.node:
        yield node.name, node
    try:
        for library in _field_bytes(graph, _GRAPH_LIBRARY):
            for function in _field_bytes(Empty.FromString(library), _LIBRARY_FUNCTION):
                for data in _field_bytes(Empty.FromString(function), _FUNCTION_NODE):
                    node = NodeDef.FromString(data)
                    yield f"{node.name} (in the function library)", node
    except DecodeError as exc:
        raise GraphRefusedError(f"the function library of {origin} cannot be read") from exc


def _field_bytes(message: Empty | GraphDef, number: int) -> list[bytes]:
    fields = UnknownFieldSet(message)
    return [field.data for field in fields if field.field_number == number]


def _sorted_nodes(graph: GraphDef, *, origin: str) -> list[NodeDef]:
    nodes = {node.name: node for node in graph.node}
    if len(nodes) < len(graph.node):
        raise ModelError(f"{origin} holds two nodes of one name")
    sources = {
        name: [_source(text)[0] for text in _data_inputs(node)] for name, node in nodes.items()
    }
    for name, inputs in sources.items():
        for source in inputs:
            if source not in nodes:
                raise ModelError(f"{origin} lacks node {source!r}, the input of {name!r}")
    try:
        return [nodes[name] for name in TopologicalSorter(sources).static_order()]
    except CycleError as exc:
        raise ModelError(f"{origin} has a cycle through node {exc.args[1][0]!r}") from exc


def _data_inputs(node: NodeDef) -> list[str]:
    return [text for text in node.input if not text.startswith("^")]


def _source(text: str) -> tuple[str, int]:
    name, colon, output = text.rpartition(":")
    return (name, int(output)) if colon and output.isdecimal() else (text, 0)


def _known_input(text: str, known: dict[str, Known], ops: dict[str, str]) -> Known:
    name, output = _source(text)
    # Further outputs are like the first only where an op splits into equal parts.
    return known[name] if output == 0 or ops[name] in ("Split", "Switch") else UNKNOWN


def _infer(node: NodeDef, inputs: Sequence[Known]) -> Known:
    if node.op == "Const":
        return _known_const(node)
    try:
        return SHAPE_RULES[node.op](node, inputs)
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as exc:
        raise ModelError(f"the inputs of node {node.name!r} ({node.op}) do not fit") from exc


def _known_const(node: NodeDef) -> Known:
    tensor = node.attr["value"].tensor
    shape = _tensor_shape(tensor)
    if _dtype_name(node) not in ("int32", "int64") or prod(shape) > _MAX_KNOWN_VALUES:
        return Known(shape)
    return Known(shape, const_array(node).astype(object))


def _tensor_shape(tensor: TensorProto) -> tuple[int, ...]:
    return tuple(int(dim.size) for dim in tensor.tensor_shape.dim)


def _dtype_name(node: NodeDef) -> str:
    if node.op == "Equal":
        return "bool"
    keys = ("dtype", "DstT", "out_type", "Tparams", "T", "Tidx")
    types = [node.attr[key].type for key in keys if key in node.attr]
    return _DTYPES[types[0]][0] if types and types[0] in _DTYPES else ""
