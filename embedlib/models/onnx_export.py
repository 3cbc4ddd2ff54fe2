"""Frozen TensorFlow graphs as ONNX, for onnxruntime and with it for GPUs.

The batch is fixed, so all shapes are known: what depends on shapes and weights alone is computed
here (`embedlib.models.constants`), the rest is written op by op (`embedlib.models.onnx_ops`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError
from embedlib.models.constants import fold_constant
from embedlib.models.graph import const_array
from embedlib.models.onnx_call import Call, Value
from embedlib.models.onnx_ops import emit_node
from embedlib.models.onnx_writer import OnnxModel, OnnxWriter, Tensor
from embedlib.models.tensors import node_of, tensor_name


def export_onnx(graph: GraphDef, *, outputs: Sequence[str]) -> OnnxModel:
    """Write a graph as ONNX.

    Parameters
    ----------
    graph : GraphDef
        From `cut` and `fix_batch`: one placeholder of known shape, and what the outputs need of
        it.
    outputs : sequence of str
        Wanted tensors, with the port where that is not the first.

    Returns
    -------
    model : OnnxModel
        Input and outputs have the shapes and the order of axes of TensorFlow; the same graph gives
        the same bytes.

    Raises
    ------
    ModelError
        If an op, or a form of it, is not known; the message names op and node.

    Examples
    --------
    >>> from embedlib.models.graph_writer import GraphWriter
    >>> writer = GraphWriter(scope="model")
    >>> _ = writer.op("Relu", "out", [writer.placeholder("in", shape=[2, 4])])
    >>> graph = GraphDef.FromString(writer.serialise())
    >>> model = export_onnx(graph, outputs=["model/out"])
    >>> model.input_name, model.output_names
    ('model/in:0', ('model/out:0',))
    """
    writer = OnnxWriter()
    values: dict[str, tuple[Value, ...]] = {}
    n_readers = Counter(map(node_of, outputs))
    n_readers.update(node_of(text) for node in graph.node for text in node.input)
    for node in _sorted(graph):
        values[node.name] = _evaluate(writer, node, values)
        for text in node.input:
            _release(values, n_readers, node_of(text))
    names = tuple(map(tensor_name, outputs))
    for name in dict.fromkeys(names):
        writer.output(_wanted(values, name), name=name)
    (input_node,) = (node.name for node in graph.node if node.op == "Placeholder")
    return OnnxModel(writer.serialise(), tensor_name(input_node), names)


def _sorted(graph: GraphDef) -> list[NodeDef]:
    nodes = {node.name: node for node in graph.node}
    order = TopologicalSorter({name: map(node_of, node.input) for name, node in nodes.items()})
    return [nodes[name] for name in order.static_order()]


def _release(values: dict[str, tuple[Value, ...]], n_readers: Counter[str], name: str) -> None:
    """Forget what nobody reads any more: weights may be hundreds of megabytes."""
    n_readers[name] -= 1
    if not n_readers[name]:
        del values[name]


def _evaluate(
    writer: OnnxWriter, node: NodeDef, values: Mapping[str, tuple[Value, ...]]
) -> tuple[Value, ...]:
    """Give what a node gives at each of its ports."""
    if node.op == "Placeholder":
        shape = [dim.size for dim in node.attr["shape"].shape.dim]
        return (writer.input(tensor_name(node.name), shape=shape),)
    if node.op == "Const":
        return (const_array(node),)
    inputs = [_read(values, text) for text in node.input]
    known = [value for value in inputs if not isinstance(value, Tensor)]
    if len(known) == len(inputs):
        return fold_constant(node, known)
    return (emit_node(Call(writer, node, inputs)),)


def _read(values: Mapping[str, tuple[Value, ...]], text: str) -> Value:
    name, _, port = tensor_name(text).rpartition(":")
    if int(port) >= len(values[name]):
        raise ModelError(
            f"output {port} of node {name!r} is not in the ONNX export",
            fix="take --engine openvino",
        )
    return values[name][int(port)]


def _wanted(values: Mapping[str, tuple[Value, ...]], name: str) -> Tensor:
    value = _read(values, name)
    if not isinstance(value, Tensor):
        raise ModelError(
            f"{name.removesuffix(':0')!r} is the same for every patch",
            fix="choose a node behind the input with --node",
        )
    return value
