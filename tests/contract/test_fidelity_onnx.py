"""onnxruntime against Essentia's TensorFlow and OpenVINO: every graph, one batch each.

The real graphs come first, then what can be built here with random weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import embedlib
from embedlib.engines import onnx
from embedlib.engines.engine import GraphSpec
from embedlib.engines.load import load_engine
from embedlib.models.registry import model_specs
from embedlib.models.store import locate
from embedlib.records import Float32

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5

MUSICNN = partial(GraphSpec, input_node="model/Placeholder", patch_shape=(187, 96))

REAL = {
    "msd-musicnn-1.pb": partial(MUSICNN, output_nodes=("model/dense/BiasAdd", "model/Sigmoid")),
    "genre_dortmund_musicnn_msd.pb": partial(
        MUSICNN,
        output_nodes=("model/concat_3", "model/moments/Squeeze_1", "model/Sigmoid"),
    ),
    "deeptemp_k16.pb": partial(
        GraphSpec,
        input_node="input",
        output_nodes=("Relu", "1x1/Identity0_reshape", "output"),
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
        output_nodes=("model/vggish/flatten/Reshape", "model/Softmax"),
        patch_shape=(128, 128),
    ),
}

# One model of each architecture that can be written here.
BUILT = {spec.write_graph: spec for spec in model_specs() if spec.write_graph}.values()


def real_graph(folder: Path, name: str, *, batch_size: int) -> GraphSpec:
    if not (folder / name).is_file():
        pytest.skip(f"needs the real {name}")
    return REAL[name](folder / name, batch_size=batch_size)


def log_energies(spec: GraphSpec) -> Float32:
    """Give patches in the range of log mel energies, the second of them silent."""
    energies = np.random.default_rng(440).exponential(0.01, (spec.batch_size, *spec.patch_shape))
    energies[1:2] = 0.0
    return np.log10(10000 * energies + 1).astype(np.float32)


def relative_l2(ours: Float32, theirs: Float32) -> float:
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def max_error(ours: tuple[Float32, ...], theirs: tuple[Float32, ...]) -> float:
    return max(relative_l2(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module", params=BUILT, ids=lambda spec: spec.name)
def untrained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GraphSpec, tuple[Float32, ...]]]:
    """A model with random weights, and what onnxruntime makes of a batch; its file is large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        spec = request.param.as_untrained()
        weights = locate(spec)
        nodes = tuple(node for output in weights.outputs for node in output.nodes)
        graph = GraphSpec(weights.path, weights.input_node, nodes, spec.input_shape, 2)
        yield graph, load_engine("onnxruntime", graph)(log_energies(graph))
        weights.path.unlink()


@pytest.mark.parametrize("engine", ["essentia", "openvino"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", REAL)
def test_a_real_graph_gives_the_numbers_of_the_other_engines(
    shared_models: Path, name: str, batch_size: int, engine: str
) -> None:
    pytest.importorskip(engine)
    spec = real_graph(shared_models, name, batch_size=batch_size)
    ours, theirs = (load_engine(e, spec)(log_energies(spec)) for e in ("onnxruntime", engine))
    assert max_error(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("engine", ["essentia", "openvino"])
def test_an_untrained_graph_gives_the_numbers_of_the_other_engines(
    untrained: tuple[GraphSpec, tuple[Float32, ...]], engine: str
) -> None:
    pytest.importorskip(engine)
    graph, ours = untrained
    theirs = load_engine(engine, graph)(log_energies(graph))
    assert max_error(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("name", ["dubstep.wav", "flamenco.mp3"])
def test_real_audio_gives_the_embeddings_of_the_other_engines(
    shared_audio: Path, shared_models: Path, name: str
) -> None:
    weights = real_graph(shared_models, "msd-musicnn-1.pb", batch_size=1).path
    ours, theirs, default = (
        embedlib.embed(shared_audio / name, model="msd-musicnn-1", weights=weights, engine=engine)
        for engine in ("onnxruntime", "essentia", "openvino")
    )
    assert relative_l2(ours, theirs) <= TOLERANCE
    assert relative_l2(ours, default) <= TOLERANCE


def test_dead_filters_are_left_out_of_the_export(shared_models: Path) -> None:
    spec = real_graph(shared_models, "msd-musicnn-1.pb", batch_size=1)
    assert len(onnx._read_model(spec).data) < spec.path.stat().st_size / 3


def test_a_patch_gives_the_same_bits_whatever_its_neighbours(shared_models: Path) -> None:
    spec = real_graph(shared_models, "msd-musicnn-1.pb", batch_size=4)
    engine = load_engine("onnxruntime", spec)
    batch = log_energies(spec)
    order = [2, 0, 3, 1]
    assert np.array_equal(engine(batch[order])[0], engine(batch)[0][order])


def test_an_error_of_one_frame_would_not_pass(shared_models: Path) -> None:
    spec = real_graph(shared_models, "msd-musicnn-1.pb", batch_size=2)
    batch = log_energies(spec)
    engine = load_engine("onnxruntime", spec)
    late = engine(np.roll(batch, 1, axis=1))
    assert relative_l2(late[0], engine(batch)[0]) > 100 * TOLERANCE


def test_two_loads_of_one_graph_give_the_same_bits(shared_models: Path) -> None:
    spec = real_graph(shared_models, "msd-musicnn-1.pb", batch_size=2)
    one, other = (load_engine("onnxruntime", spec)(log_energies(spec))[0] for _ in range(2))
    assert np.array_equal(one, other)
