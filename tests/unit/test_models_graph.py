"""Graphs: what is refused, what is cut away, and which shapes follow."""

from __future__ import annotations

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import GraphRefusedError, ModelError
from embedlib.models.graph import const_array, list_nodes, parse_graph, prune
from embedlib.models.graph_writer import GraphWriter


@pytest.fixture
def writer() -> GraphWriter:
    return GraphWriter(scope="m")


def parsed(writer: GraphWriter) -> GraphDef:
    return parse_graph(writer.serialise(), origin="x.pb")


def shapes(writer: GraphWriter) -> dict[str, tuple[int | None, ...] | None]:
    return {node.name: node.shape for node in list_nodes(parsed(writer))}


def delimited(number: int, data: bytes) -> bytes:
    """Encode a short protobuf field by hand."""
    return bytes([number << 3 | 2, len(data)]) + data


@pytest.mark.parametrize(
    "op", ["WriteFile", "ReadFile", "PyFunc", "Print", "Assert", "SaveV2", "RestoreV2", "Nonsense"]
)
def test_an_op_that_is_not_on_the_allow_list_is_refused_by_name(
    writer: GraphWriter, op: str
) -> None:
    writer.op(op, "evil", [writer.placeholder("x", shape=[-1, 2])])
    with pytest.raises(GraphRefusedError, match=rf"x.pb holds the op '{op}' in node 'm/evil'"):
        parsed(writer)


def test_an_op_hidden_in_the_function_library_is_refused(writer: GraphWriter) -> None:
    writer.placeholder("x", shape=[-1, 2])
    node = delimited(1, b"quiet") + delimited(2, b"WriteFile")
    library = delimited(1, delimited(3, node))
    with pytest.raises(GraphRefusedError, match=r"'WriteFile' in node 'quiet \(in the function"):
        parse_graph(writer.serialise() + delimited(2, library), origin="x.pb")


def test_a_function_library_that_cannot_be_read_is_refused(writer: GraphWriter) -> None:
    writer.placeholder("x", shape=[-1, 2])
    with pytest.raises(GraphRefusedError, match=r"function library of x.pb cannot be read"):
        parse_graph(writer.serialise() + delimited(2, b"\x0a\x7f"), origin="x.pb")


@pytest.mark.parametrize("data", [b"<html>moved</html>", b"RIFF\x00WAVE", b"\x0a\xff"])
def test_a_file_that_is_no_graph_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(
        ModelError, match=r"x.pb is not a TensorFlow graph; give a frozen"
    ) as caught:
        parse_graph(data, origin="x.pb")
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ModelError, match=r"x.pb holds no node"):
        parse_graph(b"", origin="x.pb")


def test_a_graph_with_a_missing_input_is_refused(writer: GraphWriter) -> None:
    writer.op("Relu", "y", ["nowhere"])
    with pytest.raises(ModelError, match="lacks node 'nowhere', the input of 'm/y'"):
        parsed(writer)


def test_a_graph_with_a_cycle_is_refused(writer: GraphWriter) -> None:
    writer.op("Relu", "a", ["m/b"])
    writer.op("Relu", "b", ["m/a"])
    with pytest.raises(ModelError, match="cycle through node"):
        parsed(writer)


def test_two_nodes_of_one_name_are_refused(writer: GraphWriter) -> None:
    writer.placeholder("x", shape=[-1, 2])
    writer.placeholder("x", shape=[-1, 3])
    with pytest.raises(ModelError, match="two nodes of one name"):
        parsed(writer)


def test_pruning_keeps_the_ancestors_alone_and_drops_control_inputs(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[-1, 2])
    label = writer.flag_placeholder("label")
    y = writer.op("Relu", "y", [x, f"^{label}"])
    writer.op("Sigmoid", "z", [y])
    pruned = prune(parsed(writer), outputs=["m/y"])
    assert [node.name for node in pruned.node] == ["m/x", "m/y"]
    assert list(pruned.node[1].input) == ["m/x"]


def test_pruning_to_an_unknown_node_is_refused(writer: GraphWriter) -> None:
    writer.placeholder("x", shape=[-1, 2])
    with pytest.raises(ModelError, match="no node 'm/z'; see `embedlib models nodes FILE`"):
        prune(parsed(writer), outputs=["m/z"])


def test_inputs_that_do_not_fit_are_refused(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[-1, 2])
    order = writer.const("order", [0, 5])
    writer.op("Transpose", "y", [x, order])
    with pytest.raises(ModelError, match=r"inputs of node 'm/y' \(Transpose\) do not fit"):
        list_nodes(parsed(writer))


def test_a_huge_constant_costs_no_memory_to_list(writer: GraphWriter) -> None:
    graph = GraphDef.FromString(_scalar_graph(writer))
    graph.node[0].attr["value"].tensor.tensor_shape.dim.add(size=1 << 50)
    assert list_nodes(graph)[0].shape == (1 << 50,)


def test_a_constant_that_repeats_its_last_value_is_read_whole(writer: GraphWriter) -> None:
    graph = GraphDef.FromString(_scalar_graph(writer))
    graph.node[0].attr["value"].tensor.tensor_shape.dim.add(size=3)
    np.testing.assert_array_equal(const_array(graph.node[0]), np.array([7, 7, 7], np.int32))


def test_a_constant_with_too_few_bytes_is_refused(writer: GraphWriter) -> None:
    writer.const("c", [1, 2, 3])
    graph = parsed(writer)
    graph.node[0].attr["value"].tensor.tensor_shape.dim[0].size = 4
    with pytest.raises(ModelError, match="'m/c' holds 3 values for the shape"):
        const_array(graph.node[0])


def _scalar_graph(writer: GraphWriter) -> bytes:
    writer.const("c", 7)
    return writer.serialise()


@pytest.mark.parametrize(
    ("kernel", "padding", "strides", "expected"),
    [
        ((3, 3, 1, 8), b"VALID", [1, 1, 1, 1], (None, 8, 4, 8)),
        ((3, 3, 1, 8), b"SAME", [1, 1, 1, 1], (None, 10, 6, 8)),
        ((3, 2, 1, 8), b"VALID", [1, 2, 2, 1], (None, 4, 3, 8)),
        ((3, 3, 1, 8), b"SAME", [1, 4, 4, 1], (None, 3, 2, 8)),
    ],
)
def test_the_shape_of_a_convolution_follows_from_kernel_padding_and_stride(
    writer: GraphWriter, kernel: tuple, padding: bytes, strides: list, expected: tuple
) -> None:
    image = writer.placeholder("image", shape=[-1, 10, 6, 1])
    weights = writer.const("kernel", np.zeros(kernel), dtype="float32")
    writer.op("Conv2D", "y", [image, weights], padding=padding, strides=strides)
    assert shapes(writer)["m/y"] == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [([-1, 6], (None, 6)), ([2, -1], (2, None)), ([-1, 3, 2], (None, 3, 2))],
)
def test_a_reshape_with_an_unknown_batch_keeps_what_is_certain(
    writer: GraphWriter, target: list, expected: tuple
) -> None:
    x = writer.placeholder("x", shape=[-1, 2, 3])
    writer.op("Reshape", "y", [x, writer.const("target", target)], Tshape="int32")
    assert shapes(writer)["m/y"] == expected


def test_shapes_of_an_input_of_unknown_rank_stay_unknown(writer: GraphWriter) -> None:
    x = writer.flag_placeholder("x")
    ops = ["Relu", "Shape", "Softmax"]
    names = [writer.op(op, op, [x]) for op in ops]
    writer.op("Add", "sum", [x, names[0]])
    assert set(shapes(writer).values()) == {None}


def test_types_are_named_as_numpy_names_them(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[-1, 2])
    writer.flag_placeholder("flag")
    writer.op("Shape", "shape", [x], out_type="int32")
    dtypes = [node.dtype for node in list_nodes(parsed(writer))]
    assert dtypes == ["float32", "bool", "int32"]
