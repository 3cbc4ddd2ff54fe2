"""How the nodes of a graph hang together: names of tensors, inputs, ancestors, order."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError
from embedlib.models.tensors import split_tensor

LIST_FIX = "see `embedlib models nodes FILE`"
"""Way out of an error about a node that is not there."""


def data_inputs(node: NodeDef) -> list[str]:
    """Give the tensors that a node takes.

    Parameters
    ----------
    node : NodeDef
        Any.

    Returns
    -------
    tensors : list of str
        Without control inputs.
    """
    return [text for text in node.input if not text.startswith("^")]


def with_ancestors(graph: GraphDef, tensors: Sequence[str]) -> set[str]:
    """Collect what tensors depend on.

    Parameters
    ----------
    graph : GraphDef
        Any.
    tensors : sequence of str
        Names of nodes, with a port or without.

    Returns
    -------
    nodes : set of str
        Names of their nodes and of all ancestors.

    Raises
    ------
    ModelError
        If a node is not there.
    """
    nodes = {node.name: node for node in graph.node}
    wanted: set[str] = set()
    pending = [split_tensor(tensor)[0] for tensor in tensors]
    while pending:
        name = pending.pop()
        if name not in nodes:
            raise no_such_node(name)
        if name not in wanted:
            wanted.add(name)
            pending.extend(split_tensor(text)[0] for text in data_inputs(nodes[name]))
    return wanted


def sorted_nodes(graph: GraphDef, *, origin: str) -> list[NodeDef]:
    """Put nodes behind all that they depend on.

    Parameters
    ----------
    graph : GraphDef
        Any.
    origin : str
        Where it comes from, for errors.

    Returns
    -------
    nodes : list of NodeDef
        All of the graph.

    Raises
    ------
    ModelError
        If two nodes have one name, an input is not there, or there is a cycle.
    """
    nodes = {node.name: node for node in graph.node}
    if len(nodes) < len(graph.node):
        raise ModelError(f"{origin} holds two nodes of one name")
    sources = {
        name: [split_tensor(text)[0] for text in data_inputs(node)] for name, node in nodes.items()
    }
    for name, inputs in sources.items():
        for source in inputs:
            if source not in nodes:
                raise ModelError(f"{origin} lacks node {source!r}, the input of {name!r}")
    try:
        return [nodes[name] for name in TopologicalSorter(sources).static_order()]
    except CycleError as exc:
        raise ModelError(f"{origin} has a cycle through node {exc.args[1][0]!r}") from exc


def no_such_node(name: str) -> ModelError:
    """Make the error about a node that is not there.

    Parameters
    ----------
    name : str
        What was asked for.

    Returns
    -------
    error : ModelError
        To be raised.
    """
    return ModelError(f"the graph has no node {name!r}", fix=LIST_FIX)
