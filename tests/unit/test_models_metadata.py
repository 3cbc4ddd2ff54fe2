"""Metadata beside weights: what is read, what contradicts a spec, what is only odd."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.errors import ModelError
from embedlib.models.metadata import (
    MAX_BYTES,
    Metadata,
    check_metadata,
    find_outputs,
    parse_metadata,
    read_metadata,
)
from embedlib.models.registry import model_spec
from embedlib.models.spec import Output

MUSICNN = model_spec("msd-musicnn-1")

# As the authors wrote it for msd-musicnn-1, without its prose.
PUBLISHED = {
    "name": "MSD MusiCNN",
    "version": "1",
    "classes": ["rock", "pop"],
    "schema": {
        "inputs": [{"name": "model/Placeholder", "type": "float", "shape": [187, 96]}],
        "outputs": [
            {"name": "model/Sigmoid", "shape": [1, 50], "output_purpose": "predictions"},
            {"name": "model/dense_1/BiasAdd", "shape": [1, 50], "output_purpose": ""},
            {"name": "model/dense/BiasAdd", "shape": [1, 200], "output_purpose": "embeddings"},
        ],
    },
    "inference": {"sample_rate": 16000, "algorithm": "TensorflowPredictMusiCNN"},
}


def parsed(document: object) -> Metadata:
    return parse_metadata(json.dumps(document).encode(), origin="m.json")


def check(document: object, **changes: object) -> None:
    check_metadata(replace(MUSICNN, **changes), parsed(document), origin="m.json")


def with_input(**info: object) -> dict:
    return {"schema": {"inputs": [info]}}


def with_output(**info: object) -> dict:
    return {"schema": {"outputs": [{"output_purpose": "embeddings"} | info]}}


def test_what_the_authors_wrote_of_musicnn_is_what_the_spec_says() -> None:
    check(PUBLISHED)
    assert parsed(PUBLISHED).classes == ("rock", "pop")


def test_no_file_is_no_fault(tmp_path: Path) -> None:
    assert read_metadata(tmp_path / "model.pb") is None
    assert read_metadata(tmp_path / "gone" / "model.pb") is None


def test_the_file_lies_beside_the_weights_under_their_stem(tmp_path: Path) -> None:
    (tmp_path / "model-1.json").write_text(json.dumps(PUBLISHED))
    assert read_metadata(tmp_path / "model-1.pb") == parsed(PUBLISHED)
    assert read_metadata(tmp_path / "model-1.onnx") == parsed(PUBLISHED)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"inference": {"sample_rate": 11025}}, "the sampling rate 11025.0, .* has 16000"),
        (with_input(name="melspectrogram"), "'melspectrogram', .* has 'model/Placeholder'"),
        (
            with_input(name="model/Placeholder", shape=[96, 187]),
            r"input shape \[96, 187\], .* has \[187, 96\]",
        ),
        (with_output(name="model/dense_1/BiasAdd"), "'model/dense_1/.*, .* has 'model/dense/"),
        (
            with_output(name="model/dense/BiasAdd", shape=[1, 753]),
            r"embeddings shape \[1, 753\], .* has \[200\]",
        ),
        (
            with_output(name="model/dense/BiasAdd:1"),
            "'model/dense/BiasAdd:1', .* has 'model/dense/BiasAdd'",
        ),
        (
            {"schema": {"outputs": [{"name": "x", "output_purpose": "predictions"}]}},
            "activations node 'x', .* has 'model/Sigmoid'",
        ),
    ],
)
def test_a_contradiction_names_the_file_and_both_values(document: dict, message: str) -> None:
    with pytest.raises(ModelError, match=f"^m.json gives .*{message}") as caught:
        check(document)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"schema": {}},
        {"schema": {"inputs": [{}], "outputs": [{}]}},
        {"inference": {"sample_rate": None}},
        with_input(shape=[1, 2, 3]),
        with_output(shape=[1, 2, 3]),
        with_output(name="model/dense/BiasAdd", shape=None),
    ],
)
def test_what_is_missing_is_no_contradiction(document: dict) -> None:
    check(document)


@pytest.mark.parametrize(
    "shape",
    [[187, 96], [1, 187, 96], [64, 187, 96], ["batch_size", 187, 96], [-1, 187, 96], [187, 96, 1]],
)
def test_a_batch_axis_and_axes_of_length_one_may_be_written_or_not(shape: list) -> None:
    check(with_input(name="model/Placeholder", shape=shape))


def test_a_length_that_is_known_at_run_time_only_fits_any() -> None:
    check(with_input(name="model/Placeholder", shape=[None, "frames", 96]))
    check(with_output(name="model/dense/BiasAdd", shape=["batch_size", None]))


def test_a_node_may_be_written_with_its_first_port() -> None:
    check(with_output(name="model/dense/BiasAdd:0"))


def test_of_several_outputs_of_a_purpose_the_spec_may_take_any() -> None:
    names = ["block/Identity_6", "model/dense/BiasAdd", "block/Identity_8"]
    outputs = [{"name": name, "output_purpose": "embeddings"} for name in names]
    check({"schema": {"outputs": outputs}})


def test_a_tensor_inside_of_the_graph_is_not_compared() -> None:
    inner = (Output("embeddings", ("input of model/dense/BiasAdd",), 200),)
    check(with_input(name="waveform", shape=[2]), input_node="input of conv2d/Conv2D")
    check(with_output(name="model/logits"), outputs=inner)


def test_one_of_several_nodes_is_not_held_against_the_length_of_the_whole() -> None:
    stems = (Output("embeddings", ("conv2d_5/BiasAdd", "conv2d_12/BiasAdd"), 1280),)
    check(with_output(name="conv2d_5/BiasAdd", shape=[1, 8, 16, 512]), outputs=stems)


def test_a_model_without_classes_may_say_so_with_an_empty_text() -> None:
    assert parsed({"classes": ""}).classes == ()
    assert parsed({"classes": None}).classes == ()


def test_outputs_without_a_name_serve_no_purpose() -> None:
    outputs = [{"output_purpose": "predictions"}, {"name": "a", "output_purpose": "predictions"}]
    found = find_outputs(parsed({"schema": {"outputs": outputs}}), purpose="predictions")
    assert [info.name for info in found] == ["a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "the file: Invalid JSON"),
        (b"", "the file: Invalid JSON"),
        (b"[]", "the file: "),
        (b'{"classes": "rock"}', "classes: "),
        (b'{"classes": [1]}', r"classes\.0: "),
        (b'{"schema": {"inputs": [{"shape": 187}]}}', r"schema\.inputs\.0\.shape: "),
        (b'{"inference": {"sample_rate": "fast"}}', r"inference\.sample_rate: "),
        (b"[" * 100_000, "the file: Invalid JSON"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=f"^m.json is damaged: {message}") as caught:
        parse_metadata(data, origin="m.json")
    assert "\n" not in str(caught.value)


def test_a_file_beyond_all_measure_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(ModelError, match=r"model.json is larger than 1048576 bytes"):
        read_metadata(tmp_path / "model.pb")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.json").mkdir()
    with pytest.raises(ModelError, match=r"model.json cannot be read: Is a directory"):
        read_metadata(tmp_path / "model.pb")
