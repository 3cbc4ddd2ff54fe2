"""onnxruntime on an NVIDIA card: float32, on the card alone, the numbers of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedlib.config import extract_config
from embedlib.engines import onnx as engine_module
from embedlib.engines import onnx_providers
from embedlib.engines.engine import GraphSpec
from embedlib.engines.load import load_engine
from embedlib.models.registry import model_specs
from embedlib.models.spec import ModelSpec
from embedlib.models.store import locate
from embedlib.records import Float32
from embedlib.run.calibrate import measure, measure_cost
from embedlib.run.prepare import model_job
from embedlib.run.resolve import prepare_models

ort = pytest.importorskip("onnxruntime")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in ort.get_available_providers(),
        reason="needs onnxruntime-gpu",
    ),
]

# cuDNN adds in another order, and may take Winograd's algorithm, whose sums are less exact.
TOLERANCE = 1e-4

# What TF32 costs at least: it rounds factors to 10 bits.
TF32_ERROR = 1e-4

BATCH_SIZE = 4


@pytest.fixture(params=[spec for spec in model_specs() if spec.write_graph], ids=lambda s: s.name)
def graph(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GraphSpec:
    spec: ModelSpec = request.param
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))
    weights = locate(spec.as_untrained())
    nodes = tuple(node for output in weights.outputs for node in output.nodes)
    return GraphSpec(
        weights.path, weights.input_node, nodes, spec.input_shape, BATCH_SIZE, device="cuda"
    )


def on_cpu(graph: GraphSpec) -> GraphSpec:
    return GraphSpec(
        graph.path, graph.input_node, graph.output_nodes, graph.patch_shape, graph.batch_size
    )


def patches(graph: GraphSpec, rng: np.random.Generator) -> Float32:
    return rng.uniform(0, 4, (graph.batch_size, *graph.patch_shape)).astype(np.float32)


def relative_l2(found: Float32, expected: Float32) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_the_gpu_gives_the_numbers_of_the_cpu(graph: GraphSpec, rng: np.random.Generator) -> None:
    batch = patches(graph, rng)
    found = load_engine("auto", graph)(batch)
    expected = load_engine("onnxruntime", on_cpu(graph))(batch)
    errors = [relative_l2(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    assert max(errors) <= TOLERANCE


def test_no_node_is_left_to_the_cpu(graph: GraphSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    options = engine_module._options(ort)
    # With this, onnxruntime makes no session of which any node would run on the CPU.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    monkeypatch.setattr(engine_module, "_options", lambda _: options)
    assert load_engine("onnxruntime", graph).name == "onnxruntime"


def test_tf32_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path))
    spec = next(spec for spec in model_specs() if spec.name == "msd-vgg-1")
    path = locate(spec.as_untrained()).path
    graph = GraphSpec(
        path, spec.input_node, spec.embedding.nodes, spec.input_shape, BATCH_SIZE, device="cuda"
    )
    batch = patches(graph, np.random.default_rng(440))
    (exact,) = load_engine("onnxruntime", on_cpu(graph))(batch)
    (ours,) = load_engine("onnxruntime", graph)(batch)
    monkeypatch.setitem(onnx_providers.CUDA_OPTIONS, "use_tf32", "1")
    (rounded,) = load_engine("onnxruntime", graph)(batch)
    assert relative_l2(ours, exact) < TF32_ERROR < relative_l2(rounded, exact)


def test_two_loads_give_the_same_bits(graph: GraphSpec, rng: np.random.Generator) -> None:
    batch = patches(graph, rng)
    one, other = (load_engine("onnxruntime", graph)(batch) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_may_be_changed_as_soon_as_its_outputs_are_there(
    graph: GraphSpec, rng: np.random.Generator
) -> None:
    engine = load_engine("onnxruntime", graph)
    batch, other = patches(graph, rng), patches(graph, rng)
    first = [array.copy() for array in engine(batch)]
    kept = engine(batch)
    batch[:] = other
    engine(batch)
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


@pytest.mark.skipif(
    onnx_providers.TENSORRT not in ort.get_available_providers(), reason="needs TensorRT"
)
def test_tensorrt_gives_the_numbers_of_the_cpu(graph: GraphSpec, rng: np.random.Generator) -> None:
    batch = patches(graph, rng)
    found = load_engine("tensorrt", graph)(batch)
    expected = load_engine("onnxruntime", on_cpu(graph))(batch)
    errors = [relative_l2(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    assert max(errors) <= TOLERANCE


def test_a_card_is_filled_by_more_patches_than_a_core(tmp_path: Path) -> None:
    values = {"sources": ["a"], "models": ["untrained-msd-vgg-1"], "out": "o", "device": "cuda"}
    (prepared,) = prepare_models(extract_config(values))
    job = model_job(prepared, folder=tmp_path)
    measured = measure(job, prepared.file.path)
    assert measured.batch_size > job.batch_size
    assert measured.cost_s < measure_cost(job, prepared.file.path)
