"""Frozen TensorFlow graphs: read one safely, list its nodes, cut it to what is wanted.

No runtime sees a graph before `parse_graph` has: a graph with a ``WriteFile`` op writes the file
when it is run, through Essentia too. Messages are those of `tensorboardX`, so nothing here needs
TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.tensor_pb2 import TensorProto

from embedlib.errors import GraphRefusedError, ModelError
from embedlib.models.known import UNKNOWN, Known, Shape
from embedlib.models.library import copy_library, library_nodes
from embedlib.models.ops import CALL_OPS, SHAPE_RULES
from embedlib.models.tensors import split_tensor
from embedlib.models.topology import (
    LIST_FIX,
    data_inputs,
    no_such_node,
    sorted_nodes,
    with_ancestors,
)

INPUT_OF = "input of "
"""Begins the name of a tensor that is known by the node that takes it."""

# DataType in TensorFlow's types.proto: what NumPy calls it, and where a TensorProto keeps it.
_DTYPES = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    8: ("complex64", "scomplex_val"),
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
    sorted_nodes(graph, origin=origin)
    return graph


def prune(graph: GraphDef, *, outputs: Sequence[str]) -> GraphDef:
    """Cut a graph to what its outputs need.

    Control inputs are dropped: they order side effects, and no op on the allow-list has any.
    The function library stays where a function is called.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`.
    outputs : sequence of str
        Names of the wanted nodes, with a port (``PartitionedCall:1``) or without.

    Returns
    -------
    pruned : GraphDef
        A copy with the wanted nodes and their ancestors, in the order of `graph`.

    Raises
    ------
    ModelError
        If there is no node of a wanted name.
    """
    wanted = with_ancestors(graph, outputs)
    pruned = GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name in wanted:
            kept = pruned.node.add()
            kept.CopyFrom(node)
            del kept.input[:]
            kept.input.extend(data_inputs(node))
    if any(node.op in CALL_OPS for node in pruned.node):
        copy_library(graph, pruned)
    return pruned


def resolve_node(graph: GraphDef, name: str) -> str:
    """Give a tensor the name that it has in a graph.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`.
    name : str
        ``input of NAME`` for the first tensor that the node NAME takes; any other name is given
        back as it is.

    Returns
    -------
    tensor : str
        Name of a node, with its port where that is not the first.

    Raises
    ------
    ModelError
        If there is no such node, or it takes nothing.

    Examples
    --------
    >>> from embedlib.models.graph_writer import GraphWriter
    >>> writer = GraphWriter()
    >>> _ = writer.op("Softmax", "output", [writer.placeholder("logits", shape=[-1, 2])])
    >>> resolve_node(GraphDef.FromString(writer.serialise()), "input of output")
    'logits'
    """
    if not name.startswith(INPUT_OF):
        return name
    reader = name.removeprefix(INPUT_OF)
    for node in graph.node:
        if node.name == reader:
            inputs = data_inputs(node)
            if not inputs:
                raise ModelError(f"node {reader!r} ({node.op}) takes no input", fix=LIST_FIX)
            return inputs[0].removesuffix(":0")
    raise no_such_node(reader)


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
    for node in sorted_nodes(graph, origin="the graph"):
        inputs = [_known_input(text, known, ops) for text in data_inputs(node)]
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


def _all_nodes(graph: GraphDef, *, origin: str) -> Iterator[tuple[str, NodeDef]]:
    for node in graph.node:
        yield node.name, node
    for node in library_nodes(graph, origin=origin):
        yield f"{node.name} (in the function library)", node


def _known_input(text: str, known: dict[str, Known], ops: dict[str, str]) -> Known:
    name, output = split_tensor(text)
    # Further outputs are like the first only where an op splits into equal parts.
    return known[name] if output == 0 or ops[name] in ("Split", "Switch", "Unpack") else UNKNOWN


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


_BOOL_OPS = "Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual"
_TYPE_ATTRIBUTES = ("dtype", "DstT", "out_type", "Tout", "Tparams", "T", "Tidx")
_OWN_TYPE_ATTRIBUTE = {"IRFFT": "Treal", "RFFT": "Tcomplex"}


def _dtype_name(node: NodeDef) -> str:
    if node.op in _BOOL_OPS.split():
        return "bool"
    keys = (_OWN_TYPE_ATTRIBUTE.get(node.op, ""), *_TYPE_ATTRIBUTES)
    types = [node.attr[key].type for key in keys if key in node.attr]
    return _DTYPES[types[0]][0] if types and types[0] in _DTYPES else ""
