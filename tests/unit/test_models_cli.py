"""The verbs of ``embedlib models``: one JSON object, tables for people, errors passed on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from embedlib.cli.models import app
from embedlib.errors import ConfigError, WeightsMissingError
from embedlib.models.registry import model_specs

VERBS = ["list", "info", "nodes", "build", "pull", "add", "verify"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMBEDLIB_MODELS", raising=False)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: str) -> dict:
    return json.loads(run(*arguments, "--json"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_gives_an_example(verb: str) -> None:
    assert f"Example: embedlib models {verb}" in " ".join(run(verb, "--help").split())


def test_list_names_every_model() -> None:
    listed = run_json("list")["models"]
    assert [model["name"] for model in listed] == [spec.name for spec in model_specs()]
    assert all(name in run("list") for name in (spec.name for spec in model_specs()))


def test_list_says_what_a_model_hears_gives_and_costs_to_get() -> None:
    columns = run("list").splitlines()[0].split("  ")
    musicnn = run_json("list")["models"][0]
    assert [title.strip() for title in columns if title.strip()] == [
        *("model", "dims", "front end", "Hz", "patch s", "hop s", "licence", "weights")
    ]
    assert (musicnn["n_dims"], musicnn["n_vectors"], musicnn["front_end"]) == (
        200,
        1,
        "musicnn-mel",
    )
    assert (musicnn["sr_hz"], musicnn["hop_s"]) == (16000, pytest.approx(1.488))
    assert musicnn["availability"] == "embedlib models pull msd-musicnn-1"


def test_list_shows_how_many_vectors_a_patch_gives() -> None:
    (row,) = (line for line in run("list").splitlines() if line.startswith("spleeter-5s-3"))
    assert "16x1280" in row.split()


def test_list_opens_no_weight_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "msd-vgg-1.pb").write_bytes(b"damaged")
    monkeypatch.setenv("EMBEDLIB_MODELS", str(tmp_path))
    listed = {model["name"]: model["availability"] for model in run_json("list")["models"]}
    assert listed["msd-vgg-1"] == str(tmp_path / "msd-vgg-1.pb")
    assert listed["msd-vgg-t200"] == "never published"


def test_info_says_what_a_user_needs_to_know() -> None:
    facts = run_json("info", "msd-musicnn-1")
    assert facts["outputs"]["embeddings"] == {
        "nodes": ["model/dense/BiasAdd"],
        "n_values": 200,
        "n_vectors": 1,
        "readout": "vector",
    }
    assert facts["receptive_field_s"] == pytest.approx(3.008)
    assert facts["licence"].startswith("CC BY-NC-SA 4.0")
    assert facts["weights"] is None
    assert "EMBEDLIB_MODELS" in facts["weights_problem"]
    assert "model/dense/BiasAdd" in run("info", "msd-musicnn-1")


def test_info_shows_which_filters_are_dead_and_says_where_there_is_nothing_to_see() -> None:
    assert "no graph to look into" in run("info", "msd-musicnn-1")
    assert "random weights have no dead ones" in run("info", "untrained-msd-vgg-1")
    built = run_json("build", "msd-vgg-1")
    run_json("add", built["path"], "--as", "msd-vgg-1")
    found = run_json("info", "msd-vgg-1")["filters"]
    assert [layer["n_filters"] for layer in found["layers"]] == [128] * 5
    assert {layer["n_dead"] for layer in found["layers"]} == {0}
    assert "none of 640 is dead" in run("info", "msd-vgg-1")


def test_info_names_the_variants_and_what_they_change() -> None:
    facts = run_json("info", "deepsquare-k16-3")
    assert facts["variants"]["paper"]["hop_frames"] == 16
    assert "paper: (hop_frames: 16" in run("info", "deepsquare-k16-3")


def test_info_of_an_untrained_model_builds_nothing(tmp_path: Path) -> None:
    assert run_json("info", "untrained-msd-vgg-1")["untrained"] is True
    assert not (tmp_path / "cache").exists()


def test_a_built_graph_can_be_listed_added_and_verified() -> None:
    built = run_json("build", "msd-vgg-1", "--seed", "2")
    nodes = run_json("nodes", built["path"])["nodes"]
    added = run_json("add", built["path"], "--as", "msd-vgg-1")
    assert built["untrained"] is True
    assert {"name": "model/Sigmoid", "op": "Sigmoid", "shape": [None, 50], "dtype": "float32"} in (
        nodes
    )
    assert added["sha256"] == built["sha256"]
    assert run_json("info", "msd-vgg-1")["weights"] == added["path"]
    assert run_json("verify")["n_bad"] == 0


def test_tables_for_people_show_unknown_lengths() -> None:
    path = run("build", "msd-vgg-1").split()[0]
    assert "?x187x96" in run("nodes", path)
    assert "0 of 1 files have changed" in run("verify")


def test_build_always_writes() -> None:
    Path(run_json("build", "msd-vgg-1")["path"]).write_bytes(b"changed")
    run_json("build", "msd-vgg-1")
    assert run_json("verify")["n_bad"] == 0


def test_verify_ends_with_1_when_a_file_has_changed() -> None:
    Path(run_json("build", "msd-vgg-1")["path"]).write_bytes(b"changed")
    result = CliRunner().invoke(app, ["verify", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["n_bad"] == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["info", "msd-musicn-1"], ConfigError),
        (["nodes", "gone.pb"], WeightsMissingError),
        (["pull", "msd-vgg-1"], ConfigError),
        (["pull", "emomusic-msd-vgg-1"], ConfigError),
        (["pull", "emomusic-msd-vg-1"], ConfigError),
        (["build", "audioset-yamnet-1"], ConfigError),
        (["pull", "msd-vgg-t200"], WeightsMissingError),
    ],
)
def test_errors_are_left_to_the_command(arguments: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_the_verbs_load_no_heavy_library_before_they_run() -> None:
    code = (
        "import sys, embedlib.cli.models\n"
        "heavy = {'numpy', 'pyarrow', 'pydantic', 'ray', 'scipy', 'tensorboardX'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
