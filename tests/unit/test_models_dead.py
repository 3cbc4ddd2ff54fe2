"""Dead filters of any graph: each rule that carries a constant on, and all that stops it.

Each graph is run whole and folded, in OpenVINO, on inputs of several sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.openvino_core import openvino_core
from embedlib.models.dead.fold import Folded, fold_dead_filters
from embedlib.models.dead.report import LayerFilters
from embedlib.models.graph import const_array, parse_graph
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.shaping import concat, expand_dims, flatten, reduce, transpose

pytest.importorskip("openvino")

ROWS, COLUMNS, N_FILTERS = 9, 8, 5
DEAD = (1, 3)
MAX_RELATIVE_L2 = 1e-5
IMAGE_POOL = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "data_format": b"NHWC"}

Tail = Callable[["Net", str], str]


class Net:
    """A graph that grows from one image of one channel; weights can be killed afterwards."""

    def __init__(self, *, seed: int = 0) -> None:
        self.writer = GraphWriter()
        self.layers = Layers(self.writer, rng=np.random.default_rng(seed))
        patch = self.writer.placeholder("in", shape=[-1, ROWS, COLUMNS])
        self.image = expand_dims(self.writer, patch, name="image", axis=3)

    def conv(self, image: str, name: str, n_in: int = 1, n_out: int = N_FILTERS, **how) -> str:
        kernel = how.pop("size", (3, 3))
        return self.layers.conv2d(image, name=name, kernel=(*kernel, n_in, n_out), **how)

    def op(self, op: str, *tensors: str, **attributes) -> str:
        return self.writer.op(op, op, tensors, **attributes)

    def floats(self, values: object) -> str:
        return self.writer.const("floats", values, dtype="float32")

    def graph(self, *, dead: dict[str, Sequence[int]], value: float = 1e-30) -> GraphDef:
        graph = parse_graph(self.writer.serialise(), origin="a net")
        for node in graph.node:
            if node.name in dead:
                values = np.array(const_array(node))
                values[..., list(dead[node.name])] = value
                node.attr["value"].tensor.tensor_content = values.tobytes()
        return graph


def run(graph: GraphDef, folder: Path, output: str) -> list[np.ndarray]:
    path = folder / f"{len(list(folder.iterdir()))}.pb"
    path.write_bytes(graph.SerializeToString())
    model = openvino_core().read_model(path)
    request = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rng = np.random.default_rng(7)
    batches = [np.float32(s * rng.normal(size=(2, ROWS, COLUMNS))) for s in (0, 0.1, 10)]
    return [request([batch])[0].copy() for batch in batches]


def assert_same(whole: GraphDef, folded: GraphDef, folder: Path, output: str) -> None:
    pairs = zip(run(folded, folder, output), run(whole, folder, output), strict=True)
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert np.linalg.norm(ours - theirs) <= MAX_RELATIVE_L2 * np.linalg.norm(theirs)


def layer(folded: Folded, name: str) -> LayerFilters:
    return next(each for each in folded.report.layers if each.name.startswith(f"{name}/"))


def max_pool(net: Net, tensor: str, padding: bytes) -> str:
    return net.op("MaxPool", tensor, padding=padding, **IMAGE_POOL)


def fused_norm(net: Net, tensor: str) -> str:
    return net.layers.batch_norm(tensor, name="norm", n_channels=N_FILTERS)


def per_channel(net: Net) -> str:
    return net.floats(np.linspace(0.5, 2.0, N_FILTERS))


def joined(net: Net, tensor: str) -> str:
    other = net.conv(net.image, "other", n_out=2)
    return concat(net.writer, [other, tensor], name="joined", axis=3)


def padded(net: Net, tensor: str, op: str = "Pad", **attributes) -> str:
    paddings = net.writer.const("paddings", [[0, 0], [2, 1], [0, 3], [0, 0]])
    return net.op(op, tensor, paddings, Tpaddings="int32", **attributes)


def padded_with(net: Net, tensor: str) -> str:
    paddings = net.writer.const("paddings", [[0, 0], [1, 1], [1, 1], [0, 0]])
    return net.op("PadV2", tensor, paddings, net.floats(0.5), Tpaddings="int32")


RULES: dict[str, Tail] = {
    "nothing": lambda net, x: x,
    "norm": fused_norm,
    "vector norm": lambda net, x: net.layers.batch_norm_of_vector(
        x, name="norm", n_channels=N_FILTERS
    ),
    "add": lambda net, x: net.op("AddV2", x, per_channel(net)),
    "add in front": lambda net, x: net.op("Add", per_channel(net), x),
    "sub": lambda net, x: net.op("Sub", x, per_channel(net)),
    "sub from": lambda net, x: net.op("Sub", per_channel(net), x),
    "mul": lambda net, x: net.op("Mul", x, per_channel(net)),
    "scalar": lambda net, x: net.op("Mul", x, net.floats(3.0)),
    "div": lambda net, x: net.op("RealDiv", x, per_channel(net)),
    "maximum": lambda net, x: net.op("Maximum", x, per_channel(net)),
    "relu6": lambda net, x: net.op("Relu6", x),
    "elu": lambda net, x: net.op("Elu", x),
    "leaky": lambda net, x: net.writer.op("LeakyRelu", "leaky", [x], alpha=0.3),
    "sigmoid": lambda net, x: net.op("Sigmoid", x),
    "tanh": lambda net, x: net.op("Tanh", x),
    "identity": lambda net, x: net.op("Identity", x),
    "max pool": lambda net, x: max_pool(net, x, b"VALID"),
    "max pool same": lambda net, x: max_pool(net, x, b"SAME"),
    "mean pool": lambda net, x: net.op("AvgPool", x, padding=b"VALID", **IMAGE_POOL),
    "mean pool same": lambda net, x: net.op("AvgPool", x, padding=b"SAME", **IMAGE_POOL),
    "pad": padded,
    "pad with a value": padded_with,
    "mirror": lambda net, x: padded(net, x, "MirrorPad", mode=b"REFLECT"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_constant_is_carried_to_the_next_convolution(rule: str, tmp_path: Path) -> None:
    net = Net()
    tensor = RULES[rule](net, net.conv(net.image, "first", activation=None))
    output = net.conv(tensor, "second", n_in=N_FILTERS)
    whole = net.graph(dead={"first/kernel": DEAD})
    folded = fold_dead_filters(whole, outputs=[output])
    # What is filled with another value than the constant is no constant any more.
    n_removed = 0 if rule == "pad with a value" else len(DEAD)
    assert layer(folded, "first").n_removed == n_removed
    assert_same(whole, folded.graph, tmp_path, output)


@pytest.mark.parametrize("how", [{"strides": (2, 3)}, {"dilations": (2, 1)}, {"size": (4, 5)}])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_padded_zeros_are_counted_for_any_kernel(how: dict, padding: str, tmp_path: Path) -> None:
    net = Net()
    tensor = padded(net, net.conv(net.image, "first"))
    output = net.conv(tensor, "second", n_in=N_FILTERS, padding=padding, **how)
    whole = net.graph(dead={"first/kernel": DEAD})
    folded = fold_dead_filters(whole, outputs=[output])
    assert layer(folded, "first").n_removed == len(DEAD)
    assert_same(whole, folded.graph, tmp_path, output)


def pooled(net: Net, tensor: str, op: str) -> str:
    return reduce(net.writer, tensor, op=op, name="pooled", axes=[1, 2], keep_dims=False)


DENSE: dict[str, tuple[Tail, int]] = {
    "flatten": (lambda net, x: flatten(net.writer, x, name="flat"), ROWS * COLUMNS * N_FILTERS),
    "mean": (lambda net, x: pooled(net, x, "Mean"), N_FILTERS),
    "max": (lambda net, x: pooled(net, x, "Max"), N_FILTERS),
    "sum": (lambda net, x: pooled(net, x, "Sum"), N_FILTERS),
    "turned and flattened": (
        lambda net, x: flatten(
            net.writer, transpose(net.writer, x, name="turned", order=[0, 3, 1, 2]), name="flat"
        ),
        ROWS * COLUMNS * N_FILTERS,
    ),
    "joined and pooled": (lambda net, x: pooled(net, joined(net, x), "Max"), N_FILTERS + 2),
}


@pytest.mark.parametrize("rule", DENSE)
def test_a_constant_is_carried_to_a_dense_layer(rule: str, tmp_path: Path) -> None:
    net = Net()
    tail, n_in = DENSE[rule]
    tensor = tail(net, fused_norm(net, net.conv(net.image, "first")))
    output = net.layers.dense(tensor, name="dense", n_in=n_in, n_out=4)
    whole = net.graph(dead={"first/kernel": DEAD})
    folded = fold_dead_filters(whole, outputs=[output])
    assert layer(folded, "first").n_removed == len(DEAD)
    assert_same(whole, folded.graph, tmp_path, output)


def test_neurons_of_dense_layers_die_too(tmp_path: Path) -> None:
    net = Net()
    flat = flatten(net.writer, net.image, name="flat")
    hidden = net.layers.dense(flat, name="hidden", n_in=ROWS * COLUMNS, n_out=6)
    output = net.layers.dense(net.op("Relu", hidden), name="out", n_in=6, n_out=3)
    whole = net.graph(dead={"hidden/kernel": [0, 5], "out/kernel": [1]})
    folded = fold_dead_filters(whole, outputs=[output])
    assert layer(folded, "hidden").n_removed == 2
    assert layer(folded, "out") == LayerFilters("out/MatMul", 3, 1, 0, "it is a wanted output")
    assert_same(whole, folded.graph, tmp_path, output)


def residual(net: Net) -> str:
    one, other = (net.conv(net.image, name) for name in ("first", "second"))
    return net.conv(net.op("AddV2", one, other), "third", n_in=N_FILTERS)


def test_filters_that_are_added_go_where_both_are_dead(tmp_path: Path) -> None:
    net = Net()
    output = residual(net)
    whole = net.graph(dead={"first/kernel": [1, 3], "second/kernel": [0, 3]})
    folded = fold_dead_filters(whole, outputs=[output])
    reason = "added to a filter that lives"
    assert layer(folded, "first") == LayerFilters("first/Conv2D", N_FILTERS, 2, 1, reason)
    assert layer(folded, "second") == LayerFilters("second/Conv2D", N_FILTERS, 2, 1, reason)
    assert_same(whole, folded.graph, tmp_path, output)


def test_a_dead_filter_that_an_unknown_op_reads_stays_with_the_reason() -> None:
    net = Net()
    output = net.conv(net.op("Softplus", net.conv(net.image, "first")), "second", n_in=N_FILTERS)
    whole = net.graph(dead={"first/kernel": DEAD})
    folded = fold_dead_filters(whole, outputs=[output])
    assert folded.graph is whole
    first = layer(folded, "first")
    assert (first.n_dead, first.n_removed) == (len(DEAD), 0)
    assert first.kept_because == "Softplus 'Softplus' reads it"


def test_weights_of_the_second_tap_only_are_no_excuse() -> None:
    net = Net()
    output = net.conv(net.conv(net.image, "first"), "second", n_in=N_FILTERS)
    whole = net.graph(dead={"first/kernel": range(N_FILTERS)})
    node = next(node for node in whole.node if node.name == "first/kernel")
    values = np.array(const_array(node))
    values[2, 1, 0, 4] = 1e-5
    node.attr["value"].tensor.tensor_content = values.tobytes()
    folded = fold_dead_filters(whole, outputs=[output])
    assert layer(folded, "first").n_removed == N_FILTERS - 1


@pytest.mark.parametrize("value", [1e-7, 1e-4, 0.3])
def test_a_filter_that_is_nearly_dead_stays(value: float) -> None:
    net = Net()
    first = net.conv(net.image, "first", activation=None)
    output = net.conv(first, "second", n_in=N_FILTERS)
    whole = net.graph(dead={"first/kernel": DEAD}, value=value)
    folded = fold_dead_filters(whole, outputs=[output])
    assert folded.graph is whole
    assert folded.report.n_dead == 0


def test_a_filter_that_its_relu_silences_for_every_input_is_dead(tmp_path: Path) -> None:
    net = Net()
    output = net.conv(net.conv(net.image, "first"), "second", n_in=N_FILTERS)
    whole = net.graph(dead={"first/bias": DEAD}, value=-1e9)
    folded = fold_dead_filters(whole, outputs=[output])
    assert layer(folded, "first").n_removed == len(DEAD)
    assert_same(whole, folded.graph, tmp_path, output)


def test_operations_are_counted_before_and_after() -> None:
    net = Net()
    output = net.conv(net.conv(net.image, "first"), "second", n_in=N_FILTERS, n_out=2)
    report = fold_dead_filters(net.graph(dead={"first/kernel": DEAD}), outputs=[output]).report
    per_tap = 2 * ROWS * COLUMNS * 9
    assert report.gflop_before == per_tap * (5 + 5 * 2) / 1e9
    assert report.gflop_after == per_tap * (3 + 3 * 2) / 1e9


KINDS = ("conv", "norm", "relu", "pool", "mean", "branches", "residual")


@st.composite
def nets(draw: st.DrawFn) -> tuple[GraphDef, str, dict[str, int]]:
    """Draw a stack of layers with some filters killed, and say how many in which layer."""
    net = Net(seed=draw(st.integers(0, 99)))
    tensor, n_channels, dead = net.conv(net.image, "c0", n_out=4), 4, {}
    dead["c0/kernel"] = draw(st.sets(st.integers(0, 3), max_size=3))
    for index, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=5)), 1):
        if kind in ("conv", "branches"):
            n_out = draw(st.integers(2, 6))
            size, name = draw(st.sampled_from([(1, 1), (3, 2)])), f"c{index}"
            padding = draw(st.sampled_from(["SAME", "SAME", "VALID"])) if size == (1, 1) else "SAME"
            made = net.conv(tensor, name, n_channels, n_out, size=size, padding=padding)
            dead[f"{name}/kernel"] = draw(st.sets(st.integers(0, n_out - 1), max_size=n_out - 1))
            if kind == "branches":
                tensor = concat(net.writer, [tensor, made], name=f"j{index}", axis=3)
                n_channels += n_out
            else:
                tensor, n_channels = made, n_out
        elif kind == "norm":
            tensor = net.layers.batch_norm(tensor, name=f"n{index}", n_channels=n_channels)
        elif kind == "relu":
            tensor = net.writer.op("Elu", f"r{index}", [tensor])
        elif kind == "residual":
            tensor = net.writer.op("AddV2", f"a{index}", [tensor, tensor])
        else:
            op = "MaxPool" if kind == "pool" else "AvgPool"
            how = IMAGE_POOL | {"strides": [1, 1, 1, 1]}
            tensor = net.writer.op(op, f"p{index}", [tensor], padding=b"SAME", **how)
    flat = pooled(net, tensor, draw(st.sampled_from(["Max", "Mean"])))
    output = net.layers.dense(flat, name="dense", n_in=n_channels, n_out=3)
    counts = {name.removesuffix("/kernel"): len(some) for name, some in dead.items()}
    return net.graph(dead=dead), output, counts


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=nets())
def test_all_that_was_killed_goes_and_no_number_changes(
    drawn: tuple[GraphDef, str, dict[str, int]], tmp_path: Path
) -> None:
    whole, output, counts = drawn
    folded = fold_dead_filters(whole, outputs=[output])
    for name, n_dead in counts.items():
        assert layer(folded, name).n_removed >= n_dead
    assert_same(whole, folded.graph, tmp_path, output)
