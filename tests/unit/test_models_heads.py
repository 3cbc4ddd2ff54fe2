"""Heads: what one needs, which model it belongs to, and that its graph gives its predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedlib.engines.engine import GraphSpec
from embedlib.engines.load import load_engine
from embedlib.errors import (
    ConfigError,
    GraphRefusedError,
    HashMismatchError,
    ModelError,
    WeightsMissingError,
)
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.heads import head_file, head_url, locate_head
from embedlib.models.locks import keep_weights
from embedlib.models.registry import model_spec
from embedlib.models.store import weights_folder

MUSICNN = model_spec("msd-musicnn-1")
NAME = "mood_happy-msd-musicnn-1"
CLASSES = ["happy", "non_happy"]
KERNEL = np.random.default_rng(440).standard_normal((200, 2)).astype(np.float32)


def head_graph(*, input_shape: tuple[int, ...] = (-1, 200), op: str = "Softmax") -> bytes:
    writer = GraphWriter(scope="model")
    embeddings = writer.placeholder("Placeholder", shape=input_shape)
    if len(input_shape) == 3:
        flat = writer.const("flatten/shape", [-1, input_shape[-1]])
        embeddings = writer.op("Reshape", "flatten/Reshape", [embeddings, flat], Tshape="int32")
    kernel = writer.variable("dense/kernel", KERNEL[: input_shape[-1]])
    product = writer.op(
        "MatMul", "dense/MatMul", [embeddings, kernel], transpose_a=False, transpose_b=False
    )
    writer.op(op, "Softmax", [product])
    return writer.serialise()


def head_metadata(**changes: object) -> dict:
    outputs = [
        {"name": "model/dense/MatMul", "output_purpose": ""},
        {"name": "model/Softmax", "shape": [2], "output_purpose": "predictions"},
    ]
    return {
        "classes": CLASSES,
        # The length is wrong, as it is in one published file: the graph knows better.
        "schema": {"inputs": [{"name": "model/Placeholder", "shape": [1200]}], "outputs": outputs},
        "inference": {"embedding_model": {"model_name": "msd-musicnn-1"}},
    } | changes


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EMBEDLIB_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def write_head(folder: Path) -> Callable[..., Path]:
    def write(graph: bytes | None = None, metadata: dict | None = None) -> Path:
        path = folder / f"{NAME}.pb"
        path.write_bytes(head_graph() if graph is None else graph)
        path.with_suffix(".json").write_text(json.dumps(metadata or head_metadata()))
        return path

    return write


@pytest.mark.parametrize("input_shape", [(-1, 200), (-1, 1, 200)])
def test_a_head_gives_its_predictions(
    write_head: Callable[..., Path], rng: np.random.Generator, input_shape: tuple[int, ...]
) -> None:
    write_head(head_graph(input_shape=input_shape))
    head = locate_head(NAME, model=MUSICNN)
    spec = GraphSpec(head.path, head.input_node, (head.output_node,), head.input_shape, 4)
    embeddings = rng.standard_normal((4, 200), dtype=np.float32)
    (predictions,) = load_engine("openvino", spec)(embeddings.reshape(4, *head.input_shape))
    exponentials = np.exp(embeddings @ KERNEL)
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predictions, expected, rtol=1e-4)


def test_a_head_knows_its_nodes_and_classes(write_head: Callable[..., Path]) -> None:
    path = write_head()
    head = locate_head(NAME, model=MUSICNN)
    assert (head.name, head.path, head.embedding_model) == (NAME, path, "msd-musicnn-1")
    assert (head.input_node, head.input_shape) == ("model/Placeholder", (200,))
    assert (head.output_node, head.classes, head.n_values) == ("model/Softmax", tuple(CLASSES), 2)


def test_a_head_goes_with_the_untrained_stand_in_of_its_model(
    write_head: Callable[..., Path],
) -> None:
    write_head()
    untrained = replace(MUSICNN, name="untrained-msd-musicnn-1", untrained=True)
    assert locate_head(NAME, model=untrained).name == NAME


def test_a_missing_head_names_its_download() -> None:
    with pytest.raises(WeightsMissingError, match=f"head {NAME} is neither in") as caught:
        locate_head(NAME, model=MUSICNN)
    assert caught.value.fix == f"fetch it with `embedlib models pull {NAME} --trust-first`"


def test_a_missing_head_that_nobody_gives_out_is_to_be_brought() -> None:
    with pytest.raises(WeightsMissingError, match=r"put mine.pb and mine.json into a folder of"):
        locate_head("mine", model=MUSICNN)


def test_a_head_without_metadata_has_no_classes(write_head: Callable[..., Path]) -> None:
    write_head().with_suffix(".json").unlink()
    with pytest.raises(WeightsMissingError, match=rf"no {NAME}.json .* names its classes; fetch"):
        locate_head(NAME, model=MUSICNN)


def test_a_head_of_another_model_is_refused_with_both_names(
    write_head: Callable[..., Path],
) -> None:
    write_head()
    with pytest.raises(ConfigError, match=r"embeddings of msd-musicnn-1, not of msd-vgg-1"):
        locate_head(NAME, model=model_spec("msd-vgg-1"))


def test_a_head_for_another_length_is_refused_with_both_lengths(
    write_head: Callable[..., Path],
) -> None:
    write_head(head_graph(input_shape=(-1, 100)))
    with pytest.raises(ConfigError, match="takes 100 values, msd-musicnn-1 gives 200"):
        locate_head(NAME, model=MUSICNN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, "do not name classes"),
        ({"schema": {}}, "do not name an input and an output for predictions"),
        ({"inference": {}}, "do not name an embedding model"),
        ({"classes": ["a", "b", "c"]}, "gives 2 values, its metadata name 3 classes"),
        (
            {"schema": head_metadata()["schema"] | {"inputs": [{"name": "gone"}]}},
            "has no node 'gone', which its metadata name",
        ),
        (
            {"schema": head_metadata()["schema"] | {"inputs": [{"name": "gone:1"}]}},
            "has no node 'gone:1', which its metadata name",
        ),
    ],
)
def test_metadata_that_do_not_fit_the_graph_are_refused(
    write_head: Callable[..., Path], changes: dict, message: str
) -> None:
    write_head(metadata=head_metadata(**changes))
    with pytest.raises(ModelError, match=message) as caught:
        locate_head(NAME, model=MUSICNN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("input_shape", [(-1, 2, 200), (-1,), (-1, -1)])
def test_an_input_that_takes_no_embedding_is_refused(
    write_head: Callable[..., Path], input_shape: tuple[int, ...]
) -> None:
    writer = GraphWriter(scope="model")
    writer.op("Relu", "Softmax", [writer.placeholder("Placeholder", shape=input_shape)])
    write_head(writer.serialise())
    with pytest.raises(ModelError, match="not one embedding a row"):
        locate_head(NAME, model=MUSICNN)


def test_a_head_with_a_dangerous_op_is_refused(write_head: Callable[..., Path]) -> None:
    write_head(head_graph(op="WriteFile"))
    with pytest.raises(GraphRefusedError, match="WriteFile"):
        locate_head(NAME, model=MUSICNN)


def test_another_head_than_the_locked_one_is_refused(write_head: Callable[..., Path]) -> None:
    keep_weights(weights_folder() / f"{NAME}.pb", b"other", sha256="ab" * 32, source="test")
    write_head()
    with pytest.raises(HashMismatchError, match="expected abab"):
        locate_head(NAME, model=MUSICNN)


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a b", "-x", "ä"])
def test_a_name_that_is_a_path_names_no_head(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a head"):
        head_file(name)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("emomusic-msd-musicnn-1", "emomusic"),
        ("genre_dortmund-msd-vgg-1", "genre_dortmund"),
        ("gender-audioset-vggish-1", "gender"),
        ("mood_happy-openl3-music-mel128-emb512-1", "mood_happy"),
        ("danceability-discogs-effnet-1", "danceability"),
        ("approachability_2c-discogs-effnet-1", "approachability"),
        ("engagement_regression-discogs-effnet-1", "engagement"),
        ("genre_discogs519-discogs-maest-30s-pw-519l-1", "genre_discogs519"),
    ],
)
def test_the_url_of_a_head_follows_from_its_name(name: str, folder: str) -> None:
    assert head_url(name, base_url="heads") == f"heads/{folder}/{name}.pb"


@pytest.mark.parametrize(
    "name", ["msd-musicnn-1", "msd-musicnn-2", "mine", "emomusic-mymodel-1", "a/b-msd-musicnn-1"]
)
def test_other_names_have_no_url(name: str) -> None:
    assert head_url(name) is None
