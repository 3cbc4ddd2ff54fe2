"""Damaged files by the hundred through whole runs; ten thousand of them in the slow tier."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import embedlib

ROOT = Path(__file__).parents[2]
N_FILES = 300
ONE = ("untrained-deepsquare-k16-3",)
TWO = (*ONE, "untrained-msd-vgg-1")

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("fuzz")


@pytest.fixture(scope="module")
def run(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Feed the same damaged files to a run."""
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz.write_files(folder / "files", n_files=N_FILES, seed=0)

    def start(name: str, **options: object) -> Any:
        return fuzz.fuzz(folder / "files", folder / name, **options)

    return start


@pytest.fixture(scope="module")
def local(run: Run) -> Any:
    """A run in one process."""
    return run("local", models=ONE, is_local=True)


def test_damaged_files_end_with_a_status_each_and_leave_nothing(
    fuzz: ModuleType, local: Any
) -> None:
    assert list(fuzz.broken_promises(local, n_files=N_FILES)) == []
    assert local.watched.stderr == ""


def test_through_ray_they_end_likewise_and_no_worker_outlives_the_run(
    fuzz: ModuleType, run: Run, local: Any
) -> None:
    through_ray = run("ray", models=ONE)
    assert list(fuzz.broken_promises(through_ray, n_files=N_FILES)) == []
    assert "model workers" in through_ray.watched.peak_bytes
    assert embedlib.diff(through_ray.out, local.out).differences == ()


@pytest.mark.slow
@pytest.mark.parametrize("models", [ONE, TWO], ids=["one model", "two models and decoders"])
def test_workers_killed_at_random_change_no_row(
    fuzz: ModuleType, run: Run, models: tuple[str, ...]
) -> None:
    calm = run(f"calm-{len(models)}", models=models, is_local=True)
    killed = run(f"killed-{len(models)}", models=models, kill_seed=0)
    assert list(fuzz.broken_promises(killed, n_files=N_FILES)) == []
    assert killed.watched.n_killed >= 2
    assert embedlib.diff(killed.out, calm.out).differences == ()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"exit_code": 1, "stderr": "a\nerror: b\n"}, "the run ended with code 1: error: b"),
        ({"outlived": ("ray::ModelActor",)}, "still there: ray::ModelActor"),
        ({"left": ("embedlib-x.mp3",)}, "left in the temporary folder: embedlib-x.mp3"),
        ({"stderr": "RuntimeWarning: overflow"}, "stderr has a Warning"),
        ({"peak_bytes": {"driver": 2 << 30}}, "driver held 2048 MiB, more than 1024"),
    ],
)
def test_a_run_that_misbehaves_is_told(
    fuzz: ModuleType, local: Any, change: dict[str, Any], line: str
) -> None:
    watched = replace(local.watched, **change)
    assert list(fuzz.broken_promises(replace(local, watched=watched), n_files=N_FILES)) == [line]


def test_a_row_too_few_is_told(fuzz: ModuleType, local: Any) -> None:
    lines = list(fuzz.broken_promises(local, n_files=N_FILES + 1))
    assert lines == [f"{ONE[0]} has {N_FILES} rows of {N_FILES + 1} files"]


def test_the_recipe_of_a_file_is_one_line_of_json(fuzz: ModuleType) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / "fuzz.py", "--recipe", "7"],
        capture_output=True,
        text=True,
        check=True,
    )
    recipe = fuzz.draw_recipe(0, 7, contents=fuzz.sound_files())
    assert json.loads(done.stdout) == {**asdict(recipe), "numbers": list(recipe.numbers)}


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_ten_thousand_damaged_files_twice_the_second_time_with_workers_killed() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / "fuzz.py", "--files", "10000", "--kill"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "10000 files" in done.stdout
