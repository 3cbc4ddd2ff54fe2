"""Every graph that is here, in OpenVINO against the TensorFlow in Essentia.

Random weights hardly tell one input from another, so that a cosine says little: what is bounded
is the relative l2 of all outputs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine
from embedlib.models.builder import build_untrained
from embedlib.models.graph import parse_graph
from embedlib.models.nodes import resolve_spec
from embedlib.models.registry import model_spec, model_specs
from embedlib.records import Float32

pytest.importorskip("openvino")
pytest.importorskip("essentia")

BATCH_SIZE = 2
MAX_RELATIVE_L2 = 1e-5
MAX_RELATIVE_L2_BF16 = 3e-2  # bf16 keeps 8 bits; the real MusiCNN comes to 2e-2

N_CHUNK_SAMPLES = 512 * 1024  # what Spleeter hears at once: 512 frames, 1024 samples apart

FILES = {
    "msd-musicnn-1.pb": partial(
        GraphSpec,
        input_node="model/Placeholder",
        output_nodes=("model/dense/BiasAdd", "model/Sigmoid"),
        patch_shape=(187, 96),
    ),
    "deeptemp_k16.pb": partial(
        GraphSpec,
        input_node="input",
        output_nodes=("1x1/Identity0_reshape", "output"),
        patch_shape=(40, 256, 1),
    ),
    "small_vggish_init.pb": partial(
        GraphSpec,
        input_node="model/Placeholder",
        output_nodes=("model/vggish/fc2/Relu", "model/Sigmoid"),
        patch_shape=(96, 64),
    ),
    "vgg4.pb": partial(
        GraphSpec,
        input_node="model/Placeholder",
        output_nodes=("model/vggish/dense/BiasAdd", "model/Softmax"),
        patch_shape=(128, 128),
    ),
}

# One model of each architecture that can be written here.
BUILT = {spec.write_graph: spec.name for spec in model_specs() if spec.write_graph}.values()


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], GraphSpec]:
    """Write the graph of a model with random weights, once."""
    folder = tmp_path_factory.mktemp("graphs")

    @cache
    def build(name: str) -> GraphSpec:
        spec, path = model_spec(name), folder / f"{name}.pb"
        path.write_bytes(build_untrained(spec))
        nodes = resolve_spec(spec, parse_graph(path.read_bytes(), origin=name))
        wanted = tuple(node for output in nodes.outputs for node in output.nodes)
        return GraphSpec(path, nodes.input_node, wanted, spec.input_shape, batch_size=BATCH_SIZE)

    return build


@pytest.fixture(scope="module", params=[*FILES, *BUILT])
def graph(request: pytest.FixtureRequest, built: Callable[[str], GraphSpec]) -> GraphSpec:
    if request.param in FILES:
        return published(request.getfixturevalue("shared_models"), request.param)
    return built(request.param)


def published(folder: Path, name: str) -> GraphSpec:
    if not (folder / name).is_file():
        pytest.skip(f"needs {name}")
    return FILES[name](folder / name, batch_size=BATCH_SIZE)


@pytest.fixture(scope="module")
def engine(graph: GraphSpec) -> Engine:
    return load_engine("openvino", graph)


@pytest.fixture(scope="module")
def batch(graph: GraphSpec) -> Float32:
    return random_batch(graph)


def random_batch(graph: GraphSpec) -> Float32:
    return np.random.default_rng(7).random((BATCH_SIZE, *graph.patch_shape), np.float32)


@pytest.fixture(scope="module")
def reference(graph: GraphSpec, batch: Float32) -> tuple[Float32, ...]:
    return load_engine("essentia", graph)(batch)


def relative_l2(found: Float32, expected: Float32) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def distances(found: tuple[Float32, ...], expected: tuple[Float32, ...]) -> list[float]:
    return [relative_l2(one, other) for one, other in zip(found, expected, strict=True)]


def test_all_outputs_are_those_of_essentias_tensorflow(
    engine: Engine, batch: Float32, reference: tuple[Float32, ...]
) -> None:
    assert max(distances(engine(batch), reference)) <= MAX_RELATIVE_L2


def test_in_bf16_they_are_so_to_its_resolution(
    graph: GraphSpec, batch: Float32, reference: tuple[Float32, ...]
) -> None:
    found = load_engine("openvino", replace(graph, precision="bf16"))(batch)
    assert max(distances(found, reference)) <= MAX_RELATIVE_L2_BF16


def test_patches_give_equal_bits_whatever_their_neighbours(engine: Engine, batch: Float32) -> None:
    for straight, turned in zip(engine(batch), engine(batch[::-1]), strict=True):
        np.testing.assert_array_equal(straight, turned[::-1])


def test_patches_that_are_off_by_one_frame_would_not_pass(
    engine: Engine, batch: Float32, reference: tuple[Float32, ...]
) -> None:
    found = engine(np.roll(batch, 1, axis=1))
    assert min(distances(found, reference)) > 10 * MAX_RELATIVE_L2


@pytest.mark.parametrize("name", FILES)
def test_a_kept_model_gives_the_bits_of_a_fresh_one(
    name: str, shared_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = published(shared_models, name)
    batch = random_batch(graph)
    kept = [load_engine("openvino", graph)(batch) for _ in range(2)][-1]
    monkeypatch.setenv("EMBEDLIB_CACHE", os.devnull)
    fresh = load_engine("openvino", graph)(batch)
    for one, other in zip(kept, fresh, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_magnitudes_may_be_fed_instead_of_the_waveform_before_them(
    name: str, built: Callable[[str], GraphSpec], rng: np.random.Generator
) -> None:
    graph = replace(built("spleeter-5s-3"), batch_size=1)
    whole = replace(
        graph,
        input_node="waveform",
        output_nodes=(graph.input_node, *graph.output_nodes),
        patch_shape=(2,),
        batch_size=N_CHUNK_SAMPLES,
    )
    waveform = rng.uniform(-0.5, 0.5, (N_CHUNK_SAMPLES, 2)).astype(np.float32)
    magnitudes, *expected = load_engine(name, whole)(waveform)
    found = load_engine(name, graph)(magnitudes)
    assert max(distances(found, tuple(expected))) <= 1e-6
