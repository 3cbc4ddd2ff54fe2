"""Let convolutions fill whole vectors: filters that leave places empty give several frames at once.

A core computes 16 filters at once. A convolution of 3 filters leaves 13 of these places empty, at
each of its frames, and one of 17 leaves 15. What does not fill a vector is made a convolution of
its own that steps by `s` frames and has each filter `s` times, one frame further down each time,
with zeros around it::

    kernel (k, m, c, f), stride 1          kernel (k + s - 1, m, c, s * f), stride s
    t = 0, 1, 2, ... : f values            t = 0, s, 2 s, ... : s * f values

The products that are added up are the same, in the same order, but for products with zero; in
float32 OpenVINO gave equal bits. What follows by channel (bias, ReLU, batch norm) and pools bands
away works on ``s * f`` channels, and where one band is left, the frames are put back by a reshape
that moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.models.chains import Chain, constant, find_chains
from embedlib.models.graph import prune
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.shaping import concat
from embedlib.models.topology import data_inputs

LANES: Final = 16
"""Filters that a core computes at once: float32 in a vector of AVX-512, accumulators of bfloat16
too. With vectors of 8, the steps that are chosen fill these as well."""

STEPS: Final = (1, 2, 4, 8, 16)
"""Frames per step that are tried."""

WORTH: Final = 0.85
"""Share of the operations, empty places counted, that must not be exceeded. Measured on one core
with AVX-512, of 1 to 51 filters: at 0.21 to 0.80 of them it takes 0.29 to 0.83 of the time in
float32, and as much or less in bfloat16."""

_TIE = 1.1  # more frames per step leave less to pool, at up to so many more operations


@dataclass(frozen=True, slots=True)
class FilterGroup:
    """Neighbouring filters that are computed together.

    Attributes
    ----------
    start, stop : int
        Which filters.
    step : int
        Frames that they give at once.
    """

    start: int
    stop: int
    step: int = 1


def filter_groups(n_taps: int, n_filters: int) -> tuple[FilterGroup, ...]:
    """Say how the filters of a convolution over time fill vectors best.

    Parameters
    ----------
    n_taps : int > 0
        Length of the kernel along time.
    n_filters : int > 0
        Number of filters.

    Returns
    -------
    groups : tuple of FilterGroup
        All filters, in order: those that fill whole vectors, and the rest. One group of step 1
        where nothing pays.

    Examples
    --------
    >>> [(each.stop, each.step) for each in filter_groups(7, 23)]
    [(16, 1), (23, 2)]
    >>> [(each.stop, each.step) for each in filter_groups(128, 3)]
    [(3, 16)]
    >>> [(each.stop, each.step) for each in filter_groups(7, 14)]
    [(14, 1)]
    """
    n_whole = n_filters - n_filters % LANES
    n_rest = n_filters - n_whole
    step = _best_step(n_taps, n_rest) if n_rest else 1
    operations = n_whole * n_taps + _operations(n_taps, n_rest, step)
    if step == 1 or operations > WORTH * _operations(n_taps, n_filters, 1):
        return (FilterGroup(0, n_filters),)
    whole = (FilterGroup(0, n_whole),) if n_whole else ()
    return (*whole, FilterGroup(n_whole, n_filters, step))


def _best_step(n_taps: int, n_filters: int) -> int:
    costs = {step: _operations(n_taps, n_filters, step) for step in STEPS}
    least = min(costs.values())
    return max(step for step, cost in costs.items() if cost <= _TIE * least)


def _operations(n_taps: int, n_filters: int, step: int) -> float:
    """Count what a frame takes per band and channel of the input, empty places included."""
    return LANES * -(-step * n_filters // LANES) * (n_taps + step - 1) / step


def give_frames_in_blocks(graph: GraphDef, *, outputs: Sequence[str]) -> GraphDef:
    """Let filters that do not fill a vector give several frames at once where that pays.

    Parameters
    ----------
    graph : GraphDef
        Cut to what is run; not changed.
    outputs : sequence of str
        Names of the wanted nodes, which keep their values.

    Returns
    -------
    blocked : GraphDef
        `graph` itself where nothing is gained.

    Raises
    ------
    ModelError
        If there is no node of a wanted name, or a weight cannot be read.
    """
    chains = find_chains(graph, outputs=frozenset(outputs), is_wanted=_is_uneven)
    if not chains:
        return graph
    nodes = {node.name: node for node in graph.node}
    written = {chain.last: _written(chain, nodes) for chain in chains}
    blocked = GraphDef(versions=graph.versions)
    for node in graph.node:
        blocked.node.extend(written.get(node.name, [node]))
    return prune(blocked, outputs=outputs)


def _is_uneven(n_taps: int, n_filters: int) -> bool:
    """Whether it pays to let some filters give several frames at once."""
    return any(group.step > 1 for group in filter_groups(n_taps, n_filters))


def _written(chain: Chain, nodes: Mapping[str, NodeDef]) -> list[NodeDef]:
    """Write a chain anew, group by group; what joins them has the name that others read."""
    groups = filter_groups(chain.kernel.shape[0], chain.kernel.shape[3])
    written: list[NodeDef] = []
    tensors = []
    for number, group in enumerate(groups):
        suffix = f"group_{number}"
        written += _convolution(chain, group, name=f"{chain.conv.name}/{suffix}")
        tensor = written[-1].name
        for node in chain.rest:
            written += _of_group(node, tensor, chain, group, nodes, name=f"{node.name}/{suffix}")
            tensor = written[-1].name
        if group.step > 1:
            written += _frames_again(chain, group, tensor, name=f"{tensor}/frames")
            tensor = written[-1].name
        tensors.append(tensor)
    return [*written, *_joined(tensors, name=chain.last)]


def _convolution(chain: Chain, group: FilterGroup, *, name: str) -> list[NodeDef]:
    own = chain.kernel[..., group.start : group.stop]
    n_taps = len(own) + group.step - 1
    kernel = np.zeros((n_taps, *own.shape[1:3], group.step, own.shape[3]), np.float32)
    for frame in range(group.step):
        kernel[frame : frame + len(own), :, :, frame] = own
    writer = GraphWriter()
    weights = writer.variable(f"{name}/kernel", kernel.reshape(*kernel.shape[:3], -1))
    paddings = writer.const(f"{name}/paddings", _paddings(chain, group, n_taps=n_taps))
    image = data_inputs(chain.conv)[0]
    padded = writer.op("Pad", f"{name}/padded", [image, paddings], Tpaddings="int32")
    conv = _copy(chain.conv, name=name, inputs=[padded, weights])
    conv.attr["strides"].list.i[1] = group.step
    conv.attr["padding"].s = b"VALID"
    return [*_nodes(writer), conv]


def _paddings(chain: Chain, group: FilterGroup, *, n_taps: int) -> list[list[int]]:
    """Pad as TensorFlow's SAME does, and at the end up to a whole number of steps."""
    is_same = chain.conv.attr["padding"].s == b"SAME"
    before, beside = ((length - 1) * is_same // 2 for length in chain.kernel.shape[:2])
    behind = (chain.kernel.shape[1] - 1) * is_same - beside
    n_needed = (_n_steps(chain, group) - 1) * group.step + n_taps
    after = n_needed - chain.n_frames_in - before
    return [[0, 0], [before, after], [beside, behind], [0, 0]]


def _n_steps(chain: Chain, group: FilterGroup) -> int:
    return -(-chain.n_frames // group.step)


def _of_group(
    node: NodeDef,
    tensor: str,
    chain: Chain,
    group: FilterGroup,
    nodes: Mapping[str, NodeDef],
    *,
    name: str,
) -> list[NodeDef]:
    """Let a node take the filters of a group, each as often as it gives frames at once."""
    writer = GraphWriter()
    inputs = [tensor]
    for number, text in enumerate(data_inputs(node)[1:]):
        values = np.asarray(constant(text, nodes), np.float32)
        own = np.tile(values[group.start : group.stop], group.step)
        inputs.append(writer.variable(f"{name}/{number}", own))
    return [*_nodes(writer), _copy(node, name=name, inputs=inputs)]


def _frames_again(chain: Chain, group: FilterGroup, tensor: str, *, name: str) -> list[NodeDef]:
    """Turn channels back into frames, and leave out those behind the end."""
    n_filters = group.stop - group.start
    writer = GraphWriter()
    shape = writer.const(f"{name}/shape", [-1, _n_steps(chain, group) * group.step, 1, n_filters])
    frames = writer.op("Reshape", f"{name}/all", [tensor, shape], Tshape="int32")
    begin = writer.const(f"{name}/begin", [0, 0, 0, 0])
    size = writer.const(f"{name}/size", [-1, chain.n_frames, 1, n_filters])
    writer.op("Slice", name, [frames, begin, size], Index="int32")
    return _nodes(writer)


def _joined(tensors: Sequence[str], *, name: str) -> list[NodeDef]:
    writer = GraphWriter()
    if len(tensors) == 1:
        writer.op("Identity", name, tensors)
    else:
        concat(writer, tensors, name=name, axis=3)
    return _nodes(writer)


def _nodes(writer: GraphWriter) -> list[NodeDef]:
    return list(GraphDef.FromString(writer.serialise()).node)


def _copy(node: NodeDef, *, name: str, inputs: Sequence[str]) -> NodeDef:
    copy = NodeDef()
    copy.CopyFrom(node)
    copy.name = name
    copy.input[:] = inputs
    return copy
