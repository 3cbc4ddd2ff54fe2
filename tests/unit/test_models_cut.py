"""Graphs that are cut out between an inner tensor and the wanted ones."""

from __future__ import annotations

import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import ModelError
from embedlib.models.cut import cut, fix_batch, flags
from embedlib.models.graph import list_nodes, parse_graph
from embedlib.models.graph_writer import GraphWriter


def parsed(writer: GraphWriter) -> GraphDef:
    return parse_graph(writer.serialise(), origin="the test")


def ops(graph: GraphDef) -> dict[str, str]:
    return {node.name: node.op for node in graph.node}


def shape(graph: GraphDef, name: str) -> tuple[int | None, ...] | None:
    return next(node.shape for node in list_nodes(graph) if node.name == name)


@pytest.fixture
def writer() -> GraphWriter:
    return GraphWriter(scope="m")


@pytest.fixture
def chain(writer: GraphWriter) -> GraphDef:
    """Three ops in a row, and one that nobody wants."""
    first = writer.op("Relu", "first", [writer.placeholder("in", shape=[-1, 4])])
    second = writer.op("Elu", "second", [first])
    writer.op("Sigmoid", "third", [second])
    writer.op("Softmax", "aside", [first])
    return parsed(writer)


@pytest.fixture
def halves(writer: GraphWriter) -> GraphWriter:
    """A split in two, of which the second half is read."""
    axis = writer.const("axis", 1)
    parts = writer.op(
        "Split", "split", [axis, writer.placeholder("in", shape=[-1, 4])], num_split=2
    )
    writer.op("Relu", "second", [f"{parts}:1"])
    return writer


def conditional(writer: GraphWriter, *, training_first: bool) -> GraphDef:
    """An op for training and one for the time after it, as TensorFlow 1 writes a condition."""
    image = writer.placeholder("in", shape=[-1, 4])
    flag = writer.op("Identity", "predicate", [writer.flag_placeholder("flag")])
    switch = writer.op("Switch", "switch", [image, flag])
    after = writer.op("Elu", "after", [switch])
    training = writer.op("Relu", "training", [f"{switch}:1"])
    branches = [training, after] if training_first else [after, training]
    writer.op("Sigmoid", "out", [writer.op("Merge", "merge", branches, N=2)])
    return parsed(writer)


def test_nothing_but_what_lies_between_input_and_outputs_is_kept(chain: GraphDef) -> None:
    small = cut(chain, input_node="m/first", outputs=["m/third"], patch_shape=(4,))
    assert ops(small) == {"m/first": "Placeholder", "m/second": "Elu", "m/third": "Sigmoid"}


def test_the_input_takes_batches_of_patches(chain: GraphDef) -> None:
    small = cut(chain, input_node="m/first", outputs=["m/third"], patch_shape=(4,))
    assert shape(small, "m/first") == shape(small, "m/third") == (None, 4)


def test_the_given_graph_stays_as_it_is(chain: GraphDef) -> None:
    before = chain.SerializeToString(deterministic=True)
    cut(chain, input_node="m/first", outputs=["m/second"], patch_shape=(4,))
    assert chain.SerializeToString(deterministic=True) == before


def test_several_outputs_are_kept_one_before_the_other(chain: GraphDef) -> None:
    outputs = ["m/third", "m/second", "m/aside:0"]
    small = cut(chain, input_node="m/in", outputs=outputs, patch_shape=(4,))
    assert ops(small) == ops(chain)


def test_an_open_length_of_the_placeholder_takes_that_of_the_patches(writer: GraphWriter) -> None:
    writer.op("Relu", "out", [writer.placeholder("in", shape=[-1, 40, -1, 1])])
    small = cut(parsed(writer), input_node="m/in", outputs=["m/out"], patch_shape=(40, 256, 1))
    assert shape(small, "m/out") == (None, 40, 256, 1)


def test_a_further_output_of_an_op_can_be_fed(halves: GraphWriter) -> None:
    graph = parsed(halves)
    small = cut(graph, input_node="m/split:1", outputs=["m/second"], patch_shape=(2,))
    assert ops(small) == {"m/split": "Placeholder", "m/second": "Relu"}
    assert small.node[-1].input == ["m/split"]


def test_an_op_that_is_fed_and_read_at_another_output_too_is_refused(halves: GraphWriter) -> None:
    with pytest.raises(ModelError, match=r"'m/second' reads 'm/split:1' beside .* 'm/split'"):
        cut(parsed(halves), input_node="m/split", outputs=["m/second"], patch_shape=(2,))


@pytest.mark.parametrize("training_first", [True, False])
def test_of_a_condition_the_branch_of_training_is_left_out(
    writer: GraphWriter, training_first: bool
) -> None:
    graph = conditional(writer, training_first=training_first)
    small = cut(graph, input_node="m/in", outputs=["m/out"], patch_shape=(4,))
    expected = {"m/in": "Placeholder", "m/after": "Elu", "m/merge": "Identity", "m/out": "Sigmoid"}
    assert ops(small) == expected
    assert {node.name: list(node.input) for node in small.node}["m/after"] == ["m/in"]


def test_conditions_within_conditions_are_settled(writer: GraphWriter) -> None:
    flag = writer.flag_placeholder("flag")
    image = writer.placeholder("in", shape=[-1, 4])
    outer = writer.op("Switch", "outer", [image, flag])
    inner = writer.op("Switch", "inner", [f"{outer}:1", flag])
    never = writer.op("Merge", "never", [writer.op("Elu", "a", [inner]), f"{inner}:1"], N=2)
    writer.op("Relu", "out", [writer.op("Merge", "merge", [never, outer], N=2)])
    small = cut(parsed(writer), input_node="m/in", outputs=["m/out"], patch_shape=(4,))
    assert ops(small) == {"m/in": "Placeholder", "m/merge": "Identity", "m/out": "Relu"}


def test_an_output_of_training_only_is_refused(writer: GraphWriter) -> None:
    graph = conditional(writer, training_first=True)
    with pytest.raises(ModelError, match=r"'m/training' is computed in training only; choose"):
        cut(graph, input_node="m/in", outputs=["m/training"], patch_shape=(4,))


def test_flags_are_listed(writer: GraphWriter, chain: GraphDef) -> None:
    assert flags(chain) == ()
    assert flags(conditional(GraphWriter(scope="n"), training_first=True)) == ("n/flag",)


def test_another_input_that_is_needed_is_named(writer: GraphWriter) -> None:
    rate = writer.placeholder("rate", shape=[])
    writer.op("Mul", "out", [writer.placeholder("in", shape=[-1, 4]), rate])
    with pytest.raises(ModelError, match=r"m/out need the inputs m/rate too, but 'm/in' alone"):
        cut(parsed(writer), input_node="m/in", outputs=["m/out"], patch_shape=(4,))


def test_an_output_in_front_of_the_input_is_refused(chain: GraphDef) -> None:
    with pytest.raises(ModelError, match=r"m/first cannot be computed from 'm/second'; choose"):
        cut(chain, input_node="m/second", outputs=["m/first"], patch_shape=(4,))


@pytest.mark.parametrize("patch_shape", [(5,), (4, 1), ()])
def test_patches_of_another_shape_are_refused(
    chain: GraphDef, patch_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"'m/in' takes patches of the shape \(4,\), not \("):
        cut(chain, input_node="m/in", outputs=["m/third"], patch_shape=patch_shape)


@pytest.mark.parametrize("names", [("m/gone", "m/third"), ("m/in", "m/gone")])
def test_a_node_that_is_not_there_is_named(chain: GraphDef, names: tuple[str, str]) -> None:
    with pytest.raises(ModelError, match="'m/gone'"):
        cut(chain, input_node=names[0], outputs=[names[1]], patch_shape=(4,))


def test_a_batch_is_fixed(chain: GraphDef) -> None:
    small = cut(chain, input_node="m/in", outputs=["m/third"], patch_shape=(4,))
    fix_batch(small, batch_size=3)
    assert shape(small, "m/third") == (3, 4)


def test_a_batch_that_the_file_fixes_is_kept(writer: GraphWriter) -> None:
    writer.op("Relu", "out", [writer.placeholder("in", shape=[64, 4])])
    small = cut(parsed(writer), input_node="m/in", outputs=["m/out"], patch_shape=(4,))
    with pytest.raises(ModelError, match=r"exactly 64 patches, not 4; use a batch size of 64"):
        fix_batch(small, batch_size=4)
    fix_batch(small, batch_size=64)
    assert shape(small, "m/out") == (64, 4)
