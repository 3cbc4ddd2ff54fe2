"""Graphs: what is refused, what is cut away, and which shapes follow."""

from __future__ import annotations

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.errors import GraphRefusedError, ModelError
from embedlib.models import shaping
from embedlib.models.graph import const_array, list_nodes, parse_graph, prune, resolve_node
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers


@pytest.fixture
def writer() -> GraphWriter:
    return GraphWriter(scope="m")


def parsed(writer: GraphWriter) -> GraphDef:
    return parse_graph(writer.serialise(), origin="x.pb")


def shapes(writer: GraphWriter) -> dict[str, tuple[int | None, ...] | None]:
    return {node.name: node.shape for node in list_nodes(parsed(writer))}


def delimited(number: int, data: bytes) -> bytes:
    """Encode a protobuf field of less than 128 bytes by hand."""
    return bytes([number << 3 | 2, len(data)]) + data


def library(op: str) -> bytes:
    """Encode a function library with one function of one node."""
    node = delimited(1, b"quiet") + delimited(2, op.encode())
    return delimited(2, delimited(1, delimited(3, node)))


@pytest.fixture(params=["PartitionedCall", "StatefulPartitionedCall"])
def calling(request: pytest.FixtureRequest, writer: GraphWriter) -> bytes:
    """Give a graph that calls a function, and reads its second output."""
    x = writer.placeholder("x", shape=[-1, 2])
    call = writer.op(request.param, "call", [x], T=None)
    writer.op("Relu", "y", [f"{call}:1"])
    return writer.serialise()


@pytest.mark.parametrize(
    "op", ["WriteFile", "ReadFile", "PyFunc", "Print", "Assert", "SaveV2", "RestoreV2", "Nonsense"]
)
def test_an_op_that_is_not_on_the_allow_list_is_refused_by_name(
    writer: GraphWriter, op: str
) -> None:
    writer.op(op, "evil", [writer.placeholder("x", shape=[-1, 2])])
    with pytest.raises(GraphRefusedError, match=rf"x.pb holds the op '{op}' in node 'm/evil'"):
        parsed(writer)


def test_an_op_hidden_in_the_function_library_is_refused(calling: bytes) -> None:
    with pytest.raises(GraphRefusedError, match=r"'WriteFile' in node 'quiet \(in the function"):
        parse_graph(calling + library("WriteFile"), origin="x.pb")


def test_a_call_of_a_function_of_harmless_ops_is_allowed(calling: bytes) -> None:
    graph = parse_graph(calling + library("Relu"), origin="x.pb")
    assert [node.shape for node in list_nodes(graph)] == [(None, 2), None, None]


@pytest.mark.parametrize("output", ["m/y", "m/call", "m/call:1"])
def test_pruning_keeps_the_library_where_a_function_is_called(calling: bytes, output: str) -> None:
    graph = parse_graph(calling + library("Relu"), origin="x.pb")
    pruned = prune(graph, outputs=[output]).SerializeToString()
    assert pruned.endswith(library("Relu"))
    parse_graph(pruned, origin="pruned")


def test_pruning_drops_the_library_where_no_function_is_called(calling: bytes) -> None:
    graph = parse_graph(calling + library("Relu"), origin="x.pb")
    assert library("Relu") not in prune(graph, outputs=["m/x"]).SerializeToString()


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


def test_the_input_of_a_node_is_its_first_tensor_with_its_port(calling: bytes) -> None:
    graph = GraphDef.FromString(calling)
    assert resolve_node(graph, "input of m/y") == "m/call:1"
    assert resolve_node(graph, "input of m/call") == "m/x"
    assert resolve_node(graph, "m/anything") == "m/anything"


def test_control_inputs_and_the_first_port_are_no_part_of_a_name(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[-1, 2])
    writer.op("Relu", "y", [f"{x}:0"])
    graph = parsed(writer)
    graph.node[1].input.insert(0, "^m/x")
    assert resolve_node(graph, "input of m/y") == "m/x"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("input of m/z", "no node 'm/z'; see `embedlib models nodes FILE`"),
        ("input of m/x", r"node 'm/x' \(Placeholder\) takes no input"),
    ],
)
def test_the_input_of_what_has_none_is_refused(
    writer: GraphWriter, name: str, message: str
) -> None:
    writer.placeholder("x", shape=[-1, 2])
    with pytest.raises(ModelError, match=message):
        resolve_node(parsed(writer), name)


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


def test_the_shape_of_a_transposed_convolution_is_the_one_that_is_asked_for(
    writer: GraphWriter,
) -> None:
    layers = Layers(writer, rng=np.random.default_rng(0))
    image = writer.placeholder("image", shape=[-1, 4, 3, 2])
    layers.conv2d_transpose(
        image, name="up", kernel=(5, 5, 7, 2), strides=(2, 2), rows_columns=(8, 6)
    )
    assert shapes(writer)["m/up/BiasAdd"] == (None, 8, 6, 7)


def test_lengths_that_are_computed_in_the_graph_are_followed(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[7, -1])
    rows = shaping.length(writer, x, name="rows", axis=0)
    missing = writer.op("FloorMod", "missing", [rows, writer.const("four", 4)], T="int32")
    columns = shaping.length(writer, x, name="columns", axis=1)
    shaping.pad_end(writer, x, name="longer", axis=0, rank=2, n_zeros=missing)
    shaping.pad_end(writer, x, name="wider", axis=1, rank=2, n_zeros=columns)
    shaping.first_along(writer, x, name="shorter", axis=0, stop=missing)
    shaping.first_along(writer, x, name="narrower", axis=1, stop=missing)
    found = shapes(writer)
    assert found["m/longer"] == (10, None)
    assert found["m/wider"] == (7, None)
    assert found["m/shorter"] == (3, None)
    assert found["m/narrower"] == (7, None)


@pytest.mark.parametrize(("axis", "expected"), [(0, (2, 3)), (1, (3, 2))])
def test_vectors_are_packed_with_their_values(
    writer: GraphWriter, axis: int, expected: tuple[int, ...]
) -> None:
    vector = writer.const("vector", [1, 2, 3])
    packed = writer.op("Pack", "packed", [vector, vector], T="int32", N=2, axis=axis)
    total = writer.op("Add", "total", [packed, packed], T="int32")
    flat = writer.op("Reshape", "flat", [total, writer.const("all", [-1])], T="int32")
    assert shapes(writer)["m/packed"] == shapes(writer)["m/total"] == expected
    assert shapes(writer)[flat] == (6,)


def test_a_sign_that_is_turned_is_not_taken_for_the_value_before(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[-1, 6])
    target = writer.op("Neg", "target", [writer.const("c", [1, -6])], T="int32")
    writer.op("Reshape", "y", [x, target], Tshape="int32")
    assert shapes(writer)["m/y"] is None


def test_the_parts_of_an_axis_have_the_other_axes(writer: GraphWriter) -> None:
    x = writer.placeholder("x", shape=[-1, 3, 6])
    for part in shaping.unstack(writer, x, name="parts", axis=1, n_parts=3):
        writer.op("Relu", f"relu_{part[-1]}", [part])
    assert {shape for name, shape in shapes(writer).items() if "relu" in name} == {(None, 6)}


@pytest.mark.parametrize(("op", "length"), [("RFFT", 5), ("IRFFT", 8)])
def test_the_length_of_a_transform_follows(writer: GraphWriter, op: str, length: int) -> None:
    x = writer.placeholder("x", shape=[-1, 6])
    size = writer.const("size", [8])
    writer.op(op, "y", [x, size], T=None, Treal="float32", Tcomplex="complex64")
    assert shapes(writer)["m/y"] == (None, length)


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
    spectrum = writer.op("RFFT", "rfft", [x, x], T=None, Treal="float32", Tcomplex="complex64")
    writer.op("ComplexAbs", "abs", [spectrum], T="complex64", Tout="float32")
    writer.op("Less", "less", [x, x])
    dtypes = [node.dtype for node in list_nodes(parsed(writer))]
    assert dtypes == ["float32", "bool", "int32", "complex64", "float32", "bool"]


def test_a_name_scope_holds_the_nodes_inside_and_no_weights(writer: GraphWriter) -> None:
    with writer.name_scope("inner"):
        assert writer.placeholder("x", shape=[-1]) == "m/inner/x"
        assert writer.variable("w", np.zeros(2, np.float32)) == "w/read"
    assert writer.placeholder("x", shape=[-1]) == "m/x"
