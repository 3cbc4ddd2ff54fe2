"""Graphs that are written by models which do not come with embedlib: each is what its code says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.config import extract_config
from embedlib.errors import FingerprintError, GraphRefusedError, HashMismatchError, ModelError
from embedlib.models.builder import build_untrained
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.registry import comes_with_embedlib, model_spec
from embedlib.models.shaping import reduce
from embedlib.models.spec import EMBEDDINGS, ModelSpec, Output
from embedlib.models.store import build, locate, weights_folder
from embedlib.run.prepare import model_job
from embedlib.run.resolve import prepare_models
from embedlib.tables.manifest import ModelManifest, ensure_manifest

VGG = model_spec("msd-vgg-1")

MODEL_FILE = """
from dataclasses import replace
from embedlib.models.families.vgg import MSD_VGG
from embedlib.models.shaping import reduce
from embedlib.models.spec import EMBEDDINGS, Output

def write(writer, layers, spec):
    patch = writer.placeholder("patch", shape=(-1, *spec.input_shape))
    reduce(writer, patch, op="Mean", name="out", axes=[1], keep_dims=False)

SPECS = (replace(MSD_VGG, name="mine-1", input_node="patch",
                 outputs=(Output(EMBEDDINGS, ("out",), 96),), write_graph=write),)
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))


def reducing(op: str) -> Callable[[GraphWriter, Layers, ModelSpec], None]:
    def write(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
        patch = writer.placeholder("patch", shape=(-1, *spec.input_shape))
        reduce(writer, patch, op=op, name="out", axes=[1], keep_dims=False)

    return write


def mine(op: str = "Mean", *, node: str = "out", n_dims: int = 96) -> ModelSpec:
    outputs = (Output(EMBEDDINGS, (node,), n_dims),)
    return replace(
        VGG, name="mine-1", input_node="patch", outputs=outputs, write_graph=reducing(op)
    )


def test_only_models_of_its_own_come_with_embedlib() -> None:
    assert comes_with_embedlib(VGG)
    assert comes_with_embedlib(VGG.as_untrained())
    assert not comes_with_embedlib(mine().as_untrained())


def test_an_edited_write_graph_gives_another_file() -> None:
    before, after = build(mine("Mean")), build(mine("Max"))
    assert after.path.read_bytes() == build_untrained(mine("Max"))
    assert before.path.read_bytes() == build_untrained(mine("Mean"))
    assert locate(mine("Mean").as_untrained()) == before


def test_a_graph_that_is_kept_already_is_not_written_again() -> None:
    written_ns = build(mine()).path.stat().st_mtime_ns
    assert build(mine()).path.stat().st_mtime_ns == written_ns
    assert build(mine(), anew=True).path.stat().st_mtime_ns > written_ns


def test_a_kept_file_that_was_changed_is_replaced_by_what_the_code_writes() -> None:
    built = build(mine())
    built.path.write_bytes(b"changed")
    assert build(mine()) == built
    assert built.path.read_bytes() == build_untrained(mine())


def test_building_anew_mends_a_file_of_embedlibs_own_that_was_changed() -> None:
    built = build(VGG)
    built.path.write_bytes(b"changed")
    with pytest.raises(HashMismatchError):
        build(VGG)
    assert build(VGG, anew=True) == built == build(VGG)


def test_an_op_that_is_not_allowed_is_for_the_writer_to_correct() -> None:
    words = rf"write_graph of mine-1 \({__file__}\) writes holds the op 'EuclideanNorm'.*; correct"
    with pytest.raises(GraphRefusedError, match=words):
        build(mine("EuclideanNorm"))
    assert not weights_folder().exists()
    assert build(mine("Mean")).path.is_file()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (mine(node="gone"), "it has no node 'gone'; correct write_graph, or what the spec says"),
        (mine(n_dims=95), r"'out' has the shape \(None, 96\), not 95 values a patch; correct"),
        (replace(mine(), input_node="gone"), "it has no node 'gone'; correct"),
    ],
)
def test_a_graph_that_is_not_what_the_spec_says_is_not_kept(spec: ModelSpec, words: str) -> None:
    with pytest.raises(ModelError, match=f"writes is not untrained-mine-1: .*{words}"):
        build(spec)
    assert not weights_folder().exists()


# Tables


def manifest_of(name: str) -> ModelManifest:
    config = extract_config({"sources": ["a.wav"], "models": [name], "out": "out"})
    (model,) = prepare_models(config)
    return model_job(model, folder=Path("parts")).manifest


def test_a_table_says_the_hash_of_a_graph_that_does_not_come_with_embedlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MODEL_FILE)
    monkeypatch.setenv("EMBEDLIB_MODEL_FILES", str(tmp_path / "mine.py"))
    sha256 = build(model_spec("mine-1")).sha256
    assert manifest_of("untrained-mine-1").graph_sha256 == sha256
    assert manifest_of("untrained-msd-vgg-1").graph_sha256 == ""


def test_a_table_does_not_take_rows_of_an_edited_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MODEL_FILE)
    monkeypatch.setenv("EMBEDLIB_MODEL_FILES", str(file))
    ensure_manifest(tmp_path / "out", manifest_of("untrained-mine-1"))
    file.write_text(MODEL_FILE.replace('"Mean"', '"Max"'))
    with pytest.raises(FingerprintError, match="was made with graph_sha256="):
        ensure_manifest(tmp_path / "out", manifest_of("untrained-mine-1"))
