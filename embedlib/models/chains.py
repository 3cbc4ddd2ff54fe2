"""Find convolutions over time whose bands are pooled away, and all that lies between.

Between the two, each frame and each filter must be treated by itself: bias, activation, batch norm
with constants. Such a chain can be computed for some of its filters, or for several frames at once,
without a change of its numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.models.graph import const_array
from embedlib.models.known import Shape
from embedlib.models.nodes import known_shapes
from embedlib.models.tensors import node_of
from embedlib.models.topology import data_inputs

_UNARY = frozenset({"Elu", "Identity", "LeakyRelu", "Relu", "Relu6", "Sigmoid", "Tanh"})
_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_BY_CHANNEL = frozenset({"Add", "AddV2", "BiasAdd", "Mul", "Sub"}) | _NORMS
_POOLS = frozenset({"AvgPool", "MaxPool"})


@dataclass(frozen=True, slots=True)
class Chain:
    """A convolution, what follows it by channel, and the pooling that leaves one band.

    Attributes
    ----------
    conv : NodeDef
        The convolution, of stride 1, channels last.
    rest : tuple of NodeDef
        What follows, one after the other; each is read by the next one alone.
    kernel : np.ndarray [shape=(n_taps, n_bands, n_channels, n_filters), float32]
        Its weights.
    n_frames_in, n_frames : int
        Before and behind it.
    """

    conv: NodeDef
    rest: tuple[NodeDef, ...]
    kernel: NDArray[np.float32]
    n_frames_in: int
    n_frames: int

    @property
    def last(self) -> str:
        """Name of the node that others read."""
        return str((self.conv, *self.rest)[-1].name)


def find_chains(
    graph: GraphDef, *, outputs: frozenset[str], is_wanted: Callable[[int, int], bool]
) -> list[Chain]:
    """Find the chains of a graph.

    Parameters
    ----------
    graph : GraphDef
        Cut to what is run.
    outputs : frozenset of str
        Names of nodes that must keep their values, and so end no chain but as its last one.
    is_wanted : callable
        From taps along time and filters of a convolution to whether it is looked at.

    Returns
    -------
    chains : list of Chain
        In the order of the graph.

    Raises
    ------
    ModelError
        If a weight cannot be read.
    """
    nodes = {node.name: node for node in graph.node}
    wanted = [node for node in graph.node if _is_plain_convolution(node)]
    wanted = [node for node in wanted if _is_wanted(node, nodes, is_wanted)]
    if not wanted:
        return []
    readers, shapes = _readers(graph), known_shapes(graph)
    found = (_chain(node, nodes, readers, shapes, outputs) for node in wanted)
    return [chain for chain in found if chain is not None]


def constant(tensor: str, nodes: Mapping[str, NodeDef]) -> NDArray[np.generic] | None:
    """Read a constant, through the node that TensorFlow reads weights through.

    Parameters
    ----------
    tensor : str
        Its name.
    nodes : mapping of str to NodeDef
        Of the graph, by name.

    Returns
    -------
    values : np.ndarray or None
        None if it is none.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    node = nodes[node_of(tensor)]
    while node.op == "Identity":
        node = nodes[node_of(data_inputs(node)[0])]
    return const_array(node) if node.op == "Const" else None


def _is_wanted(
    conv: NodeDef, nodes: Mapping[str, NodeDef], is_wanted: Callable[[int, int], bool]
) -> bool:
    kernel = constant(data_inputs(conv)[1], nodes)
    return kernel is not None and is_wanted(kernel.shape[0], kernel.shape[3])


def _is_plain_convolution(node: NodeDef) -> bool:
    strides, dilations = (list(node.attr[key].list.i) for key in ("strides", "dilations"))
    return (
        node.op == "Conv2D"
        and _is_channels_last(node)
        and strides == [1, 1, 1, 1]
        and dilations in ([], [1, 1, 1, 1])
        and node.attr["padding"].s in (b"SAME", b"VALID")
    )


def _is_channels_last(node: NodeDef) -> bool:
    return node.attr["data_format"].s in (b"", b"NHWC")


def _readers(graph: GraphDef) -> Mapping[str, list[NodeDef]]:
    readers: defaultdict[str, list[NodeDef]] = defaultdict(list)
    for node in graph.node:
        for text in data_inputs(node):
            readers[node_of(text)].append(node)
    return readers


def _chain(
    conv: NodeDef,
    nodes: Mapping[str, NodeDef],
    readers: Mapping[str, list[NodeDef]],
    shapes: Mapping[str, Shape],
    outputs: frozenset[str],
) -> Chain | None:
    """Follow a convolution to where one band is left; None where that is not in sight."""
    image, weights = data_inputs(conv)
    size_in, size = (_frames_and_bands(shapes[name]) for name in (node_of(image), conv.name))
    kernel = constant(weights, nodes)
    if kernel is None or size_in is None or size is None:
        return None
    rest: list[NodeDef] = []
    last, (n_frames, n_bands) = conv, size
    while n_bands != 1:
        following = readers[last.name]
        if last.name in outputs or len(following) != 1:
            return None
        if not _is_by_channel(following[0], last, nodes, n_filters=kernel.shape[3]):
            return None
        last = following[0]
        rest.append(last)
        n_bands = (_frames_and_bands(shapes[last.name]) or (0, 0))[1]
    return Chain(conv, tuple(rest), kernel.astype(np.float32), size_in[0], n_frames)


def _frames_and_bands(shape: Shape) -> tuple[int, int] | None:
    """Give the two axes in the middle; None where these are not known."""
    if shape is None or len(shape) != 4 or shape[1] is None or shape[2] is None:
        return None
    return shape[1], shape[2]


def _is_by_channel(
    node: NodeDef, source: NodeDef, nodes: Mapping[str, NodeDef], *, n_filters: int
) -> bool:
    """Whether a node treats each frame and channel of its first input by itself."""
    first, *others = data_inputs(node)
    if node_of(first) != source.name:
        return False
    if node.op in _POOLS:
        over_frames = [node.attr[key].list.i[1] for key in ("ksize", "strides")]
        return _is_channels_last(node) and over_frames == [1, 1]
    if node.op in _NORMS and (node.attr["is_training"].b or "is_training" not in node.attr):
        return False
    if node.op in _BY_CHANNEL:
        values = [constant(text, nodes) for text in others]
        return _is_channels_last(node) and all(
            value is not None and value.shape == (n_filters,) for value in values
        )
    return node.op in _UNARY
