"""Walk a graph from its input to its outputs, and find the filters that are dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError
from embedlib.models.constants import fold_constant
from embedlib.models.dead.axis_rules import AXIS_RULES, can_settle
from embedlib.models.dead.element_rules import ELEMENT_RULES
from embedlib.models.dead.facts import INPUT_BOUND, Array, Bool, Facts, Ints, bounded
from embedlib.models.dead.groups import Groups
from embedlib.models.dead.layer_rules import LAYER_RULES
from embedlib.models.dead.report import LayerFilters
from embedlib.models.dead.step import LostError, Step
from embedlib.models.graph import const_array
from embedlib.models.known import Shape
from embedlib.models.nodes import known_shapes
from embedlib.models.tensors import split_tensor
from embedlib.models.topology import data_inputs, no_such_node, sorted_nodes

RULES = ELEMENT_RULES | AXIS_RULES | LAYER_RULES

# DataType in TensorFlow's types.proto that NumPy has too: what constants may be.
_READABLE = frozenset({1, 2, 3, 9, 10})


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes
    ----------
    steps : mapping of str to Step
        The nodes that a rule followed, by name, each behind all that it reads.
    facts : mapping of str to Facts
        Of the first output of nodes that depend on the patch.
    gone : np.ndarray [bool]
        Which filters can go, by id.
    layers : tuple of LayerFilters
        In the order of the graph.
    """

    steps: Mapping[str, Step]
    facts: Mapping[str, Facts]
    gone: Bool
    layers: tuple[LayerFilters, ...]


@np.errstate(all="ignore")  # weights that are not finite stay what they are, without a warning
def search(graph: GraphDef, *, outputs: Sequence[str], dead_below: float) -> Found:
    """Find the dead filters of a graph.

    Parameters
    ----------
    graph : GraphDef
        Not changed, and nothing large of it is copied.
    outputs : sequence of str
        Names of the wanted nodes.
    dead_below : float >= 0
        How far a dead channel may move, as a share of the largest input.

    Returns
    -------
    found : Found
        The filters and who reads them.

    Raises
    ------
    ModelError
        If there is no node of a wanted name, or a weight cannot be read.
    """
    walk = _Walk(known_shapes(graph), Groups(tolerance=dead_below * INPUT_BOUND))
    for node in _needed(graph, outputs, walk.shapes):
        walk.settle(node)
    for output in outputs:
        walk.want(output)
    return walk.found()


class _Walk:
    """What is known on the way down."""

    def __init__(self, shapes: Mapping[str, Shape], groups: Groups) -> None:
        self.shapes = shapes
        self._groups = groups
        self._constants: dict[str, tuple[Array, ...]] = {}
        self._facts: dict[str, Facts] = {}
        self._steps: dict[str, Step] = {}
        self._layers: dict[str, Ints] = {}

    def settle(self, node: NodeDef) -> None:
        """Settle a node whose inputs are all settled."""
        if node.op == "Const" and node.attr["dtype"].type in _READABLE:
            self._constants[node.name] = (const_array(node),)
        elif node.op == "Placeholder":
            self._facts[node.name] = bounded(self.shapes[node.name], radius=INPUT_BOUND)
        else:
            self._follow(node)

    def want(self, output: str) -> None:
        """Note a wanted output, which needs all its channels."""
        facts = self._facts.get(split_tensor(output)[0])
        if facts is not None:
            self._groups.hold(facts, "it is a wanted output")

    def found(self) -> Found:
        """Give the result."""
        dead, gone = self._groups.settle(list(self._layers.values()))
        layers = (self._layer(name, dead, gone) for name in self.shapes if name in self._layers)
        return Found(self._steps, self._facts, gone, tuple(layers))

    def _follow(self, node: NodeDef) -> None:
        inputs = tuple(self._read(text) for text in _read_by(node, self.shapes))
        known = [value for value in inputs if not isinstance(value, Facts)]
        if inputs and len(known) == len(inputs):
            self._fold(node, known)
        else:
            self._bound(node, inputs)

    def _fold(self, node: NodeDef, inputs: list[Array]) -> None:
        if node.op == "Reshape" and len(inputs) == 1:
            inputs.append(np.array(self.shapes[node.name]))
        try:
            self._constants[node.name] = fold_constant(node, inputs)
        except ModelError:  # an op that is not known
            self._facts[node.name] = bounded(self.shapes[node.name])

    def _bound(self, node: NodeDef, inputs: tuple[Facts | Array, ...]) -> None:
        step = Step(node, inputs, self.shapes[node.name], self._groups)
        try:
            if node.op not in RULES:
                raise LostError
            self._facts[node.name] = RULES[node.op](step)
        except (LostError, IndexError, ValueError):
            self._lose(step)
            return
        self._steps[node.name] = step
        if node.op in LAYER_RULES:
            self._layers[node.name] = self._facts[node.name].ids

    def _lose(self, step: Step) -> None:
        """Keep all that a node reads, and say nothing of what it gives."""
        for value in step.inputs:
            if isinstance(value, Facts):
                reason = f"{step.node.op} {step.node.name!r} reads it"
                self._groups.hold(value, reason)
        self._facts[step.node.name] = bounded(step.shape)

    def _read(self, text: str) -> Facts | Array:
        name, port = split_tensor(text)
        if name in self._constants and port < len(self._constants[name]):
            return self._constants[name][port]
        facts = self._facts.get(name, bounded(self.shapes[name]))
        if port == 0:
            return facts
        self._groups.hold(facts, f"{text!r} is read")
        return bounded(None)

    def _layer(self, name: str, dead: Bool, gone: Bool) -> LayerFilters:
        ids = self._layers[name]
        kept = ids[dead[ids] & ~gone[ids]].tolist()
        reasons = dict.fromkeys(self._groups.reason(index) for index in kept)
        return LayerFilters(
            name,
            n_filters=len(ids),
            n_dead=int((dead[ids] | gone[ids]).sum()),
            n_removed=int(gone[ids].sum()),
            kept_because="; ".join(reasons),
        )


def _needed(graph: GraphDef, outputs: Sequence[str], shapes: Mapping[str, Shape]) -> list[NodeDef]:
    """Give what the outputs depend on, in order, without arithmetic on the shapes of reshapes."""
    nodes = {node.name: node for node in graph.node}
    wanted: set[str] = set()
    pending = [split_tensor(output)[0] for output in outputs]
    while pending:
        name = pending.pop()
        if name not in nodes:
            raise no_such_node(name)
        if name not in wanted:
            wanted.add(name)
            pending.extend(split_tensor(text)[0] for text in _read_by(nodes[name], shapes))
    return [node for node in sorted_nodes(graph, origin="the graph") if node.name in wanted]


def _read_by(node: NodeDef, shapes: Mapping[str, Shape]) -> list[str]:
    """Give the tensors that a node needs; its target, of a reshape whose result is known, not."""
    inputs = data_inputs(node)
    return inputs[:1] if node.op == "Reshape" and can_settle(shapes[node.name]) else inputs
