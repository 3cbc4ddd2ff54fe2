"""A model from a package of its own: the example of CONTRIBUTING.md, as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import embedlib

Run = Callable[..., subprocess.CompletedProcess[str]]

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
MODULE = "example_model.py"
GROUP = "embedlib.models"
NAME = "example-1"


def block(language: str, *, containing: str) -> str:
    """Give the one code block that holds a line."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = (each for each in blocks if containing in each.splitlines())
    return str(found)


def entry_points() -> dict[str, str]:
    project = tomllib.loads(block("toml", containing=f'[project.entry-points."{GROUP}"]'))
    return project["project"]["entry-points"][GROUP]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as an installer would leave it there."""
    folder = tmp_path_factory.mktemp("site")
    facts = folder / "example_model-1.0.dist-info"
    facts.mkdir()
    (folder / MODULE).write_text(block("python", containing=f"# {MODULE}"))
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: example-model\nVersion: 1.0\n")
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in entry_points().items())]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    return folder


def runner(environment: dict[str, str], site: Path) -> Run:
    """Make what runs the command with another folder of packages."""
    folders = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "embedlib.cli.app", *map(str, arguments)],
            env=environment | {"PYTHONPATH": folders},
            capture_output=True,
            text=True,
            timeout=90,
        )

    return run


@pytest.fixture(scope="module")
def run(environment: dict[str, str], site: Path) -> Run:
    return runner(environment, site)


def test_a_package_brings_its_model_into_the_list(run: Run) -> None:
    done = run("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    (listed,) = (each for each in json.loads(done.stdout)["models"] if each["name"] == NAME)
    assert (listed["n_dims"], listed["front_end"]) == (32, "vggish-mel")
    assert listed["can_be_built"]


def test_the_graph_of_a_package_has_the_parameters_that_it_promises(run: Run) -> None:
    done = run("models", "build", NAME, "--json")
    assert done.returncode == 0, done.stderr
    path = json.loads(done.stdout)["path"]
    nodes = json.loads(run("models", "nodes", path, "--json").stdout)["nodes"]
    shapes = {node["name"]: node["shape"] for node in nodes}
    assert (shapes["dense/kernel"], shapes["dense/bias"]) == ([64, 32], [32])


def test_a_model_of_a_package_runs_beside_one_of_ours(
    run: Run, mixed_clips: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "out", f"untrained-{NAME}"
    done = run(
        *("extract", mixed_clips, "--models", NAME, "untrained-msd-musicnn-1"),
        *("--allow-untrained", "--local", "--quiet", "--json", "--max-failed", "9", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    # 13 s are 1298 frames; patches of 64 start every 32.
    rows = embedlib.open(out).tracks(table).to_arrow(["track_id", "n_patches"]).to_pylist()
    assert {row["track_id"]: row["n_patches"] for row in rows}["long.wav"] == 39
    assert embedlib.open(out).patches(table).to_numpy().shape[1] == 32
    assert json.loads(done.stdout)["decoding_saved"]["decodes"] == 4
    assert embedlib.verify(out).problems == ()


def test_a_package_that_cannot_be_loaded_is_one_line_that_names_it(
    environment: dict[str, str], site: Path, tmp_path: Path
) -> None:
    facts = tmp_path / "example_model-1.0.dist-info"
    facts.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (facts / name).write_text((site / facts.name / name).read_text())
    done = runner(environment, tmp_path)("models", "list")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "example_model:EXAMPLE" in line
    assert "example-model cannot be loaded (ModuleNotFoundError" in line
