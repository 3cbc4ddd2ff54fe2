"""Graphs against the runtimes that run them, and against the published file."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedlib.models.builder import build_untrained
from embedlib.models.graph import list_nodes, parse_graph, prune
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec
from embedlib.models.store import locate

essentia = pytest.importorskip("essentia")
essentia.log.infoActive = False
essentia.log.warningActive = False
es = pytest.importorskip("essentia.standard")
ov = pytest.importorskip("openvino")

GOLDEN = Path(__file__).parents[1] / "golden"

every_spec = pytest.mark.parametrize("spec", model_specs(), ids=lambda spec: spec.name)


@pytest.fixture
def published(shared_models: Path) -> Path:
    path = shared_models / "msd-musicnn-1.pb"
    if not path.is_file():
        pytest.skip("needs the real msd-musicnn-1.pb")
    return path


@cache
def patches() -> np.ndarray:
    """Give patches in the range of log mel energies, one of them silent."""
    energies = np.random.default_rng(440).exponential(0.01, (4, 187, 96))
    energies[2] = 0.0
    return np.log10(10000 * energies + 1).astype(np.float32)


def run_essentia(spec: ModelSpec, path: Path) -> dict[str, np.ndarray]:
    nodes = [node for _, node in spec.outputs]
    predict = es.TensorflowPredict(graphFilename=str(path), inputs=[spec.input_node], outputs=nodes)
    pool = essentia.Pool()
    pool.set(spec.input_node, patches()[:, None])
    found = predict(pool)
    return {node: found[node].reshape(len(patches()), -1) for node in nodes}


def run_openvino(path: Path, *, node: str) -> np.ndarray:
    model: Any = ov.Core().read_model(str(path))
    model.reshape({model.inputs[0]: patches().shape})
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(patches())[f"{node}:0"]


def write_pruned(spec: ModelSpec, graph: bytes, *, node: str, folder: Path) -> Path:
    path = folder / f"{spec.name}.pb"
    pruned = prune(parse_graph(graph, origin=spec.name), outputs=[node])
    path.write_bytes(pruned.SerializeToString(deterministic=True))
    return path


@every_spec
def test_essentia_and_openvino_agree_on_an_untrained_graph(spec: ModelSpec, tmp_path: Path) -> None:
    graph = build_untrained(spec)
    whole = tmp_path / "whole.pb"
    whole.write_bytes(graph)
    for node, theirs in run_essentia(spec, whole).items():
        ours = run_openvino(write_pruned(spec, graph, node=node, folder=tmp_path), node=node)
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


@every_spec
def test_untrained_embeddings_are_finite_sane_and_not_constant(
    spec: ModelSpec, tmp_path: Path
) -> None:
    path = tmp_path / "whole.pb"
    path.write_bytes(build_untrained(spec))
    outputs = run_essentia(spec, path)
    embeddings = outputs[spec.embedding_node]
    assert embeddings.shape == (4, spec.n_dims)
    assert outputs["model/Sigmoid"].shape == (4, spec.n_activations)
    assert np.isfinite(embeddings).all()
    assert 0.1 < np.abs(embeddings).mean() < 10
    assert embeddings.std(axis=0).mean() > 0.1


def test_the_pruned_published_graph_gives_the_same_embeddings(
    published: Path, tmp_path: Path
) -> None:
    spec = model_spec("msd-musicnn-1")
    node = spec.embedding_node
    theirs = run_essentia(spec, published)[node]
    pruned = write_pruned(spec, published.read_bytes(), node=node, folder=tmp_path)
    ours = run_openvino(pruned, node=node)
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


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
