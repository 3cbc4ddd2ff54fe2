"""Graphs against the runtimes that run them, and against the published file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedlib.models.builder import build_untrained
from embedlib.models.cut import cut
from embedlib.models.graph import list_nodes, parse_graph, resolve_node
from embedlib.models.registry import model_spec, paper_models
from embedlib.models.spec import ModelSpec
from embedlib.models.store import locate

essentia = pytest.importorskip("essentia")
essentia.log.infoActive = False
essentia.log.warningActive = False
es = pytest.importorskip("essentia.standard")
ov = pytest.importorskip("openvino")

GOLDEN = Path(__file__).parents[1] / "golden"

# Random patches in the range of what each model is given, by its way to make inputs or, where
# frames are taken as they are, by its front end.
RANGES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "musicnn-mel": lambda rng, shape: np.log10(10000 * rng.exponential(0.01, shape) + 1),
    "vggish-mel": lambda rng, shape: np.log(rng.exponential(1.0, shape) + 0.01),
    "tempocnn": lambda rng, shape: rng.standard_normal(shape),
    "openl3-gist": lambda rng, shape: -rng.uniform(0, 80, shape),
    "spleeter-stft": lambda rng, shape: rng.exponential(5.0, shape),
}


@pytest.fixture
def published(shared_models: Path) -> Path:
    path = shared_models / "msd-musicnn-1.pb"
    if not path.is_file():
        pytest.skip("needs the real msd-musicnn-1.pb")
    return path


@cache
def patches(spec: ModelSpec) -> np.ndarray:
    """Give two patches of random numbers, and none that is like another."""
    in_range = RANGES[spec.front_end if spec.patch_input == "frames" else spec.patch_input]
    return in_range(np.random.default_rng(440), (2, *spec.input_shape)).astype(np.float32)


@dataclass(frozen=True)
class Reference:
    """An untrained graph, and what Essentia's TensorFlow gives for its patches."""

    spec: ModelSpec
    path: Path
    input_node: str
    outputs: dict[str, list[str]]
    found: dict[str, np.ndarray]

    def of(self, purpose: str) -> np.ndarray:
        return joined(self.found, self.outputs[purpose])


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build the untrained graph of a model, once."""
    folder = tmp_path_factory.mktemp("graphs")

    def build(name: str) -> Path:
        path = folder / f"{name}.pb"
        if not path.exists():
            path.write_bytes(build_untrained(model_spec(name)))
        return path

    return build


@pytest.fixture(scope="module", params=paper_models())
def untrained(request: pytest.FixtureRequest, graph_file: Callable[[str], Path]) -> Reference:
    spec, path = model_spec(request.param), graph_file(request.param)
    graph = parse_graph(path.read_bytes(), origin=path.name)
    input_node = resolve_node(graph, spec.input_node)
    outputs = {
        output.purpose: [resolve_node(graph, node) for node in output.nodes]
        for output in spec.outputs
    }
    nodes = [node for names in outputs.values() for node in names]
    found = run_essentia(path, patches(spec), input_node=input_node, nodes=nodes)
    return Reference(spec, path, input_node, outputs, found)


def run_essentia(
    path: Path, batch: np.ndarray, *, input_node: str, nodes: list[str]
) -> dict[str, np.ndarray]:
    """Run the file as it is, in a batch of four axes as Essentia wants it."""
    predict = es.TensorflowPredict(
        graphFilename=str(path), inputs=[input_node], outputs=nodes, squeeze=batch.ndim < 4
    )
    pool = essentia.Pool()
    pool.set(input_node, batch.reshape(_four_axes(batch)))
    found = predict(pool)
    return {node: found[node] for node in nodes}


def _four_axes(batch: np.ndarray) -> tuple[int, ...]:
    """Put axes of length 1 where TensorflowPredict finds the samples or channels of each patch."""
    first, *others = batch.shape
    return (first, *others, 1, 1) if batch.ndim == 2 else (first, *[1] * (4 - batch.ndim), *others)


def run_openvino(
    path: Path, batch: np.ndarray, *, input_node: str, nodes: list[str], folder: Path
) -> dict[str, np.ndarray]:
    """Run what lies between the input and the outputs."""
    graph = parse_graph(path.read_bytes(), origin=path.name)
    between = cut(graph, input_node=input_node, outputs=nodes, patch_shape=batch.shape[1:])
    small = folder / "cut.pb"
    small.write_bytes(between.SerializeToString())
    model: Any = ov.Core().read_model(str(small))
    model.reshape({model.inputs[0]: batch.shape})
    found = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)
    return {node: found[f"{node}:0"] for node in nodes}


def joined(found: dict[str, np.ndarray], nodes: list[str]) -> np.ndarray:
    """Put the values of several nodes side by side, patch by patch."""
    return np.concatenate([found[node].reshape(len(found[node]), -1) for node in nodes], axis=1)


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def test_essentia_and_openvino_agree_on_an_untrained_graph(
    untrained: Reference, tmp_path: Path
) -> None:
    for purpose, nodes in untrained.outputs.items():
        batch = patches(untrained.spec)
        ours = run_openvino(
            untrained.path, batch, input_node=untrained.input_node, nodes=nodes, folder=tmp_path
        )
        assert distance(joined(ours, nodes), untrained.of(purpose)) <= 1e-5


def test_untrained_embeddings_are_finite_sane_and_not_constant(untrained: Reference) -> None:
    embeddings = untrained.of("embeddings")
    size = np.abs(embeddings).mean()
    assert np.isfinite(embeddings).all()
    assert 0.1 < size < 20
    assert np.abs(embeddings[0] - embeddings[1]).mean() > 0.02 * size


def test_outputs_have_the_lengths_of_the_spec(untrained: Reference) -> None:
    shapes = {node: values.shape for node, values in untrained.found.items()}
    for output in untrained.spec.outputs:
        nodes = untrained.outputs[output.purpose]
        if output.readout == "vector":
            assert [shapes[node] for node in nodes] == [(2, 1, 1, output.n_values)]
        else:
            # Rows over all frequencies and 4 x 4 blocks of time and channels, of five stems.
            assert [shapes[node] for node in nodes] == [(2, 8, 16, 512)] * 5
            assert output.n_values == 5 * (8 // 4) * (512 // 4)
            assert output.n_vectors == 16


def magnitudes(waveform: np.ndarray) -> np.ndarray:
    """Transform a waveform, in float64: chunks x 512 frames x 1024 bins x channels."""
    n_frames = -(-len(waveform) // 1024)
    padded = np.pad(waveform, ((0, 4096), (0, 0))).astype(np.float64)
    frames = np.stack([padded[1024 * index :][:4096] for index in range(n_frames)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(4096) / 4096)
    spectra = np.abs(np.fft.rfft(frames * hann[:, None], axis=1))[:, :1024]
    n_chunks = -(-n_frames // 512)
    return np.pad(spectra, ((0, 512 * n_chunks - n_frames), (0, 0), (0, 0))).reshape(
        n_chunks, 512, 1024, 2
    )


@pytest.fixture
def waveform(rng: np.random.Generator) -> np.ndarray:
    """Give stereo noise that is a little longer than one chunk of Spleeter."""
    return rng.normal(0.0, 0.1, (530_000, 2)).astype(np.float32)


def test_spleeters_transform_inside_the_graph_is_the_one_that_numpy_gives(
    graph_file: Callable[[str], Path], waveform: np.ndarray
) -> None:
    found = run_essentia(
        graph_file("spleeter-5s-3"),
        waveform,
        input_node="waveform",
        nodes=["strided_slice"],
    )
    expected = magnitudes(waveform)
    assert found["strided_slice"].shape == expected.shape == (2, 512, 1024, 2)
    assert distance(found["strided_slice"], expected) <= 1e-5


def test_spleeter_gives_the_same_from_the_waveform_as_from_magnitudes(
    graph_file: Callable[[str], Path], waveform: np.ndarray, tmp_path: Path
) -> None:
    path, nodes = graph_file("spleeter-5s-3"), list(model_spec("spleeter-5s-3").embedding.nodes)
    whole = run_essentia(path, waveform, input_node="waveform", nodes=nodes)
    inside = run_openvino(path, waveform, input_node="waveform", nodes=nodes, folder=tmp_path)
    batch = magnitudes(waveform).astype(np.float32)
    outside = run_openvino(path, batch, input_node="strided_slice", nodes=nodes, folder=tmp_path)
    assert distance(joined(inside, nodes), joined(whole, nodes)) <= 2e-5
    assert distance(joined(outside, nodes), joined(whole, nodes)) <= 2e-5


def test_the_waveforms_of_spleeters_stems_add_up_to_the_low_tones_of_the_mix(
    graph_file: Callable[[str], Path],
) -> None:
    times_s = np.arange(20_000) / 44_100
    mix = np.sin(2 * np.pi * 440 * times_s)[:, None] * np.array([[0.5, 0.2]])
    stems = [f"waveform_{stem}" for stem in ("vocals", "drums", "bass", "piano", "other")]
    found = run_essentia(
        graph_file("spleeter-5s-3"),
        mix.astype(np.float32),
        input_node="waveform",
        nodes=stems,
    )
    total = sum(found[stem].reshape(-1, 2) for stem in stems)
    assert total.shape == mix.shape
    # Near both ends fewer windows overlap.
    assert distance(total[4096:-4096], mix[4096:-4096]) <= 1e-3


def test_the_published_graph_gives_the_same_embeddings_where_it_is_cut(
    published: Path, tmp_path: Path
) -> None:
    spec = model_spec("msd-musicnn-1")
    nodes = list(spec.embedding.nodes)
    theirs = run_essentia(published, patches(spec), input_node=spec.input_node, nodes=nodes)
    ours = run_openvino(
        published, patches(spec), input_node=spec.input_node, nodes=nodes, folder=tmp_path
    )
    assert distance(joined(ours, nodes), joined(theirs, nodes)) <= 1e-5


def test_the_shapes_of_the_published_graph_are_those_that_openvino_finds(published: Path) -> None:
    inferred = {
        node.name: node.shape
        for node in list_nodes(parse_graph(published.read_bytes(), origin=published.name))
    }
    model = ov.Core().read_model(str(published))
    found = {
        name.removesuffix(":0"): tuple(
            None if dim.is_dynamic else dim.get_length() for dim in output.get_partial_shape()
        )
        for output in model.outputs
        if output.get_partial_shape().rank.is_static
        for name in output.get_names()
    }
    assert len(found) >= 5
    assert {name: inferred[name] for name in found} == found


def test_the_golden_nodes_are_those_of_the_published_file(published: Path) -> None:
    golden = json.loads((GOLDEN / "msd-musicnn-1.nodes.json").read_text())
    data = published.read_bytes()
    nodes = list_nodes(parse_graph(data, origin=published.name))
    assert golden["sha256"] == hashlib.sha256(data).hexdigest()
    assert golden["nodes"] == [
        [node.name, node.op, None if node.shape is None else list(node.shape), node.dtype]
        for node in nodes
    ]


def test_the_published_file_is_found_and_is_the_pinned_one(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_MODELS", str(published.parent))
    spec = model_spec("msd-musicnn-1")
    assert locate(spec).path == published
    assert published.stat().st_size == spec.weights.n_bytes


@pytest.mark.parametrize(
    "name", ["deeptemp_k16", "genre_dortmund_musicnn_msd", "small_vggish_init", "vgg4"]
)
def test_real_graphs_of_other_families_pass_the_allow_list(shared_models: Path, name: str) -> None:
    path = shared_models / f"{name}.pb"
    if not path.is_file():
        pytest.skip(f"needs the real {path.name}")
    nodes = list_nodes(parse_graph(path.read_bytes(), origin=path.name))
    convolutions = [node.shape for node in nodes if node.op == "Conv2D"]
    assert convolutions
    assert all(shape is not None for shape in convolutions)
