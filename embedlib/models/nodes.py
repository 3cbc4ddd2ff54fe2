"""From the names in a spec to the tensors of one graph, checked against it.

A spec may say ``input of NAME`` where the tensor's own name differs from file to file; what runs
the graph gets the name that it has there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import ConfigError, ModelError
from embedlib.models.graph import INPUT_OF, list_nodes, resolve_node
from embedlib.models.known import Shape
from embedlib.models.spec import ModelSpec, Output
from embedlib.models.tensors import node_of, tensor_name

_CHOOSE = "choose another of `embedlib models nodes FILE`"


@dataclass(frozen=True, slots=True)
class SpecNodes:
    """The tensors of a spec in one graph.

    Attributes
    ----------
    input_node : str
        Tensor that takes the patches.
    outputs : tuple of Output
        Those of the spec, with the names that their nodes have in the graph.
    """

    input_node: str
    outputs: tuple[Output, ...]


def resolve_spec(spec: ModelSpec, graph: GraphDef) -> SpecNodes:
    """Give the tensors of a spec the names that they have in a graph.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    graph : GraphDef
        From `parse_graph`.

    Returns
    -------
    nodes : SpecNodes
        Without any ``input of``.

    Raises
    ------
    ModelError
        If the graph has no such node.
    """
    outputs = tuple(
        replace(output, nodes=tuple(resolve_node(graph, node) for node in output.nodes))
        for output in spec.outputs
    )
    return SpecNodes(resolve_node(graph, spec.input_node), outputs)


def named_nodes(spec: ModelSpec) -> SpecNodes | None:
    """Give the tensors of a spec that says all names itself.

    Parameters
    ----------
    spec : ModelSpec
        The model.

    Returns
    -------
    nodes : SpecNodes or None
        None where a name is to be found in the graph.
    """
    names = [spec.input_node, *(node for output in spec.outputs for node in output.nodes)]
    if any(name.startswith(INPUT_OF) for name in names):
        return None
    return SpecNodes(spec.input_node, spec.outputs)


def check_nodes(spec: ModelSpec, graph: GraphDef, *, origin: str) -> SpecNodes:
    """Check that a graph has the tensors of a spec, in shapes that fit.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    graph : GraphDef
        From `parse_graph`.
    origin : str
        Where it comes from, for errors.

    Returns
    -------
    nodes : SpecNodes
        With the names that they have in the graph.

    Raises
    ------
    ModelError
        If a node is not there, or its known lengths differ from those of the spec.
    """
    try:
        nodes = resolve_spec(spec, graph)
    except ModelError as exc:
        raise _not_the_model(spec, origin, str(exc.args[0])) from exc
    shapes = known_shapes(graph)
    for name in (nodes.input_node, *(node for output in nodes.outputs for node in output.nodes)):
        if node_of(name) not in shapes:
            raise _not_the_model(spec, origin, f"it has no node {name!r}")
    _check_input(spec, nodes, shapes, origin=origin)
    for output in nodes.outputs:
        _check_output(spec, output, shapes, origin=origin)
    return nodes


def resolve_output(spec: ModelSpec, graph: GraphDef, name: str) -> Output:
    """Find an output by its purpose, or any node that gives one vector per patch.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    graph : GraphDef
        From `parse_graph`.
    name : str
        Purpose of an output of the spec, name of a node, or ``input of NAME``.

    Returns
    -------
    output : Output
        With the names that its nodes have in the graph. The purpose of a node is `name`.

    Raises
    ------
    ConfigError
        If the spec has no such output and the graph no such node, or the node does not give one
        vector of known length per patch.
    """
    for output in resolve_spec(spec, graph).outputs:
        if output.purpose == name:
            return output
    try:
        node = resolve_node(graph, name)
    except ModelError as exc:
        raise ConfigError(str(exc.args[0]), fix=_CHOOSE) from exc
    return Output(name, (node,), _vector_length(spec, known_shapes(graph), name=name, node=node))


def known_shapes(graph: GraphDef) -> dict[str, Shape]:
    """Give the shapes of the nodes of a graph.

    Parameters
    ----------
    graph : GraphDef
        From `parse_graph`.

    Returns
    -------
    shapes : dict of str to (tuple of (int or None), or None)
        Of the first output of each node, as far as it is known without running the graph.
    """
    return {node.name: node.shape for node in list_nodes(graph)}


def tensor_shape(shapes: Mapping[str, Shape], tensor: str) -> Shape:
    """Give the shape of a tensor.

    Parameters
    ----------
    shapes : mapping of str to (tuple of (int or None), or None)
        From `known_shapes`.
    tensor : str
        Name of a node, with its port where that is not the first.

    Returns
    -------
    shape : tuple of (int or None), or None
        None where it is not known, as for all ports but the first.
    """
    return shapes.get(node_of(tensor)) if tensor_name(tensor).endswith(":0") else None


def _vector_length(spec: ModelSpec, shapes: Mapping[str, Shape], *, name: str, node: str) -> int:
    """Give the length of the vector that a node gives per patch."""
    if node_of(node) not in shapes:
        purposes = ", ".join(output.purpose for output in spec.outputs)
        raise ConfigError(
            f"{spec.name} has no output {name!r} and its graph no such node",
            fix=f"choose one of {purposes}, or a node of `embedlib models nodes FILE`",
        )
    shape = tensor_shape(shapes, node)
    if not shape or shape[-1] is None or any(length != 1 for length in shape[1:-1]):
        raise ConfigError(
            f"node {name!r} of {spec.name} has the shape {shape}, not one vector per patch",
            fix=_CHOOSE,
        )
    return shape[-1]


def _check_input(
    spec: ModelSpec, nodes: SpecNodes, shapes: Mapping[str, Shape], *, origin: str
) -> None:
    shape = tensor_shape(shapes, nodes.input_node)
    if shape is not None and not _fits(shape[1:], spec.input_shape):
        what = f"node {nodes.input_node!r} takes the shape {shape}, not {spec.input_shape} a patch"
        raise _not_the_model(spec, origin, what)


def _check_output(
    spec: ModelSpec, output: Output, shapes: Mapping[str, Shape], *, origin: str
) -> None:
    shape = tensor_shape(shapes, output.nodes[0])
    # Of several nodes, none gives the whole vector.
    if len(output.nodes) == 1 and shape and shape[-1] not in (None, output.n_values):
        what = (
            f"node {output.nodes[0]!r} has the shape {shape}, not {output.n_values} values a patch"
        )
        raise _not_the_model(spec, origin, what)


def _fits(shape: Sequence[int | None], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        length in (None, own) for length, own in zip(shape, wanted, strict=True)
    )


def _not_the_model(spec: ModelSpec, origin: str, what: str) -> ModelError:
    return ModelError(
        f"{origin} is not {spec.name}: {what}",
        fix=f"see `embedlib models nodes` and `embedlib models info {spec.name}`",
    )
