"""Weight files run only on somebody's word, and nothing that is read can run code."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedlib
from embedlib.config import extract_config
from embedlib.errors import (
    ConfigError,
    GraphRefusedError,
    HashMismatchError,
    UnverifiedWeightsError,
)
from embedlib.models.builder import build_untrained
from embedlib.models.cache import add
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.heads import Head, locate_head
from embedlib.models.registry import model_spec
from embedlib.models.store import build, locate, weights_folder
from embedlib.models.trust import Trust, require_trust
from embedlib.run.prepare import model_job
from embedlib.run.resolve import Prepared, prepare_models

NAME = "msd-vgg-1"
HEAD = "mine-msd-vgg-1"
VGG = model_spec(NAME)
GRAPH = build_untrained(VGG)
PACKAGE = Path(embedlib.__file__).parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of EMBEDLIB_MODELS with weights that nobody has vouched for."""
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EMBEDLIB_MODELS", str(tmp_path))
    (tmp_path / f"{NAME}.pb").write_bytes(GRAPH)
    return tmp_path


@pytest.fixture
def head(folder: Path) -> Path:
    """A head of that model, of which nobody has said anything either."""
    writer = GraphWriter(scope="model")
    embeddings = writer.placeholder("Placeholder", shape=(-1, VGG.n_dims))
    kernel = writer.variable("dense/kernel", np.zeros((VGG.n_dims, 2), np.float32))
    product = writer.op(
        "MatMul", "dense/MatMul", [embeddings, kernel], transpose_a=False, transpose_b=False
    )
    writer.op("Softmax", "Softmax", [product])
    path = folder / f"{HEAD}.pb"
    path.write_bytes(writer.serialise())
    metadata = {
        "classes": ["yes", "no"],
        "schema": {
            "inputs": [{"name": "model/Placeholder"}],
            "outputs": [{"name": "model/Softmax", "output_purpose": "predictions"}],
        },
        "inference": {"embedding_model": {"model_name": NAME}},
    }
    path.with_suffix(".json").write_text(json.dumps(metadata))
    return path


def prepared(model: str = NAME, **options: Any) -> Prepared:
    values = {"sources": ["music"], "models": [model], "out": "OUT", **options}
    (found,) = prepare_models(extract_config(values))
    return found


def test_weights_that_nobody_knows_are_not_run_and_the_error_names_the_ways_out(
    folder: Path,
) -> None:
    with pytest.raises(UnverifiedWeightsError) as caught:
        prepared()
    assert f"sha256 {locate(VGG).sha256}" in str(caught.value)
    assert f"embedlib models add {folder}/{NAME}.pb --as {NAME}" in caught.value.fix
    assert f"--allow-unverified {NAME}" in caught.value.fix


def test_a_stand_in_does_not_take_their_place() -> None:
    with pytest.raises(UnverifiedWeightsError):
        prepared(allow_untrained=True)


def test_weights_that_are_given_by_path_need_the_same_word(folder: Path) -> None:
    with pytest.raises(UnverifiedWeightsError):
        prepared(weights=str(folder / f"{NAME}.pb"))
    with pytest.raises(UnverifiedWeightsError):
        prepared(f"{NAME}:weights={folder}/{NAME}.pb")


def test_they_run_for_one_who_says_their_name_and_the_table_remembers_it() -> None:
    model = prepared(allow_unverified=[NAME])
    assert dict(model_job(model, folder=Path()).provenance)["weights"] == "unverified"
    with pytest.raises(UnverifiedWeightsError):
        prepared(allow_unverified=["msd-musicnn-1"])


def test_they_run_once_they_are_added(folder: Path) -> None:
    add(folder / f"{NAME}.pb", name=NAME)
    model = prepared()
    assert model.file.trust is Trust.LOCKED
    assert dict(model_job(model, folder=Path()).provenance)["weights"] == "locked"


def test_a_known_hash_is_not_overruled(folder: Path) -> None:
    add(folder / f"{NAME}.pb", name=NAME)
    (folder / f"{NAME}.pb").write_bytes(build_untrained(VGG, seed=1))
    (folder / "msd-musicnn-1.pb").write_bytes(build_untrained(model_spec("msd-musicnn-1")))
    for name in (NAME, "msd-musicnn-1"):
        with pytest.raises(HashMismatchError):
            prepared(name, allow_unverified=[name])


def test_the_word_of_the_user_does_not_open_the_allow_list(folder: Path) -> None:
    writer = GraphWriter(scope="model")
    writer.op("WriteFile", "evil", [writer.placeholder("Placeholder", shape=[-1, 187, 96])])
    (folder / f"{NAME}.pb").write_bytes(writer.serialise())
    with pytest.raises(GraphRefusedError, match="WriteFile"):
        prepared(allow_unverified=[NAME])
    with pytest.raises(GraphRefusedError, match="WriteFile"):
        add(folder / f"{NAME}.pb", name=NAME)


def test_a_head_needs_a_word_of_its_own(folder: Path, head: Path) -> None:
    with pytest.raises(UnverifiedWeightsError, match=f"the weights of {HEAD}"):
        prepared(allow_unverified=[NAME], heads=[HEAD])
    model = prepared(allow_unverified=[NAME, HEAD], heads=[HEAD])
    assert dict(model_job(model, folder=Path()).provenance)[f"weights.{HEAD}"] == "unverified"


def test_a_head_is_added_as_a_model_is(folder: Path, head: Path) -> None:
    added = add(head, name=HEAD)
    assert isinstance(added, Head)
    assert added.trust is Trust.LOCKED
    assert locate_head(HEAD, model=VGG).trust is Trust.LOCKED
    assert (weights_folder() / f"{HEAD}.json").is_file()
    head.write_bytes(head.read_bytes() + b"\x00")
    with pytest.raises(HashMismatchError):
        add(head, name=HEAD)


def test_a_head_cannot_be_added_as_a_path(head: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a head"):
        add(head, name="../evil")


def test_what_is_built_here_and_what_is_pinned_needs_no_word(folder: Path) -> None:
    assert build(VGG).trust is Trust.BUILT
    sha256 = locate(VGG).sha256
    pinned = replace(VGG, weights=replace(VGG.weights, sha256=sha256))
    assert locate(pinned).trust is Trust.PINNED
    for trust in (Trust.BUILT, Trust.PINNED, Trust.LOCKED):
        require_trust(trust, name=NAME, path=folder, sha256=sha256, accepted=())


def test_one_file_is_embedded_with_unverified_weights_by_name(rng: np.random.Generator) -> None:
    y = rng.standard_normal(16_000 * 4).astype(np.float32) / 10
    with pytest.raises(UnverifiedWeightsError):
        embedlib.embed(y, sr=16_000, model=NAME)
    assert embedlib.embed(y, sr=16_000, model=NAME, allow_unverified=[NAME]).shape[1] == VGG.n_dims


# Nothing that is read can run code

FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads"),
    *("marshal.load", "marshal.loads", "shelve.open", "joblib.load", "torch.load"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"),
    *("os.system", "os.popen", "subprocess.getoutput", "shutil.unpack_archive"),
}
FLAGS = ("shell", "allow_pickle")
OWN_PIPE = {("run/poison.py", "pickle.load")}
"""The child that looks for a poisonous track reads its errand from the process that started it."""


def is_dangerous(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    flags = {f"{flag.arg}={ast.unparse(flag.value)}" for flag in call.keywords if flag.arg in FLAGS}
    return (
        name in FORBIDDEN
        or name.endswith(".extractall")
        or not flags <= {f"{flag}=False" for flag in FLAGS}
        or (name == "np.load" and not flags)
    )


def dangers(source: str) -> list[str]:
    nodes = list(ast.walk(ast.parse(source)))
    imports = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    named = [ast.unparse(call.func) for call in calls if is_dangerous(call)]
    return [*named, *sorted(map(str, imports & {"pickle", "marshal", "shelve", "cloudpickle"}))]


@pytest.mark.parametrize(
    "source",
    [
        "pickle.loads(data)",
        "yaml.load(text)",
        "eval(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "torch.load(path)",
        "from pickle import loads",
    ],
)
def test_the_look_at_the_source_finds_what_it_looks_for(source: str) -> None:
    assert dangers(source)


def test_nothing_that_is_read_can_run_code() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in dangers(path.read_text(encoding="utf-8"))
    }
    assert found == OWN_PIPE
