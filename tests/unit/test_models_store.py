"""The weight store: search order, hashes, locks, and files of the user's."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.errors import (
    ConfigError,
    GraphRefusedError,
    HashMismatchError,
    ModelError,
    WeightsMissingError,
)
from embedlib.models.builder import build_untrained
from embedlib.models.cache import add, verify
from embedlib.models.folders import cache_folder
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.locks import write_atomically
from embedlib.models.registry import model_spec
from embedlib.models.spec import ModelSpec, Output
from embedlib.models.store import build, find_weights, locate, weights_folder

VGG = model_spec("msd-vgg-1")
GRAPH = build_untrained(VGG)
OTHER_GRAPH = build_untrained(VGG, seed=1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMBEDLIB_MODELS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pb"
    path.write_bytes(GRAPH)
    return path


def pinned(spec: ModelSpec, graph: bytes, **hashes: str) -> ModelSpec:
    hashes = hashes or {"sha256": hashlib.sha256(graph).hexdigest()}
    return replace(spec, weights=replace(spec.weights, **hashes))


def taking_logits(spec: ModelSpec) -> ModelSpec:
    """Name the tensor by the node that takes it: it is `model/dense/BiasAdd` in the graph."""
    return replace(spec, outputs=(Output("embeddings", ("input of model/Sigmoid",), 50),))


def write_metadata(path: Path, **output: object) -> None:
    outputs = [{"name": "model/flatten/Reshape", "output_purpose": "embeddings"} | output]
    path.with_suffix(".json").write_text(json.dumps({"schema": {"outputs": outputs}}))


def test_the_cache_is_in_the_home_folder_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("EMBEDLIB_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "embedlib"


def test_a_given_path_comes_before_all_folders(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / VGG.weights.file_name).write_bytes(OTHER_GRAPH)
    monkeypatch.setenv("EMBEDLIB_MODELS", str(tmp_path))
    assert locate(VGG, path=file).path == file


def test_folders_are_searched_in_order_and_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("none", "first", "second")]
    for folder in (*folders[1:], weights_folder()):
        write_atomically(folder / VGG.weights.file_name, GRAPH)
    monkeypatch.setenv("EMBEDLIB_MODELS", os.pathsep.join(map(str, folders)))
    assert locate(VGG).path.parent == folders[1]
    monkeypatch.setenv("EMBEDLIB_MODELS", "")
    assert locate(VGG).path.parent == weights_folder()


@pytest.mark.parametrize("name", ["msd-musicnn-1", "msd-vgg-1"])
def test_missing_weights_of_a_published_model_name_the_ways_out(name: str) -> None:
    with pytest.raises(WeightsMissingError) as caught:
        locate(model_spec(name))
    assert f"embedlib models pull {name}" in caught.value.fix
    assert f"embedlib models build {name}" in caught.value.fix


def test_missing_weights_that_were_never_published_do_not_point_to_a_download() -> None:
    with pytest.raises(WeightsMissingError) as caught:
        locate(model_spec("msd-vgg-t200"))
    assert "pull" not in caught.value.fix
    assert "embedlib models add FILE --as msd-vgg-t200" in caught.value.fix


def test_a_given_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"no file .*gone.pb"):
        locate(VGG, path=tmp_path / "gone.pb")


def test_another_file_than_the_pinned_one_is_refused_with_both_hashes(file: Path) -> None:
    with pytest.raises(HashMismatchError) as caught:
        locate(pinned(VGG, OTHER_GRAPH), path=file)
    assert hashlib.sha256(GRAPH).hexdigest() in str(caught.value)
    assert hashlib.sha256(OTHER_GRAPH).hexdigest() in str(caught.value)


def test_no_engine_gets_a_graph_with_a_dangerous_op(tmp_path: Path) -> None:
    writer = GraphWriter(scope="model")
    writer.op("WriteFile", "evil", [writer.placeholder("Placeholder", shape=[-1, 187, 96])])
    evil = tmp_path / "evil.pb"
    evil.write_bytes(writer.serialise())
    with pytest.raises(GraphRefusedError, match="WriteFile"):
        locate(VGG, path=evil)


def test_the_names_of_tensors_are_those_of_the_file(file: Path) -> None:
    found = locate(taking_logits(VGG), path=file)
    assert found.outputs[0].nodes == ("model/dense/BiasAdd",)
    assert locate(VGG, path=file).outputs == VGG.outputs
    assert found.input_node == "model/Placeholder"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_node": "input of model/gone"}, "is not msd-vgg-1: .*no node 'model/gone'"),
        ({"input_node": "model/Sigmoid"}, r"'model/Sigmoid' takes the shape .* not \(187, 96\)"),
        ({"input_shape": (187, 64)}, r"takes the shape \(None, 187, 96\), not \(187, 64\)"),
    ],
)
def test_a_graph_without_the_input_of_the_model_is_refused(
    file: Path, changes: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        locate(replace(VGG, **changes), path=file)


def test_metadata_beside_the_weights_are_held_against_the_spec(file: Path) -> None:
    write_metadata(file, shape=[1, 256])
    assert locate(VGG, path=file).path == file
    write_metadata(file, shape=[1, 255])
    with pytest.raises(ModelError, match=r"mine.json gives .* \[1, 255\], msd-vgg-1 has \[256\]"):
        locate(VGG, path=file)


def test_metadata_know_a_tensor_by_the_name_that_it_has_in_the_file(file: Path) -> None:
    spec = taking_logits(VGG)
    write_metadata(file)
    with pytest.raises(ModelError, match="gives embeddings node 'model/flatten/Reshape'"):
        locate(spec, path=file)
    write_metadata(file, name="model/dense/BiasAdd:0")
    assert locate(spec, path=file).path == file


def test_an_untrained_model_is_built_once_and_found_again() -> None:
    spec = model_spec("untrained-msd-vgg-1")
    first = locate(spec)
    built_ns = first.path.stat().st_mtime_ns
    again = locate(spec)
    assert first.untrained
    assert first == again
    assert again.path.stat().st_mtime_ns == built_ns
    assert first.path.read_bytes() == GRAPH


def test_seeds_do_not_share_a_file() -> None:
    assert build(VGG, seed=1).path != build(VGG).path
    assert build(VGG, seed=1).path.read_bytes() == OTHER_GRAPH


def test_a_built_file_that_was_changed_is_noticed() -> None:
    built = build(VGG)
    built.path.write_bytes(GRAPH[:-1])
    with pytest.raises(HashMismatchError, match="expected"):
        build(VGG)


def test_a_build_that_died_before_its_lock_is_made_again() -> None:
    built = build(VGG)
    built.path.with_suffix(".lock.json").unlink()
    built.path.write_bytes(b"half")
    assert build(VGG) == built


def test_many_builders_at_once_leave_one_whole_file() -> None:
    with ThreadPoolExecutor(4) as pool:
        built = set(pool.map(lambda _: build(VGG), range(8)))
    assert len(built) == 1
    assert sorted(path.name for path in weights_folder().iterdir()) == [
        "untrained-msd-vgg-1.v1.seed0.lock.json",
        "untrained-msd-vgg-1.v1.seed0.pb",
    ]


def test_a_file_for_an_untrained_model_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"random weights.*; name the model msd-vgg-1"):
        locate(model_spec("untrained-msd-vgg-1"), path=file)
    with pytest.raises(ConfigError, match=r"random weights.*; use --as msd-vgg-1"):
        add(file, name="untrained-msd-vgg-1")


def test_an_added_file_is_found_and_locked(file: Path) -> None:
    added = add(file, name="msd-vgg-1")
    assert locate(VGG) == added
    file.write_bytes(OTHER_GRAPH)
    with pytest.raises(HashMismatchError):
        locate(VGG, path=file)


def test_a_lock_is_not_replaced_by_adding_another_file(file: Path) -> None:
    added = add(file, name="msd-vgg-1")
    file.write_bytes(OTHER_GRAPH)
    with pytest.raises(HashMismatchError):
        add(file, name="msd-vgg-1")
    assert locate(VGG) == added


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("msd-musicnn-1", "has the sha256"),
        ("msd-musicnn-t200", "no node 'model/dense/BiasAdd'|has the shape"),
        ("msd-vgg-t200", r"'model/Sigmoid' has the shape \(None, 50\), not 200 values"),
    ],
)
def test_the_file_of_another_model_is_refused(file: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        add(file, name=name)
    assert not weights_folder().exists()


def test_adding_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"no file .*gone.pb"):
        add(tmp_path / "gone.pb", name="msd-vgg-1")


def test_metadata_are_copied_with_the_file_that_they_belong_to(file: Path) -> None:
    write_metadata(file)
    added = add(file, name="msd-vgg-1")
    assert added.path.with_suffix(".json").read_bytes() == file.with_suffix(".json").read_bytes()
    assert locate(VGG) == added


def test_an_onnx_file_is_taken_where_it_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_MODELS", str(tmp_path))
    write_atomically(weights_folder() / "msd-vgg-1.onnx", b"onnx")
    write_atomically(tmp_path / "msd-vgg-1.pb", GRAPH)
    assert locate(VGG, prefer_onnx=True).path == weights_folder() / "msd-vgg-1.onnx"
    assert locate(VGG).path == tmp_path / "msd-vgg-1.pb"


def test_an_engine_that_prefers_onnx_takes_the_graph_where_there_is_no_onnx(file: Path) -> None:
    added = add(file, name="msd-vgg-1")
    assert locate(VGG, prefer_onnx=True) == added


def test_an_onnx_file_has_a_hash_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(b"onnx")
    sha256 = hashlib.sha256(b"onnx").hexdigest()
    assert locate(pinned(VGG, b"", sha256="00", onnx_sha256=sha256), path=file).sha256 == sha256
    with pytest.raises(HashMismatchError, match="expected 00"):
        locate(pinned(VGG, b"", onnx_sha256="00"), path=file)


def test_a_graph_and_an_onnx_file_of_one_model_are_locked_side_by_side(
    file: Path, tmp_path: Path
) -> None:
    onnx = tmp_path / "mine.onnx"
    onnx.write_bytes(b"onnx")
    add(file, name="msd-vgg-1")
    add(onnx, name="msd-vgg-1")
    assert [(f.path.suffix, f.is_good, f.expected is None) for f in verify()] == [
        (".onnx", True, False),
        (".pb", True, False),
    ]


def test_a_tensor_that_is_found_by_its_place_needs_the_graph(tmp_path: Path) -> None:
    spec = taking_logits(VGG)
    onnx = weights_folder() / "msd-vgg-1.onnx"
    write_atomically(onnx, b"onnx")
    assert find_weights(spec, prefer_onnx=True) is None
    with pytest.raises(ModelError, match=r"is ONNX.*; give msd-vgg-1.pb"):
        locate(spec, path=onnx)


@pytest.mark.parametrize("name", ["gone.onnx", "gone.pb"])
def test_a_folder_is_no_weight_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        locate(VGG, path=tmp_path / name)


def test_a_model_that_cannot_be_built_says_so_and_names_the_download() -> None:
    spec = replace(VGG, write_graph=None)
    with pytest.raises(ConfigError, match=r"no untrained .*; .*`embedlib models pull msd-vgg-1`"):
        build(spec)
    with pytest.raises(WeightsMissingError) as caught:
        locate(spec)
    assert "embedlib models build" not in caught.value.fix


def test_verify_tells_good_changed_and_unknown_files_apart(file: Path) -> None:
    add(file, name="msd-vgg-1")
    build(VGG).path.write_bytes(b"changed")
    (weights_folder() / "stray.pb").write_bytes(b"stray")
    found = {file.path.name: (file.is_good, file.expected is None) for file in verify()}
    assert found == {
        "msd-vgg-1.pb": (True, False),
        "stray.pb": (True, True),
        "untrained-msd-vgg-1.v1.seed0.pb": (False, False),
    }


def test_a_pinned_file_that_was_copied_into_the_cache_is_verified_against_its_pin() -> None:
    write_atomically(weights_folder() / "msd-musicnn-1.pb", b"damaged")
    assert [file.is_good for file in verify()] == [False]


def test_an_empty_cache_verifies() -> None:
    assert verify() == ()


@pytest.mark.parametrize("lock", ["", "{}", "[1]", '{"sha256"'])
def test_a_broken_lock_is_an_error_and_no_permission(file: Path, lock: str) -> None:
    added = add(file, name="msd-vgg-1")
    added.path.with_suffix(".lock.json").write_text(lock)
    with pytest.raises(ModelError, match=r"lock .* cannot be read; remove it"):
        locate(VGG)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: Is a directory; check the path"):
        locate(VGG, path=tmp_path)


def test_a_cache_that_cannot_be_written_is_one_line_with_a_way_out(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(file))
    with pytest.raises(ModelError, match=r"cannot be written: .*; set EMBEDLIB_CACHE"):
        build(VGG)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text")  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x"]
    assert path.read_bytes() == b"old"
