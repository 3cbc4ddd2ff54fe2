"""Frozen graphs as ONNX: each op against TensorFlow's definition of it, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError
from embedlib.models.builder import build_untrained
from embedlib.models.constants import fold_constant
from embedlib.models.cut import cut, fix_batch
from embedlib.models.graph import parse_graph
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.onnx_export import export_onnx
from embedlib.models.onnx_writer import OnnxModel
from embedlib.models.registry import model_spec
from embedlib.records import Float32

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

CONV = {"strides": [1, 1, 1, 1], "padding": b"SAME", "data_format": b"NHWC"}
POOL = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": b"SAME"}
TOLERANCE = 1e-6

Write = Callable[[GraphWriter, str], str]


def export(write: Write, *, shape: tuple[int, ...]) -> OnnxModel:
    """Export what a function writes between a placeholder and the output ``out``."""
    writer = GraphWriter(scope="m")
    node = write(writer, writer.placeholder("in", shape=[-1, *shape[1:]]))
    out = writer.op("Identity", "out", [node])
    graph = cut(
        GraphDef.FromString(writer.serialise()),
        input_node="m/in",
        outputs=[out],
        patch_shape=shape[1:],
    )
    fix_batch(graph, batch_size=shape[0])
    return export_onnx(graph, outputs=[out])


def run(write: Write, data: Float32) -> Float32:
    model = export(write, shape=data.shape)
    onnx.checker.check_model(onnx.load_model_from_string(model.data), full_check=True)
    session = ort.InferenceSession(model.data, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {model.input_name: data})
    return np.asarray(output)


def every_second(writer: GraphWriter, tensor: str) -> str:
    """Write an op that gives ``image[:, ::2, ::2]``, and lays it out as ONNX wants images."""
    return writer.op("MaxPool", "turned", [tensor], **POOL | {"ksize": [1, 1, 1, 1]})


def op_counts(model: OnnxModel) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_model_from_string(model.data).graph.node)


def windows(image: Float32, *, size: int, stride: int, fill: float, same: bool) -> Float32:
    """Give batch x rows x columns x channels x size x size, padded as TensorFlow defines SAME."""
    pads = [(0, 0)] * 4
    for axis in (1, 2) if same else ():
        length = image.shape[axis]
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads[axis] = (total // 2, total - total // 2)
    padded = np.pad(image, pads, constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return views[:, ::stride, ::stride]


@pytest.fixture
def image(rng: np.random.Generator) -> Float32:
    """Of odd and even lengths, with a negative mean, so that zeros in a maximum would show."""
    return rng.normal(-3, 1, (2, 7, 10, 3)).astype(np.float32)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_convolution_pads_as_tensorflow_does(
    image: Float32, rng: np.random.Generator, size: int, stride: int, padding: str
) -> None:
    kernel = rng.normal(size=(size, size, 3, 4)).astype(np.float32)
    options = CONV | {"strides": [1, stride, stride, 1], "padding": padding.encode()}
    found = run(lambda w, x: w.op("Conv2D", "conv", [x, w.variable("k", kernel)], **options), image)
    views = windows(image, size=size, stride=stride, fill=0.0, same=padding == "SAME")
    expected = np.einsum("brcixy,xyio->brco", views, kernel)
    assert np.linalg.norm(found - expected) <= TOLERANCE * np.linalg.norm(expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3])
def test_a_maximum_pools_no_zeros_of_the_padding(
    image: Float32, size: int, stride: int, padding: str
) -> None:
    options = {
        "ksize": [1, size, size, 1],
        "strides": [1, stride, stride, 1],
        "padding": padding.encode(),
    }
    found = run(lambda w, x: w.op("MaxPool", "pool", [x], **options), image)
    views = windows(image, size=size, stride=stride, fill=-np.inf, same=padding == "SAME")
    assert np.array_equal(found, views.max(axis=(-2, -1)))


def test_a_dilated_convolution_skips_rows(image: Float32) -> None:
    kernel = np.ones((2, 1, 3, 1), np.float32)
    options = CONV | {"dilations": [1, 4, 1, 1], "padding": b"VALID"}
    found = run(lambda w, x: w.op("Conv2D", "conv", [x, w.variable("k", kernel)], **options), image)
    expected = (image[:, :-4] + image[:, 4:]).sum(axis=-1, keepdims=True)
    assert found == pytest.approx(expected, rel=TOLERANCE)


def test_a_batch_norm_scales_each_channel(image: Float32) -> None:
    gamma, beta, mean, variance = np.arange(1, 13, dtype=np.float32).reshape(4, 3)

    def write(writer: GraphWriter, tensor: str) -> str:
        values = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
        parameters = [writer.variable(name, array) for name, array in values.items()]
        return writer.op(
            "FusedBatchNormV3", "norm", [tensor, *parameters], epsilon=0.5, is_training=False
        )

    expected = gamma * (image - mean) / np.sqrt(variance + 0.5) + beta
    assert run(write, image) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("Relu", lambda x: np.maximum(x, 0)),
        ("Elu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("Sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("Softmax", lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
        ("StopGradient", lambda x: x),
    ],
)
def test_an_activation_is_the_function_of_its_name(
    op: str, function: Callable[[Float32], Float32], image: Float32
) -> None:
    found = run(lambda w, x: w.op(op, "active", [w.op("Relu", "r", [x])]), image + 3)
    assert found == pytest.approx(function(np.maximum(image + 3, 0)), rel=1e-5)


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("Add", np.add),
        ("AddV2", np.add),
        ("Sub", np.subtract),
        ("Mul", np.multiply),
        ("RealDiv", np.divide),
        ("SquaredDifference", lambda x, y: (x - y) ** 2),
    ],
)
@pytest.mark.parametrize("shape", [(), (3,), (5, 1), (2, 4, 5, 3), (2, 1, 1, 1, 3)])
def test_arithmetic_with_a_constant_broadcasts_over_the_last_axes(
    op: str, function: np.ufunc, shape: tuple[int, ...], image: Float32, rng: np.random.Generator
) -> None:
    values = rng.uniform(1, 2, shape).astype(np.float32)

    def write(writer: GraphWriter, tensor: str) -> str:
        constant = writer.const("values", values, dtype="float32")
        return writer.op(op, "result", [every_second(writer, tensor), constant])

    expected = function(image[:, ::2, ::2], values)
    assert run(write, image) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("perm", [(0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 1, 3), (3, 1, 0, 2)])
def test_a_transpose_keeps_what_follows_right(perm: tuple[int, ...], image: Float32) -> None:
    def write(writer: GraphWriter, tensor: str) -> str:
        turned = writer.op("Transpose", "t", [tensor, writer.const("perm", list(perm))])
        bias = writer.const("bias", np.arange(image.shape[perm[-1]]), dtype="float32")
        return writer.op("Add", "sum", [turned, bias])

    turned = image.transpose(perm)
    assert np.array_equal(run(write, image), turned + np.arange(turned.shape[-1], dtype=np.float32))


@pytest.mark.parametrize("op", ["Max", "Mean"])
@pytest.mark.parametrize("keep_dims", [True, False])
@pytest.mark.parametrize("axes", [1, [1, 2], [-1], [0, 3]])
def test_a_reduction_takes_the_axes_of_tensorflow(
    op: str, axes: object, keep_dims: bool, image: Float32
) -> None:
    def write(writer: GraphWriter, tensor: str) -> str:
        pooled = writer.op("MaxPool", "turned", [tensor], **POOL)
        return writer.op(op, "less", [pooled, writer.const("axes", axes)], keep_dims=keep_dims)

    pooled = windows(image, size=2, stride=2, fill=-np.inf, same=True).max(axis=(-2, -1))
    function = np.max if op == "Max" else np.mean
    expected = function(pooled, axis=tuple(np.ravel(axes).tolist()), keepdims=keep_dims)
    found = run(write, image)
    assert found.shape == expected.shape
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_an_axis_of_length_one_comes_where_it_is_wanted(
    axis: int, rng: np.random.Generator
) -> None:
    data = rng.random((2, 5), np.float32)
    found = run(lambda w, x: w.op("ExpandDims", "e", [x, w.const("dim", axis)]), data)
    assert np.array_equal(found, np.expand_dims(data, axis))


@pytest.mark.parametrize("axes", [[], [2], [-1], [2, 4]])
def test_axes_of_length_one_go(axes: list[int], rng: np.random.Generator) -> None:
    data = rng.random((2, 3, 1, 4, 1), np.float32)
    found = run(lambda w, x: w.op("Squeeze", "s", [x], squeeze_dims=axes), data)
    assert np.array_equal(found, np.squeeze(data, tuple(axes) or None))


def test_padding_goes_to_the_axes_of_tensorflow(image: Float32) -> None:
    pads = [[0, 0], [3, 1], [0, 2], [1, 0]]

    def write(writer: GraphWriter, tensor: str) -> str:
        pooled = every_second(writer, tensor)
        return writer.op("Pad", "pad", [pooled, writer.const("paddings", pads)])

    assert np.array_equal(run(write, image), np.pad(image[:, ::2, ::2], pads))


def test_tensors_that_lie_differently_are_joined_along_the_right_axis(image: Float32) -> None:
    def write(writer: GraphWriter, tensor: str) -> str:
        same = writer.op("MaxPool", "turned", [tensor], **POOL | {"strides": [1] * 4})
        axis = writer.const("axis", 3)
        return writer.op("ConcatV2", "both", [tensor, same, axis], N=2)

    pooled = windows(image, size=2, stride=1, fill=-np.inf, same=True).max(axis=(-2, -1))
    assert np.array_equal(run(write, image), np.concatenate([image, pooled], axis=3))


@pytest.mark.parametrize(("flip_a", "flip_b"), [(False, False), (False, True), (True, False)])
def test_a_product_of_matrices_may_be_transposed(
    flip_a: bool, flip_b: bool, rng: np.random.Generator
) -> None:
    data, weights = rng.random((4, 4), np.float32), rng.random((4, 4), np.float32)

    def write(writer: GraphWriter, tensor: str) -> str:
        kernel = writer.variable("kernel", weights)
        return writer.op("MatMul", "p", [tensor, kernel], transpose_a=flip_a, transpose_b=flip_b)

    expected = (data.T if flip_a else data) @ (weights.T if flip_b else weights)
    assert run(write, data) == pytest.approx(expected, rel=1e-5)


def test_flattening_takes_the_order_of_tensorflow(image: Float32) -> None:
    def write(writer: GraphWriter, tensor: str) -> str:
        pooled = every_second(writer, tensor)
        return writer.op("Reshape", "flat", [pooled, writer.const("shape", [-1, 60])])

    assert np.array_equal(run(write, image), image[:, ::2, ::2].reshape(2, 60))


def test_layers_of_convolutions_turn_no_data_in_between(image: Float32) -> None:
    def write(writer: GraphWriter, tensor: str) -> str:
        for name in ("one", "two", "three"):
            kernel = writer.variable(f"{name}/kernel", np.ones((3, 3, 3, 3), np.float32))
            bias = writer.variable(f"{name}/bias", np.ones(3, np.float32))
            convolved = writer.op("Conv2D", name, [tensor, kernel], **CONV)
            biased = writer.op("BiasAdd", f"{name}/biased", [convolved, bias])
            active = writer.op("Elu", f"{name}/active", [biased])
            tensor = writer.op("MaxPool", f"{name}/pool", [active], **POOL)
        return tensor

    counts = op_counts(export(write, shape=image.shape))
    assert (counts["Conv"], counts["Transpose"]) == (3, 2)


def test_arithmetic_on_weights_and_shapes_is_done_beforehand() -> None:
    spec = model_spec("msd-musicnn-1")
    nodes = ["model/dense/BiasAdd"]
    graph = parse_graph(build_untrained(spec), origin=spec.name)
    graph = cut(graph, input_node=spec.input_node, outputs=nodes, patch_shape=spec.input_shape)
    fix_batch(graph, batch_size=1)
    counts = op_counts(export_onnx(graph, outputs=nodes))
    assert counts["Conv"] == 8
    assert not counts.keys() & {"Shape", "Slice", "Gather", "Reciprocal", "Sqrt", "Cast"}


def test_the_same_graph_gives_the_same_bytes() -> None:
    one, other = (export(lambda w, x: w.op("Relu", "r", [x]), shape=(1, 4)) for _ in range(2))
    assert one == other


def test_a_graph_is_fed_and_read_at_inner_tensors() -> None:
    writer = GraphWriter(scope="m")
    first = writer.op("Elu", "first", [writer.placeholder("in", shape=[-1, 4])])
    second = writer.op("Relu", "second", [first])
    writer.op("Elu", "third", [second])
    graph = GraphDef.FromString(writer.serialise())
    graph = cut(graph, input_node=first, outputs=[second], patch_shape=[4])
    fix_batch(graph, batch_size=1)
    model = export_onnx(graph, outputs=[second])
    assert (model.input_name, model.output_names) == ("m/first:0", ("m/second:0",))
    assert op_counts(model) == {"Relu": 1, "Identity": 1}


def test_a_tensor_that_is_wanted_twice_is_there_once() -> None:
    writer = GraphWriter(scope="m")
    out = writer.op("Relu", "out", [writer.placeholder("in", shape=[2, 4])])
    model = export_onnx(GraphDef.FromString(writer.serialise()), outputs=[out, f"{out}:0"])
    assert model.output_names == ("m/out:0", "m/out:0")
    assert len(onnx.load_model_from_string(model.data).graph.output) == 1


REFUSED: dict[str, tuple[Write, str]] = {
    "an unknown op": (
        lambda w, x: w.op("Floor", "f", [x]),
        "node 'm/f' holds the op 'Floor', which the ONNX export does not know; "
        "take --engine openvino",
    ),
    "channels in front": (
        lambda w, x: w.op("MaxPool", "f", [x], **POOL | {"data_format": b"NCHW"}),
        "'MaxPool', whose channels are not the last axis",
    ),
    "explicit padding": (
        lambda w, x: w.op("MaxPool", "f", [x], **POOL | {"padding": b"EXPLICIT"}),
        "with the padding 'EXPLICIT'",
    ),
    "strides over the batch": (
        lambda w, x: w.op("MaxPool", "f", [x], **POOL | {"strides": [2, 1, 1, 1]}),
        "with strides over batch or channels",
    ),
    "a batch norm in training": (
        lambda w, x: w.op("FusedBatchNorm", "f", [x, x, x, x, x], is_training=True),
        "as it is in training",
    ),
    "a kernel that is data": (
        lambda w, x: w.op("Conv2D", "f", [x, x], **CONV),
        "with data where the ONNX export wants a constant",
    ),
    "a split in two": (
        lambda w, x: w.op("Split", "f", [w.const("axis", 1), x], num_split=2),
        "with more than one part",
    ),
    "a reshape that does not fit": (
        lambda w, x: w.op("Reshape", "f", [x, w.const("shape", [5, 7])]),
        r"the inputs of node 'm/f' \(Reshape\) do not fit",
    ),
    "a constant of an unknown op": (
        lambda w, x: w.op("Add", "f", [x, w.op("Elu", "c", [w.const("v", 1.0, dtype="float32")])]),
        "node 'm/c' computes a constant with the op 'Elu'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_export_is_refused(case: str) -> None:
    write, words = REFUSED[case]
    with pytest.raises(ModelError, match=words):
        export(write, shape=(2, 8, 8, 3))


def test_an_output_that_is_the_same_for_every_patch_is_refused() -> None:
    writer = GraphWriter(scope="m")
    tensor = writer.placeholder("in", shape=[2, 4])
    shape = writer.op("Shape", "shape", [tensor])
    with pytest.raises(ModelError, match="'m/shape' is the same for every patch"):
        export_onnx(GraphDef.FromString(writer.serialise()), outputs=[shape])


def node(op: str, **attributes: object) -> NodeDef:
    writer = GraphWriter(scope="m")
    writer.op(op, "n", [], **attributes)
    return GraphDef.FromString(writer.serialise()).node[0]


MASKS = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask"), 0)
CUBE = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("folded", "inputs", "expected"),
    [
        (node("Rsqrt"), [np.float32([4.0])], [[0.5]]),
        (node("Range"), [1, 7, 2], [[1, 3, 5]]),
        (node("Pack", axis=1), [[1, 2], [3, 4]], [[[1, 3], [2, 4]]]),
        (node("Split", num_split=2), [1, [[1, 2]]], [[[1]], [[2]]]),
        (node("SplitV"), [[1, 2, 3], [1, 2], 0], [[1], [2, 3]]),
        (node("GatherV2"), [[5, 6, 7], [2, 0], 0], [[7, 5]]),
        (node("Where"), [[False, True]], [[[1]]]),
        (node("Squeeze", squeeze_dims=[-1]), [[[1], [2]]], [[1, 2]]),
        (node("SparseToDense"), [[[1]], [3], [9], 0], [[0, 9, 0]]),
        (node("Equal"), [[0, -1], [-1]], [[False, True]]),
        (node("ConcatV2"), [[1], [2, 3], 0], [[1, 2, 3]]),
        (node("ExpandDims"), [[1, 2], 0], [[[1, 2]]]),
        (node("Transpose"), [[[1, 2]], [1, 0]], [[[1], [2]]]),
        (node("StridedSlice", **MASKS, shrink_axis_mask=1), [CUBE, [1], [2], [1]], [CUBE[1]]),
        (
            node("StridedSlice", **MASKS | {"end_mask": 2}, shrink_axis_mask=0),
            [CUBE, [0, 1], [2, 0], [1, 1]],
            [CUBE[0:2, 1:]],
        ),
    ],
    ids=lambda value: value.op if isinstance(value, NodeDef) else "",
)
def test_a_constant_is_computed_as_tensorflow_does(
    folded: NodeDef, inputs: list[object], expected: list[object]
) -> None:
    outputs = fold_constant(folded, [np.asarray(value) for value in inputs])
    assert [output.tolist() for output in outputs] == [np.asarray(e).tolist() for e in expected]


def test_a_cast_takes_the_type_that_the_node_names() -> None:
    (found,) = fold_constant(node("Cast", DstT="float32"), [np.array([1, 2])])
    assert found.dtype == np.float32


def test_constants_that_do_not_fit_name_the_node() -> None:
    with pytest.raises(ModelError, match=r"the inputs of node 'm/n' \(Add\) do not fit"):
        fold_constant(node("Add"), [np.ones(2), np.ones(3)])
