"""From names in a spec to the tensors of a graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import ConfigError, ModelError
from embedlib.models.graph import parse_graph
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.nodes import (
    check_nodes,
    known_shapes,
    named_nodes,
    resolve_output,
    resolve_spec,
    tensor_shape,
)
from embedlib.models.registry import model_spec
from embedlib.models.spec import ModelSpec, Output
from embedlib.models.store import locate

SPEC = replace(
    model_spec("msd-musicnn-1"),
    input_node="input of conv",
    input_shape=(4,),
    outputs=(
        Output("embeddings", ("input of softmax",), 4),
        Output("stems", ("halves:1", "halves"), 4, readout="sum"),
    ),
)


@pytest.fixture
def graph() -> GraphDef:
    writer = GraphWriter(scope="")
    waveform = writer.placeholder("waveform", shape=[-1, 4])
    magnitude = writer.op("Elu", "magnitude", [waveform])
    conv = writer.op("Relu", "conv", [magnitude])
    axis = writer.const("axis", 1)
    halves = writer.op("Split", "halves", [axis, conv], num_split=2)
    writer.op("Softmax", "softmax", [conv])
    writer.op("ExpandDims", "image", [halves, axis], Tdim="int32")
    writer.op("MatMul", "square", [conv, conv], transpose_a=True, transpose_b=False)
    return parse_graph(writer.serialise(), origin="small.pb")


def test_names_by_place_become_names_in_the_graph(graph: GraphDef) -> None:
    nodes = check_nodes(SPEC, graph, origin="small.pb")
    assert nodes.input_node == "magnitude"
    assert nodes.outputs[0] == Output("embeddings", ("conv",), 4)
    assert nodes.outputs[1] == SPEC.outputs[1]
    assert nodes == resolve_spec(SPEC, graph)


def test_only_a_spec_without_names_by_place_is_known_without_its_graph() -> None:
    plain = replace(SPEC, input_node="magnitude", outputs=SPEC.outputs[1:])
    assert named_nodes(SPEC) is None
    assert named_nodes(replace(SPEC, input_node="magnitude")) is None
    assert named_nodes(plain).outputs == plain.outputs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_node": "input of gone"}, "small.pb is not msd-musicnn-1: .* no node 'gone'"),
        ({"input_node": "gone"}, "it has no node 'gone'"),
        ({"input_shape": (5,)}, r"node 'magnitude' takes the shape \(None, 4\), not \(5,\)"),
        ({"input_shape": (4, 1)}, r"takes the shape \(None, 4\), not \(4, 1\)"),
        ({"outputs": (Output("embeddings", ("gone:1",), 4),)}, "it has no node 'gone:1'"),
        ({"outputs": (Output("embeddings", ("conv",), 5),)}, r"\(None, 4\), not 5 values"),
    ],
)
def test_a_graph_that_differs_from_the_spec_is_not_the_model(
    graph: GraphDef, changes: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_nodes(replace(SPEC, **changes), graph, origin="small.pb")
    assert "embedlib models info msd-musicnn-1" in caught.value.fix


def test_the_shape_of_a_further_port_is_not_taken_for_that_of_the_first(graph: GraphDef) -> None:
    shapes = known_shapes(graph)
    assert tensor_shape(shapes, "halves") == tensor_shape(shapes, "halves:0") == (None, 2)
    assert tensor_shape(shapes, "halves:1") is None
    assert tensor_shape(shapes, "gone") is None


def test_an_output_is_found_by_its_purpose(graph: GraphDef) -> None:
    assert resolve_output(SPEC, graph, "embeddings") == Output("embeddings", ("conv",), 4)
    assert resolve_output(SPEC, graph, "stems") == SPEC.outputs[1]


@pytest.mark.parametrize(
    ("name", "node", "n_values"),
    [("softmax", "softmax", 4), ("input of square", "conv", 4), ("image", "image", 2)],
)
def test_an_output_may_be_any_node_with_one_vector_per_patch(
    graph: GraphDef, name: str, node: str, n_values: int
) -> None:
    assert resolve_output(SPEC, graph, name) == Output(name, (node,), n_values)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "no output 'gone' and its graph no such node; choose one of embeddings, stems"),
        ("input of gone", "no node 'gone'; choose another"),
        ("input of waveform", "takes no input; choose another"),
        ("axis", r"'axis' .* has the shape \(\), not one vector per patch"),
        ("halves:1", "has the shape None, not one vector per patch"),
    ],
)
def test_what_gives_no_vector_is_refused(graph: GraphDef, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_output(SPEC, graph, name)


def test_the_logits_of_a_real_tempo_cnn_are_found_by_their_place(shared_models: Path) -> None:
    spec: ModelSpec = model_spec("deepsquare-k16-3")
    sibling = replace(spec, outputs=spec.outputs[:1])
    file = locate(sibling, path=shared_models / "deeptemp_k16.pb")
    assert file.outputs[0].nodes == ("1x1/Identity0_reshape",)


def test_the_published_musicnn_has_the_nodes_of_its_spec(shared_models: Path) -> None:
    spec = model_spec("msd-musicnn-1")
    file = locate(spec, path=shared_models / "msd-musicnn-1.pb")
    assert (file.input_node, file.outputs) == (spec.input_node, spec.outputs)
