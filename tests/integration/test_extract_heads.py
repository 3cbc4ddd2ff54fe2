"""Classification heads in a run: predictions beside embeddings, with the names of their classes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import embedlib
from embedlib.errors import ConfigError, FingerprintError, WeightsMissingError
from embedlib.models.cache import add
from embedlib.models.graph_writer import GraphWriter
from embedlib.records import Float32

MODEL, OTHER = "untrained-msd-musicnn-1", "untrained-msd-vgg-1"
HEAD = "moods-msd-musicnn-1"
CLASSES = ("sad", "calm", "glad")


class Weights(NamedTuple):
    """Of a dense layer: (200, 3) and (3,)."""

    kernel: Float32
    bias: Float32


def head_graph(weights: Weights) -> bytes:
    writer = GraphWriter(scope="model")
    embeddings = writer.placeholder("Placeholder", shape=(-1, len(weights.kernel)))
    kernel = writer.variable("model/dense/kernel", weights.kernel)
    bias = writer.variable("model/dense/bias", weights.bias)
    product = writer.op(
        "MatMul", "dense/MatMul", [embeddings, kernel], transpose_a=False, transpose_b=False
    )
    writer.op("Softmax", "Softmax", [writer.op("BiasAdd", "dense/BiasAdd", [product, bias])])
    return writer.serialise()


def head_metadata() -> str:
    outputs = [{"name": "model/Softmax", "shape": [3], "output_purpose": "predictions"}]
    return json.dumps(
        {
            "classes": CLASSES,
            "schema": {"inputs": [{"name": "model/Placeholder"}], "outputs": outputs},
            "inference": {"embedding_model": {"model_name": "msd-musicnn-1"}},
        }
    )


@pytest.fixture(scope="module")
def weights(
    in_this_process: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Weights:
    """Those of a head that lies in a folder of EMBEDLIB_MODELS, and is locked in the cache."""
    rng = np.random.default_rng(440)
    # Small enough that no class takes it all.
    kernel = 0.01 * rng.standard_normal((200, 3), dtype=np.float32)
    made = Weights(kernel, rng.standard_normal(3, dtype=np.float32))
    folder = tmp_path_factory.mktemp("heads")
    (folder / f"{HEAD}.pb").write_bytes(head_graph(made))
    (folder / f"{HEAD}.json").write_text(head_metadata())
    folders = [str(folder), *filter(None, [os.environ.get("EMBEDLIB_MODELS")])]
    in_this_process.setenv("EMBEDLIB_MODELS", os.pathsep.join(folders))
    add(folder / f"{HEAD}.pb", name=HEAD)
    return made


@pytest.fixture(scope="module")
def out(weights: Weights, mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, one of which has a head."""
    folder = tmp_path_factory.mktemp("with-head") / "out"
    embedlib.extract(
        [str(mixed_clips)], models=[MODEL, OTHER], out=folder, heads=[HEAD], local=True
    )
    return folder


def test_predictions_are_what_numpy_makes_of_the_embeddings(out: Path, weights: Weights) -> None:
    patches = embedlib.open(out).patches(MODEL)
    logits = patches.to_numpy().astype(np.float64) @ weights.kernel + weights.bias
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(patches.to_numpy(HEAD), expected, atol=1e-5)
    assert expected.std(axis=0).min() > 1e-3, "predictions that hardly differ prove nothing"


def test_the_prediction_of_a_track_is_the_mean_over_its_patches(out: Path) -> None:
    rows = embedlib.open(out).tracks(MODEL).to_arrow([HEAD, f"patch_{HEAD}"]).to_pylist()
    kept = [row for row in rows if row[HEAD] is not None]
    assert len(kept) == 4
    for row in kept:
        np.testing.assert_allclose(row[HEAD], np.mean(row[f"patch_{HEAD}"], axis=0), rtol=1e-5)


def test_names_of_classes_are_read_from_the_table(out: Path) -> None:
    reader = embedlib.open(out)
    assert reader.tracks(MODEL).classes(HEAD) == CLASSES
    assert reader.patches(MODEL).classes(HEAD) == CLASSES


def test_a_head_belongs_to_the_table_of_its_model_alone(out: Path) -> None:
    columns = {name: embedlib.open(out).tracks(name).manifest.columns for name in (MODEL, OTHER)}
    assert [column.head for column in columns[MODEL]] == [HEAD]
    assert columns[OTHER] == ()


def test_an_output_with_a_head_verifies(out: Path) -> None:
    assert embedlib.verify(out).problems == ()


def test_a_table_without_a_head_takes_none_later(
    weights: Weights, mixed_clips: Path, tmp_path: Path
) -> None:
    arguments = {"models": [OTHER, MODEL], "out": tmp_path / "out", "local": True}
    source = str(mixed_clips / "short.flac")
    embedlib.extract([source], **arguments)
    with pytest.raises(FingerprintError, match=rf"columns\.{HEAD}=absent \(now 3 values of"):
        embedlib.extract([source], **arguments, heads=[HEAD])


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("models", "options", "error", "words"),
    [
        ([OTHER], {"heads": [HEAD]}, ConfigError, "of msd-musicnn-1, not of msd-vgg-1; name the"),
        (
            [MODEL],
            {"heads": ["mood_sad-msd-musicnn-1"]},
            WeightsMissingError,
            "embedlib models pull mood_sad-msd-musicnn-1",
        ),
        (
            [f"{MODEL}:node=model/dense_1/BiasAdd"],
            {"heads": [HEAD]},
            ConfigError,
            "not what its node model/dense_1/BiasAdd gives; leave",
        ),
    ],
    ids=["of another model", "missing", "another node"],
)
def test_a_head_that_cannot_be_is_one_line_before_anything_is_written(
    mixed_clips: Path,
    tmp_path: Path,
    models: list[str],
    options: dict[str, list[str]],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words) as refused:
        embedlib.extract(
            [str(mixed_clips)], models=models, out=tmp_path / "out", local=True, **options
        )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()
