"""Engines: the same patches give the same embeddings, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine, resolve_engine
from embedlib.errors import ConfigError, EngineError, ModelError, WeightsMissingError
from embedlib.models.registry import model_spec
from embedlib.models.store import locate
from embedlib.records import Float32

NODES = ("model/dense/BiasAdd", "model/Sigmoid")
PATCH = (187, 96)
N_PATCHES = 16

# Sums in another order differ by a few units of the last place of float32.
ACROSS_BATCH_SIZES = 1e-6
ACROSS_ENGINES = 1e-5


@pytest.fixture(scope="module", params=["msd-musicnn-1", "untrained-msd-musicnn-1"])
def graph(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The real weights and random ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        if not request.param.startswith("untrained"):
            patch.setenv("EMBEDLIB_MODELS", str(request.getfixturevalue("shared_models")))
        yield locate(model_spec(request.param)).path


@pytest.fixture(scope="module")
def patches() -> Float32:
    return np.random.default_rng(7).random((N_PATCHES, *PATCH), np.float32)


def load(name: str, graph: Path, *, batch_size: int = 4, precision: str = "f32") -> Engine:
    pytest.importorskip(name)
    spec = GraphSpec(graph, "model/Placeholder", NODES, PATCH, batch_size, precision)
    return load_engine(name, spec)


def embed(engine: Engine, patches: Float32, *, batch_size: int = 4) -> Float32:
    batches = patches.reshape(-1, batch_size, *PATCH)
    return np.concatenate([engine(batch)[0] for batch in batches])


def relative_l2(found: Float32, expected: Float32) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_an_engine_gives_one_output_per_node(name: str, graph: Path, patches: Float32) -> None:
    embeddings, activations = load(name, graph)(patches[:4])
    assert (embeddings.shape, activations.shape) == ((4, 200), (4, 50))
    assert embeddings.dtype == activations.dtype == np.float32
    assert ((activations > 0) & (activations < 1)).all()


def test_a_patch_gives_the_same_bits_whatever_its_neighbours(
    graph: Path, patches: Float32, rng: np.random.Generator
) -> None:
    engine = load("openvino", graph)
    expected = embed(engine, patches)
    order = rng.permutation(N_PATCHES)
    assert np.array_equal(embed(engine, patches[order]), expected[order])


def test_a_patch_gives_the_same_bits_among_silence(graph: Path, patches: Float32) -> None:
    engine = load("openvino", graph)
    batch = np.zeros((4, *PATCH), np.float32)
    batch[0] = patches[0]
    assert np.array_equal(engine(batch)[0][0], engine(patches[:4])[0][0])


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_embeddings_do_not_depend_on_the_size_of_batches(
    name: str, graph: Path, patches: Float32
) -> None:
    one = embed(load(name, graph, batch_size=1), patches, batch_size=1)
    sixteen = embed(load(name, graph, batch_size=16), patches, batch_size=16)
    assert relative_l2(one, sixteen) <= ACROSS_BATCH_SIZES


def test_openvino_gives_what_the_reference_gives(graph: Path, patches: Float32) -> None:
    expected = embed(load("essentia", graph), patches)
    assert relative_l2(embed(load("openvino", graph), patches), expected) <= ACROSS_ENGINES


def test_two_loads_of_one_graph_give_the_same_bits(graph: Path, patches: Float32) -> None:
    one, other = (embed(load("openvino", graph), patches) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_results_stay_when_the_engine_is_called_again(
    name: str, graph: Path, patches: Float32
) -> None:
    engine = load(name, graph)
    (first, _), kept = engine(patches[:4]), engine(patches[:4])[0].copy()
    engine(patches[4:8])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_a_batch_that_may_not_be_written_to_is_taken(
    name: str, graph: Path, patches: Float32
) -> None:
    batch = patches[:4].copy()
    batch.flags.writeable = False
    assert load(name, graph)(batch)[0].shape == (4, 200)


@pytest.mark.parametrize("name", ["openvino", "essentia"])
def test_a_node_that_is_not_there_is_refused(name: str, graph: Path) -> None:
    pytest.importorskip(name)
    with pytest.raises(ModelError, match="models nodes"):
        load_engine(name, GraphSpec(graph, "model/Placeholder", ("model/gone",), PATCH))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pb").write_text("This is no graph.")
    with pytest.raises(ModelError, match=r"text\.pb"):
        load("openvino", tmp_path / "text.pb")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"gone\.pb"):
        load("openvino", tmp_path / "gone.pb")


def test_essentia_refuses_what_it_cannot_do(graph: Path) -> None:
    with pytest.raises(ConfigError, match="precision='bf16' is not possible with the essentia"):
        load("essentia", graph, precision="bf16")


def test_auto_means_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedlib.engines.load.find_spec", lambda _: object())
    assert resolve_engine("auto") == "openvino"


@pytest.mark.parametrize(
    ("installed", "expected"), [({"essentia"}, "essentia"), ({"openvino"}, "openvino")]
)
def test_auto_takes_what_is_installed(
    installed: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "embedlib.engines.load.find_spec", lambda name: name if name in installed else None
    )
    assert resolve_engine("auto") == expected


@pytest.mark.parametrize("name", ["auto", "openvino", "essentia"])
def test_an_engine_that_is_not_installed_comes_with_the_line_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedlib.engines.load.find_spec", lambda _: None)
    with pytest.raises(EngineError, match="is not installed; pip install "):
        resolve_engine(name)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="engine='tensorrt' is unknown; use one of auto"):
        resolve_engine("tensorrt")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"batch_size": 0}, "batch_size=0"), ({"precision": "f16"}, "precision='f16'")],
)
def test_a_graph_spec_refuses_impossible_values(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GraphSpec(Path("a.pb"), "in", ("out",), PATCH, **options)
