"""Leave out the branches of a graph that are never taken.

TensorFlow 1 writes a condition, such as dropout in training, as data flow: a ``Switch`` sends its
data to port 1 if the predicate is true, to port 0 if not, and leaves the other port dead; so is
all that reads a dead tensor; a ``Merge`` gives the input that is alive.
"""

from __future__ import annotations

from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.models.graph import const_array
from embedlib.models.tensors import split_tensor
from embedlib.models.topology import sorted_nodes

# DataType in TensorFlow's types.proto.
_DT_BOOL = 10


def settle_branches(graph: GraphDef) -> frozenset[str]:
    """Replace each condition whose predicate is a constant by the branch that is taken.

    Parameters
    ----------
    graph : GraphDef
        Changed in place; without control inputs, as `prune` leaves it.

    Returns
    -------
    dead : frozenset of str
        Nodes that are never computed. They stay in the graph, but no other node reads them.
    """
    flow = _Flow()
    for node in sorted_nodes(graph, origin="the graph"):
        flow.settle(node)
    return frozenset(flow.dead.intersection(node.name for node in graph.node))


class _Flow:
    """What is known on the way down: predicates, what is dead, and what a Switch lets through."""

    def __init__(self) -> None:
        self._predicates: dict[str, bool] = {}
        self.dead: set[str] = set()
        self._passed: dict[str, str] = {}

    def settle(self, node: NodeDef) -> None:
        """Settle a node whose inputs are all settled."""
        for index, text in enumerate(node.input):
            node.input[index] = self._passed.get(_full(text), text)
        alive = [text for text in node.input if not self._is_dead(text)]
        if node.op == "Merge" and len(alive) == 1:
            _forward(node, alive[0])
        elif len(alive) < len(node.input):
            self.dead.add(node.name)
        elif node.op == "Switch":
            self._send(node)
        else:
            self._note_predicate(node)

    def _is_dead(self, text: str) -> bool:
        return split_tensor(text)[0] in self.dead or _full(text) in self.dead

    def _send(self, node: NodeDef) -> None:
        data, predicate = node.input
        if (value := self._predicates.get(predicate)) is not None:
            self._passed[f"{node.name}:{int(value)}"] = data
            self.dead.add(f"{node.name}:{int(not value)}")

    def _note_predicate(self, node: NodeDef) -> None:
        if node.op == "Const" and node.attr["dtype"].type == _DT_BOOL:
            values = const_array(node)
            if values.size == 1:
                self._predicates[node.name] = bool(values.item())
        elif node.op == "Identity" and node.input[0] in self._predicates:
            self._predicates[node.name] = self._predicates[node.input[0]]


def _forward(node: NodeDef, text: str) -> None:
    """Make a Merge an Identity of its input that is alive."""
    node.op = "Identity"
    del node.input[:]
    node.input.append(text)
    if "N" in node.attr:
        del node.attr["N"]


def _full(text: str) -> str:
    name, port = split_tensor(text)
    return f"{name}:{port}"
