"""What holds for every job, and for every file of configs."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import embedlib
from embedlib.audio.synth import synthesise_catalogue
from embedlib.config import extract_config, read_config
from embedlib.probes.settings import sweep_config
from embedlib.tasks.registry import read_task

ROOT = Path(__file__).parents[2]
JOBS = [path for path in sorted((ROOT / "jobs").glob("*.py")) if "__main__" in path.read_text()]
RUNS = sorted((ROOT / "configs" / "runs").glob("*.yaml"))
SWEEPS = sorted((ROOT / "configs" / "probes").glob("*[!k].yaml"))
OWN_TASKS = sorted((ROOT / "configs" / "probes").glob("*-task.yaml"))
BENCHES = sorted((ROOT / "configs" / "bench").glob("*.yaml"))

Ended = subprocess.CompletedProcess[str]

EXTRACT = {
    "the job": [sys.executable, str(ROOT / "jobs" / "extract.py")],
    "the command": [sys.executable, "-m", "embedlib.cli.app", "extract"],
}


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[path.name for path in paths])


@named(RUNS)
def test_a_run_file_is_a_whole_configuration(path: Path) -> None:
    extract_config(read_config(path), origin=str(path))


@named(SWEEPS)
def test_a_sweep_file_is_a_whole_configuration(path: Path) -> None:
    sweep_config(read_config(path), origin=str(path))


@named(OWN_TASKS)
def test_a_task_file_is_a_whole_task(path: Path) -> None:
    assert read_task(path).classes


@pytest.mark.parametrize(
    ("path", "verb"),
    [(path, "embedlib extract") for path in RUNS + BENCHES]
    + [(path, "embedlib probe sweep") for path in SWEEPS]
    + [(path, "embedlib tasks check") for path in OWN_TASKS],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_configuration_opens_with_its_purpose_and_a_command_line(path: Path, verb: str) -> None:
    lines = path.read_text().split("\n\n")[0].splitlines()
    assert all(line.startswith("#") for line in lines)
    assert any(verb in line or "jobs/" in line for line in lines[1:])


@pytest.mark.parametrize("is_short", [False, True], ids=["whole", "short"])
@named(BENCHES)
def test_the_limits_of_a_benchmark_are_on_figures_that_it_measures(
    path: Path, is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    verb = importlib.import_module(f"bench_{path.stem}")
    values = read_config(path)
    short = values.pop("short")
    config = verb.bench_config(values | (short if is_short else {}), origin=str(path))
    limits = {**getattr(config, "floors", {}), **getattr(config, "ceilings", {})}
    assert limits
    assert limits.keys() <= verb.figure_names()


@named(JOBS)
def test_a_job_says_how_it_is_run(path: Path) -> None:
    assert f"python jobs/{path.name} " in (ast.get_docstring(ast.parse(path.read_text())) or "")


def test_the_readme_of_jobs_names_every_job_for_users() -> None:
    text = (ROOT / "jobs" / "README.md").read_text()
    users = [path.name for path in JOBS if not path.name.startswith("bench_")]
    assert [name for name in users if f"`{name}`" not in text] == []


@pytest.fixture(scope="module")
def outputs(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Ended]:
    """The smoke run by both ways, over the clips that the demo would have made."""
    folder = tmp_path_factory.mktemp("smoke")
    synthesise_catalogue(folder / "demo" / "clips", n_clips=3)
    arguments = ["--config", str(ROOT / "configs" / "runs" / "smoke.yaml"), "--local", "--out"]
    return {
        way: subprocess.run(
            [*command, *arguments, str(folder / way)],
            cwd=folder,
            env={**os.environ, "EMBEDLIB_CACHE": str(folder / "cache")},
            capture_output=True,
            text=True,
        )
        for way, command in EXTRACT.items()
    }


@pytest.mark.parametrize("way", EXTRACT)
def test_the_smoke_run_works_without_a_download(outputs: dict[str, Ended], way: str) -> None:
    assert outputs[way].returncode == 0, outputs[way].stderr
    assert "7 rows" in outputs[way].stdout


def test_the_job_and_the_command_write_the_same_tables(
    outputs: dict[str, Ended],
) -> None:
    folders = [Path(outputs[way].args[-1]) for way in EXTRACT]
    assert not embedlib.diff(*folders).differences


@pytest.mark.parametrize("way", EXTRACT)
def test_a_wrong_key_is_named_and_nothing_runs(way: str, tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("sources: [a]\nmodels: [m]\nout: o\nmodel: typo\n")
    ended = subprocess.run(
        [*EXTRACT[way], "--config", config], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "unknown key 'model'" in ended.stderr
    assert list(tmp_path.iterdir()) == [config]
