"""Write a graph without the filters that can go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.models.dead.axis_rules import can_settle
from embedlib.models.dead.facts import Array, Bool, Facts, Float64
from embedlib.models.dead.layer_rules import LAYER_RULES, absorbed, layer_weights
from embedlib.models.dead.search import Found
from embedlib.models.dead.step import Step
from embedlib.models.graph import prune
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.tensors import split_tensor

_SUMS = frozenset({"Add", "AddV2", "BiasAdd"})
_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})


def without(graph: GraphDef, found: Found, *, outputs: Sequence[str]) -> GraphDef:
    """Leave the filters out that can go, and give what they gave to the layers that read them.

    Parameters
    ----------
    graph : GraphDef
        Not changed.
    found : Found
        Of `search` in the same graph.
    outputs : sequence of str
        Names of the wanted nodes.

    Returns
    -------
    narrow : GraphDef
        Cut to the wanted nodes. A weight that got narrower is a constant under the name of the
        node that it was read from.
    """
    removal = _Removal(graph, found, outputs=outputs)
    for step in found.steps.values():
        removal.narrow(step)
    return prune(removal.written(), outputs=outputs)


class _Removal:
    """A copy of a graph whose nodes get narrower, one by one."""

    def __init__(self, graph: GraphDef, found: Found, *, outputs: Sequence[str]) -> None:
        self._graph = prune(graph, outputs=outputs)
        self._nodes = {node.name: node for node in self._graph.node}
        self._found = found
        self._wanted = {split_tensor(output)[0] for output in outputs}
        self._n_readers = Counter(
            split_tensor(text)[0] for node in self._graph.node for text in node.input
        )
        self._constants: dict[str, Array] = {}
        self._sums: list[NodeDef] = []
        self._bias: dict[str, Float64] = {}

    def narrow(self, step: Step) -> None:
        """Bring the constants of a node to what is left of its channels."""
        if step.node.op in LAYER_RULES:
            self._narrow_layer(step)
        elif step.node.op == "Reshape":
            self._narrow_reshape(step)
        elif step.node.op in _NORMS:
            self._narrow_norm(step)
        elif not _moves_axes(step):
            self._narrow_operand(step)

    def written(self) -> GraphDef:
        """Give the graph with its new constants; what is not read any more is in it too."""
        writer = GraphWriter()
        for name, values in self._constants.items():
            dtype = "int32" if values.dtype.kind == "i" else "float32"
            writer.const(name, values, dtype=dtype)
        constants = GraphDef.FromString(writer.serialise()).node
        kept = (node for node in self._graph.node if node.name not in self._constants)
        return GraphDef(node=[*constants, *kept, *self._sums], versions=self._graph.versions)

    def _narrow_layer(self, step: Step) -> None:
        tensor, weights = step.tensor(), layer_weights(step)
        kept, kept_out = self._kept(tensor), self._kept(self._found.facts[step.node.name])
        if kept.all() and kept_out.all():
            return
        values = weights.values[..., kept_out]
        if not kept.all():
            self._absorb(step, absorbed(step, gone=~kept)[..., kept_out])
            values = np.compress(kept, values, axis=weights.axis)
        is_turned = step.node.op == "MatMul" and step.attribute("transpose_b").b
        self._set(step, 1, values.T if is_turned else values)

    def _absorb(self, step: Step, terms: Float64) -> None:
        """Add what constants give to the bias behind a layer, or behind the layer itself."""
        if not terms.any():
            return
        name = step.node.name
        bias = self._bias_behind(name)
        if bias is not None:
            self._bias[bias] = terms
            return
        layer, total = self._nodes[name], NodeDef(name=name, op="AddV2")
        layer.name = self._unused(f"{name}/alive")
        constant = self._unused(f"{name}/dead")
        self._constants[constant] = terms
        total.input.extend([layer.name, constant])
        total.attr["T"].type = layer.attr["T"].type
        self._sums.append(total)

    def _bias_behind(self, name: str) -> str | None:
        """Name the sum with a constant that alone reads a layer."""
        if name in self._wanted or self._n_readers[name] != 1:
            return None
        for step in self._found.steps.values():
            if step.node.op in _SUMS and name in step.node.input:
                is_bias = any(not isinstance(value, Facts) for value in step.inputs)
                return str(step.node.name) if is_bias else None
        return None

    def _narrow_reshape(self, step: Step) -> None:
        facts = self._found.facts[step.node.name]
        kept = self._kept(facts)
        if facts.axis is None or kept.all() or not can_settle(facts.shape):
            return
        target = [-1 if length is None else length for length in facts.shape or ()]
        target[facts.axis] = int(kept.sum())
        self._set(step, 1, np.array(target, np.int32))
        self._nodes[step.node.name].attr["Tshape"].type = 3

    def _narrow_norm(self, step: Step) -> None:
        facts = self._found.facts[step.node.name]
        kept = self._kept(facts)
        if facts.axis == facts.rank - 1 and not kept.all():
            for index in range(1, 5):
                self._set(step, index, step.constant(index)[kept])

    def _narrow_operand(self, step: Step) -> None:
        """Narrow the constant of a sum or a product, and add what a layer before it absorbed."""
        facts = self._found.facts[step.node.name]
        kept, terms = self._kept(facts), self._bias.get(step.node.name)
        if facts.axis is None or (kept.all() and terms is None):
            return
        for index, values in enumerate(step.inputs):
            if not isinstance(values, Facts):
                own = _kept_along(values, facts, kept)
                self._set(step, index, own if terms is None else _plus(own, terms))
        if terms is not None and terms.ndim > 1 and step.node.op == "BiasAdd":
            node = self._nodes[step.node.name]
            node.op = "AddV2"  # a bias has one value per channel
            for key in set(node.attr) - {"T"}:
                del node.attr[key]

    def _kept(self, facts: Facts) -> Bool:
        return ~self._found.gone[facts.ids]

    def _set(self, step: Step, index: int, values: Array) -> None:
        """Give a node another constant, under the old name where nothing else reads that."""
        node = self._nodes[step.node.name]
        name = split_tensor(node.input[index])[0]
        if self._n_readers[name] > 1 or name in self._wanted:
            name = self._unused(f"{step.node.name}/narrow_{index}")
        self._constants[name] = values
        node.input[index] = name

    def _unused(self, name: str) -> str:
        while name in self._nodes or name in self._constants:
            name += "_"
        return name


def _moves_axes(step: Step) -> bool:
    """Tell whether the constants of a node are axes and paddings, or there are none."""
    return step.node.op not in _SUMS | {"Maximum", "Mul", "RealDiv", "Sub"}


def _kept_along(values: Array, facts: Facts, kept: Bool) -> Array:
    """Leave channels out of a constant that has a value for each."""
    axis = (facts.axis or 0) - facts.rank + values.ndim
    if axis < 0 or values.shape[axis] != len(kept):
        return values
    return np.compress(kept, values, axis=axis)


def _plus(values: Array, terms: Float64) -> Float64:
    total: Float64 = values.astype(np.float64) + terms
    return total
