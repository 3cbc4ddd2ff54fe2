"""Several frames per step: which convolutions step, and that no number changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import GraphSpec
from embedlib.engines.openvino import OpenVinoEngine
from embedlib.engines.openvino_core import openvino_core
from embedlib.errors import ModelError
from embedlib.models.blocking import filter_groups, give_frames_in_blocks
from embedlib.models.builder import build_untrained
from embedlib.models.graph import list_nodes, parse_graph, resolve_node
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.registry import model_specs
from embedlib.models.shaping import expand_dims
from embedlib.models.spec import ModelSpec

N_FRAMES, N_BANDS = 37, 12
OUTPUT = "pooled"


def few_filters(
    *, kernel: tuple[int, int] = (32, 1), n_filters: int = 3, padding: str = "SAME", pool: int = 0
) -> GraphDef:
    """Write patch -> convolution, bias, ReLU -> batch norm -> maximum over bands."""
    writer = GraphWriter()
    layers = Layers(writer, rng=np.random.default_rng(3))
    patch = writer.placeholder("in", shape=[-1, N_FRAMES, N_BANDS])
    image = expand_dims(writer, patch, name="image", axis=3)
    heard = layers.conv2d(image, name="conv", kernel=(*kernel, 1, n_filters), padding=padding)
    normal = layers.batch_norm(heard, name="norm", n_channels=n_filters)
    width = N_BANDS if padding == "SAME" else N_BANDS - kernel[1] + 1
    size = [1, 1, pool or width, 1]
    writer.op(
        "MaxPool", OUTPUT, [normal], ksize=size, strides=size, padding=b"VALID", data_format=b"NHWC"
    )
    return parse_graph(writer.serialise(), origin="few filters")


def kernels(graph: GraphDef) -> list[tuple[int | None, ...]]:
    """Give the shapes of the kernels that convolutions read."""
    shapes = {node.name: node.shape for node in list_nodes(graph)}
    return [shapes[node.input[1]] or () for node in graph.node if node.op == "Conv2D"]


def saved(graph: GraphDef, folder: Path) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.pb"
    path.write_bytes(graph.SerializeToString())
    return path


def some_patches(n_patches: int = 3) -> np.ndarray:
    normal = np.random.default_rng(5).normal(size=(n_patches, N_FRAMES, N_BANDS))
    return normal.astype(np.float32)


def run(graph: GraphDef, folder: Path) -> np.ndarray:
    """Run a graph as it is written: the engine itself would block it."""
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    request = (
        openvino_core().compile_model(saved(graph, folder), "CPU", exact).create_infer_request()
    )
    request.infer([some_patches()])
    return request.get_output_tensor(0).data.copy()


LAYERS = [
    {"kernel": (32, 1), "n_filters": 3},
    {"kernel": (16, 1), "n_filters": 7},
    {"kernel": (17, 1), "n_filters": 1, "padding": "VALID"},
    {"kernel": (30, 4), "n_filters": 5, "padding": "VALID"},
    {"kernel": (12, 3), "n_filters": 2, "padding": "SAME"},
    {"kernel": (7, 4), "n_filters": 23, "padding": "VALID"},
    {"kernel": (20, 1), "n_filters": 35, "padding": "SAME"},
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_frames_in_blocks_are_the_frames(layer: dict, tmp_path: Path) -> None:
    graph = few_filters(**layer)
    blocked = give_frames_in_blocks(graph, outputs=[OUTPUT])
    n_taps, n_bands = layer["kernel"]
    assert kernels(blocked) == [
        (n_taps + group.step - 1, n_bands, 1, group.step * (group.stop - group.start))
        for group in filter_groups(n_taps, layer["n_filters"])
    ]
    assert kernels(blocked) != kernels(graph)
    whole, stepped = (run(each, tmp_path) for each in (graph, blocked))
    assert whole.shape == stepped.shape
    assert whole.std() > 0
    np.testing.assert_allclose(stepped, whole, rtol=0, atol=1e-6 * np.abs(whole).max())


def test_the_default_engine_gives_the_same_numbers(tmp_path: Path) -> None:
    graph, patches = few_filters(), some_patches()
    path = saved(graph, tmp_path)
    spec = GraphSpec(path, "in", (OUTPUT,), patches.shape[1:], batch_size=len(patches))
    (pooled,) = OpenVinoEngine(spec)(patches)
    np.testing.assert_allclose(pooled, run(graph, tmp_path), atol=1e-6)


def test_a_convolution_that_fills_its_vectors_stays() -> None:
    graph = few_filters(kernel=(7, 4), n_filters=14, padding="VALID")
    assert give_frames_in_blocks(graph, outputs=[OUTPUT]) is graph


def test_a_convolution_whose_bands_are_not_pooled_away_stays() -> None:
    graph = few_filters(pool=4)
    assert give_frames_in_blocks(graph, outputs=[OUTPUT]) is graph


@pytest.mark.parametrize("inner", ["conv/Conv2D", "conv/BiasAdd", "conv/Relu"])
def test_a_node_that_is_wanted_keeps_its_place(inner: str) -> None:
    graph = few_filters()
    assert inner in {node.name for node in graph.node}
    assert give_frames_in_blocks(graph, outputs=[OUTPUT, inner]) is graph


def test_a_batch_norm_that_looks_at_its_batch_stays() -> None:
    graph = few_filters()
    (norm,) = (node for node in graph.node if node.op.startswith("FusedBatchNorm"))
    norm.attr["is_training"].b = True
    assert give_frames_in_blocks(graph, outputs=[OUTPUT]) is graph


def test_a_stride_over_time_stays() -> None:
    graph = few_filters()
    (conv,) = (node for node in graph.node if node.op == "Conv2D")
    conv.attr["strides"].list.i[1] = 2
    assert give_frames_in_blocks(graph, outputs=[OUTPUT]) is graph


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match="no node 'elsewhere'"):
        give_frames_in_blocks(few_filters(), outputs=["elsewhere"])


@pytest.mark.parametrize("n_taps", [1, 7, 32, 128])
def test_groups_hold_each_filter_once_and_only_the_last_steps(n_taps: int) -> None:
    for n_filters in range(1, 70):
        *whole, last = filter_groups(n_taps, n_filters)
        held = [each for group in (*whole, last) for each in range(group.start, group.stop)]
        assert held == list(range(n_filters))
        assert all(group.step == 1 and group.stop % 16 == 0 for group in whole)


SMALL = [spec for spec in model_specs() if spec.write_graph and spec.n_trainable < 10_000_000]
UNEVEN = {"msd-musicnn-1", "msd-musicnn-t200"}


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_of_the_published_architectures_musicnn_alone_has_uneven_layers(spec: ModelSpec) -> None:
    graph = parse_graph(build_untrained(spec), origin=spec.name)
    outputs = [resolve_node(graph, node) for output in spec.outputs for node in output.nodes]
    blocked = give_frames_in_blocks(graph, outputs=outputs)
    assert (blocked is not graph) == (spec.name in UNEVEN)
