"""Cut a frozen graph out between the tensor that is fed and the tensors that are read.

Runtimes differ in what they take: some feed inner tensors, some know no training flags, some lose
the names of inner nodes. A graph that was cut is the same for all: one placeholder, and nothing
but what the wanted nodes need of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError
from embedlib.models.branches import settle_branches
from embedlib.models.graph import prune
from embedlib.models.tensors import node_of, split_tensor
from embedlib.models.topology import LIST_FIX, with_ancestors

# DataType in TensorFlow's types.proto.
_DT_FLOAT, _DT_BOOL = 1, 10


def cut(
    graph: GraphDef, *, input_node: str, outputs: Sequence[str], patch_shape: Sequence[int]
) -> GraphDef:
    """Cut a graph to what lies between its input and its outputs.

    Placeholders of bool, such as a training flag, are taken as false, and of the branches that
    hang on them the one that is never taken is left out.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`; not changed.
    input_node : str
        Tensor that takes the patches: a placeholder or any other node, with the port where that is
        not the first (``split:1``).
    outputs : sequence of str
        Wanted tensors, likewise.
    patch_shape : sequence of int > 0
        Shape of one patch, without the batch axis.

    Returns
    -------
    cut_graph : GraphDef
        A copy whose one placeholder has the name of the input node without its port, and the shape
        batch x `patch_shape`; the batch is -1 where the file does not fix it.

    Raises
    ------
    ModelError
        If a node is not there or computed in training only, patches do not have the shape that the
        graph takes, or the outputs do not depend on the input, or on others too.

    Examples
    --------
    >>> from embedlib.models.graph_writer import GraphWriter
    >>> writer = GraphWriter(scope="model")
    >>> first = writer.op("Relu", "first", [writer.placeholder("in", shape=[-1, 4])])
    >>> _ = writer.op("Relu", "second", [first])
    >>> graph = GraphDef.FromString(writer.serialise())
    >>> small = cut(graph, input_node=first, outputs=["model/second"], patch_shape=[4])
    >>> [(node.name, node.op) for node in small.node]
    [('model/first', 'Placeholder'), ('model/second', 'Relu')]
    """
    fed = node_of(input_node)
    cut_graph = prune(graph, outputs=[fed, *outputs])
    for node in cut_graph.node:
        if node.name == fed:
            _feed(node, patch_shape=patch_shape)
        elif _is_flag(node):
            _set_false(node)
    _read_first_port(cut_graph, input_node)
    _require_alive(outputs, dead=settle_branches(cut_graph))
    _drop_unread(cut_graph, outputs=outputs)
    _require_one_input(cut_graph, fed=fed, outputs=outputs)
    return cut_graph


def flags(graph: GraphDef) -> tuple[str, ...]:
    """List the placeholders of bool, such as the training flag.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`.

    Returns
    -------
    names : tuple of str
        In the order of the graph.
    """
    return tuple(str(node.name) for node in graph.node if _is_flag(node))


def fix_batch(graph: GraphDef, *, batch_size: int) -> None:
    """Fix the number of patches that a graph takes at once.

    Parameters
    ----------
    graph : GraphDef
        From `cut`; changed in place.
    batch_size : int > 0
        Patches per batch.

    Raises
    ------
    ModelError
        If the file fixes another number.
    """
    (fed,) = (node for node in graph.node if node.op == "Placeholder")
    batch = fed.attr["shape"].shape.dim[0]
    if batch.size not in (-1, batch_size):
        raise ModelError(
            f"the graph takes batches of exactly {batch.size} patches, not {batch_size}",
            fix=f"use a batch size of {batch.size}",
        )
    batch.size = batch_size


def _is_flag(node: NodeDef) -> bool:
    return bool(node.op == "Placeholder" and node.attr["dtype"].type == _DT_BOOL)


def _set_false(node: NodeDef) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = _DT_BOOL
    node.attr["value"].tensor.dtype = _DT_BOOL
    node.attr["value"].tensor.tensor_shape.SetInParent()
    node.attr["value"].tensor.bool_val.append(False)


def _feed(node: NodeDef, *, patch_shape: Sequence[int]) -> None:
    """Make a node the placeholder that takes the patches."""
    name, batch = node.name, _own_batch(node, patch_shape=tuple(patch_shape))
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = _DT_FLOAT
    for length in (batch, *patch_shape):
        node.attr["shape"].shape.dim.add(size=length)


def _own_batch(node: NodeDef, *, patch_shape: tuple[int, ...]) -> int:
    """Give the batch that a node takes, -1 for any; refuse patches that it does not take."""
    if node.op != "Placeholder" or not node.attr["shape"].shape.dim:
        return -1
    batch, *lengths = (int(dim.size) for dim in node.attr["shape"].shape.dim)
    taken = tuple(None if length == -1 else length for length in lengths)
    if len(taken) != len(patch_shape) or any(
        length not in (None, wanted) for length, wanted in zip(taken, patch_shape, strict=True)
    ):
        raise ModelError(
            f"node {node.name!r} takes patches of the shape {taken}, not {patch_shape}",
            fix=LIST_FIX,
        )
    return batch


def _read_first_port(graph: GraphDef, input_node: str) -> None:
    """Let all that reads the fed tensor read the placeholder, which has one port only."""
    fed, port = split_tensor(input_node)
    for node in graph.node:
        for index, text in enumerate(node.input):
            name, read = split_tensor(text)
            if name == fed and read != port:
                raise ModelError(
                    f"node {node.name!r} reads {text!r} beside the input {input_node!r}",
                    fix="feed a node with one output",
                )
            if name == fed:
                node.input[index] = fed


def _require_alive(outputs: Sequence[str], *, dead: frozenset[str]) -> None:
    for output in outputs:
        if node_of(output) in dead:
            raise ModelError(
                f"node {output!r} is computed in training only",
                fix="choose another node with --node",
            )


def _drop_unread(graph: GraphDef, *, outputs: Sequence[str]) -> None:
    read = with_ancestors(graph, outputs)
    for index in reversed(range(len(graph.node))):
        if graph.node[index].name not in read:
            del graph.node[index]


def _require_one_input(graph: GraphDef, *, fed: str, outputs: Sequence[str]) -> None:
    inputs = {node.name for node in graph.node if node.op == "Placeholder"}
    if fed not in inputs:
        raise ModelError(
            f"{', '.join(outputs)} cannot be computed from {fed!r}",
            fix="choose a node behind the input with --node",
        )
    if others := sorted(inputs - {fed}):
        raise ModelError(
            f"{', '.join(outputs)} need the inputs {', '.join(others)} too, but {fed!r} alone "
            "is fed",
            fix="choose another node with --node",
        )
