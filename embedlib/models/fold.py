"""Fold the dead filters of MusiCNN away: a tenth of the operations, the same numbers.

Most front-end filters of the published MSD MusiCNN died in training: of 204, 204, 51, 51 and 51
all but 23, 14, 3, 7 and 17 have a kernel whose norm is near 1e-29. Such a filter gives the same
value at all positions of all inputs, and what depends on it alone can be computed beforehand::

    conv2d, conv2d_1 .. conv2d_4 -> concat -+-> pad, conv2d_5 -> ... -+-> max, mean -> dense
                                            +-------------------------+

- The value is ``scale * relu(bias) + shift``, with the scale and the shift of the filter's batch
  norm. It is its own maximum over the bands.
- For ``conv2d_5`` the dead channels are a bias. The zeros that pad the channels in time come after
  the front end, so near both ends fewer taps see the values: the bias of the first and the last
  3 frames differs from frame to frame. It becomes a constant with an axis of frames.
- For ``dense`` they are a bias too: maximum and mean over time of a constant are the constant.

What remains is the same graph with narrower weights. Sums are made in float64, and the embeddings
are those of the whole graph up to the rounding of float32. Graphs without dead filters, such as
untrained ones, and graphs that are not exactly MusiCNN as it was published stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.models.builder import build_untrained
from embedlib.models.families.musicnn import MSD_MUSICNN
from embedlib.models.graph import const_array, parse_graph, prune
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import BATCH_NORM_EPSILON

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Weights = Mapping[str, Float64]

DEAD_BELOW = 1e-7
"""Largest ``|scale| * norm(kernel)`` of a dead filter: how far an input of norm 1 can move it.

About the resolution of float32 at 1. In the published file no filter is between 1.3e-10 and 7e-4,
in its fine-tuned sibling genre_dortmund_musicnn_msd.pb none between 2e-28 and 5e-5.
"""

# Constants in the scope belong to the architecture, those outside of it are weights.
_SCOPE = "model"

# Layers and their batch norms, as the published files name them.
_FRONT_END = (
    ("conv2d", "batch_normalization_1"),
    ("conv2d_1", "batch_normalization_2"),
    ("conv2d_2", "batch_normalization_3"),
    ("conv2d_3", "batch_normalization_4"),
    ("conv2d_4", "batch_normalization_5"),
)
_MID_END = "conv2d_5"
_DENSE, _DENSE_NORM = "dense", "batch_normalization_9"
_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True, slots=True)
class _Filters:
    """Filters of the front end: which are dead, and the value that each gives if it is."""

    dead: Bool
    values: Float64


@np.errstate(all="ignore")  # weights that are not finite stay what they are, without a warning
def fold_dead_filters(
    graph: GraphDef, *, outputs: Sequence[str], dead_below: float = DEAD_BELOW
) -> GraphDef:
    """Fold the dead front-end filters of a MusiCNN into the layers that read them.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`; not changed.
    outputs : sequence of str
        Names of the wanted nodes.
    dead_below : float >= 0
        A filter is dead where ``|scale| * norm(kernel)`` is not above it.

    Returns
    -------
    folded : GraphDef
        Cut to the wanted nodes; `graph` itself where no filter is dead, where the nodes up to the
        embeddings are not exactly those of the published MusiCNN, or where a wanted node needs
        more of them than the embeddings.

    Raises
    ------
    ModelError
        If there is no node of a wanted name, or a weight cannot be read.

    Examples
    --------
    >>> graph = parse_graph(build_untrained(MSD_MUSICNN), origin="untrained")
    >>> fold_dead_filters(graph, outputs=["model/dense/BiasAdd"]) is graph
    True
    """
    names = {node.name for node in graph.node}
    if names.issuperset(outputs) and not names.issuperset(_published_trunk()):
        return graph  # before a copy is made of what may be large
    pruned = prune(graph, outputs=outputs)
    if not _is_musicnn(pruned, outputs=outputs):
        return graph
    weights = _read_weights(pruned)
    layers = [_filters(weights, *names, dead_below=dead_below) for names in _FRONT_END]
    front = _Filters(
        np.concatenate([layer.dead for layer in layers]),
        np.concatenate([layer.values for layer in layers]),
    )
    if not front.dead.any():
        return graph
    folded = _mid_end(weights, front) | _dense(weights, front)
    for (layer, norm), filters in zip(_FRONT_END, layers, strict=True):
        folded |= _front_end(weights, layer, norm, dead=filters.dead)
    return _replaced(pruned, folded)


def _is_musicnn(pruned: GraphDef, *, outputs: Sequence[str]) -> bool:
    """Whether the nodes up to the embeddings are as published, and nothing reads further up."""
    trunk = _published_trunk()
    bare = {node.name: _without_values(node) for node in pruned.node if node.name in trunk}
    inner = trunk.keys() - {MSD_MUSICNN.embedding.nodes[0]}
    read = {
        text.partition(":")[0]
        for node in pruned.node
        if node.name not in trunk
        for text in node.input
    }
    return bare == trunk and inner.isdisjoint(read | set(outputs))


@cache
def _published_trunk() -> Mapping[str, bytes]:
    """Give the nodes up to the embeddings by name; the builder writes them as published."""
    graph = parse_graph(build_untrained(MSD_MUSICNN), origin=MSD_MUSICNN.name)
    trunk = prune(graph, outputs=[MSD_MUSICNN.embedding.nodes[0]])
    return {node.name: _without_values(node) for node in trunk.node}


def _without_values(node: NodeDef) -> bytes:
    """Serialise a node; of weights, only dtype and shape."""
    bare = NodeDef()
    bare.CopyFrom(node)
    if node.op == "Const":
        tensor = bare.attr["value"].tensor
        tensor.tensor_shape.SetInParent()  # a scalar may have an empty shape or none
        if _is_weights(node):
            tensor.ClearField("tensor_content")
            tensor.ClearField("float_val")
    data: bytes = bare.SerializeToString(deterministic=True)
    return data


def _is_weights(node: NodeDef) -> bool:
    return bool(node.op == "Const" and not node.name.startswith(f"{_SCOPE}/"))


def _read_weights(graph: GraphDef) -> Weights:
    trunk = _published_trunk()
    return {
        node.name: const_array(node).astype(np.float64)
        for node in graph.node
        if node.name in trunk and _is_weights(node)
    }


def _filters(weights: Weights, layer: str, norm: str, *, dead_below: float) -> _Filters:
    scale, shift = _affine(weights, norm)
    kernel, bias = weights[f"{layer}/kernel"], weights[f"{layer}/bias"]
    sizes = np.abs(scale) * np.linalg.norm(kernel.reshape(-1, len(bias)), axis=0)
    values = scale * np.maximum(bias, 0.0) + shift
    dead = (sizes <= dead_below) & np.isfinite(values)
    if dead.all():
        dead[0] = False  # no runtime is made for a convolution without filters
    return _Filters(dead, values)


def _affine(weights: Weights, norm: str) -> tuple[Float64, Float64]:
    """Give the scale and the shift that a batch norm is."""
    gamma, beta, mean, variance = (weights[f"{norm}/{part}"] for part in _NORM_PARTS)
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, beta - mean * scale


def _front_end(weights: Weights, layer: str, norm: str, *, dead: Bool) -> dict[str, Float64]:
    """Leave the dead filters of a layer out."""
    names = [f"{layer}/kernel", f"{layer}/bias", *(f"{norm}/{part}" for part in _NORM_PARTS)]
    return {name: weights[name][..., ~dead] for name in names}


def _mid_end(weights: Weights, front: _Filters) -> dict[str, Float64]:
    """Leave the dead channels out of the first mid-end layer; its bias gets an axis of frames."""
    kernel = weights[f"{_MID_END}/kernel"]
    n_taps = len(kernel)
    by_tap = np.einsum("c,tcio->to", front.values[front.dead], kernel[:, front.dead])
    # The layer pads with as many zeros as keep the length of the patch.
    inside = np.pad(np.ones(MSD_MUSICNN.patch_frames), (n_taps - 1) // 2)
    by_frame = np.lib.stride_tricks.sliding_window_view(inside, n_taps) @ by_tap
    bias = weights[f"{_MID_END}/bias"] + by_frame
    return {
        f"{_MID_END}/kernel": kernel[:, ~front.dead],
        f"{_MID_END}/bias": bias[np.newaxis, :, np.newaxis],
    }


def _dense(weights: Weights, front: _Filters) -> dict[str, Float64]:
    """Leave the dead channels out of the dense layer and of the batch norm before it."""
    kernel = weights[f"{_DENSE}/kernel"]
    # Each channel has two rows, its maximum and its mean; those of the front end come first.
    dead = np.zeros(len(kernel), np.bool_)
    dead[: 2 * len(front.dead)] = np.repeat(front.dead, 2)
    scale, shift = _affine(weights, _DENSE_NORM)
    normal = np.repeat(front.values[front.dead], 2) * scale[dead] + shift[dead]
    names = [f"{_DENSE}/kernel", *(f"{_DENSE_NORM}/{part}" for part in _NORM_PARTS)]
    bias = weights[f"{_DENSE}/bias"] + normal @ kernel[dead]
    return {name: weights[name][~dead] for name in names} | {f"{_DENSE}/bias": bias}


def _replaced(pruned: GraphDef, weights: Weights) -> GraphDef:
    """Put weights into a copy of a graph, and add the bias of the mid-end as a tensor."""
    writer = GraphWriter(scope=_SCOPE)
    for name, values in weights.items():
        writer.variable(name, values.astype(np.float32))
    writer.op(
        "Add", f"{_MID_END}/BiasAdd", [f"{_SCOPE}/{_MID_END}/Conv2D", f"{_MID_END}/bias/read"]
    )
    written = {node.name: node for node in GraphDef.FromString(writer.serialise()).node}
    nodes = [written.get(node.name, node) for node in pruned.node]
    return GraphDef(node=nodes, versions=pruned.versions)
