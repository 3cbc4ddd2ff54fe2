"""Ray's side of a run: killed workers, causes that do not go away, a caller with a loop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import embedlib

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]
ActorsOf = Callable[[subprocess.Popen[str], str], list[psutil.Process]]

MODEL = "untrained-msd-musicnn-1"

# Both ways of a shard: a worker that decodes for itself, and decoders that feed two models.
MODELS = {"one": (MODEL,), "two": (MODEL, "untrained-msd-vgg-1")}

# Workers that take their process with them, put in where the driver looks for the real ones; the
# classes are pickled whole because they belong to the main module.
CRASHING = """
import os
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
from embedlib.cli.app import main
from embedlib.run import ray_backend

class CrashingModel(ray_backend.ModelActor):
    def extract(self, *_):
        os._exit(1)

class CrashingDecoder(ray_backend.DecodeActor):
    def decode(self, *_):
        os._exit(1)
        yield

ray_backend.ModelActor, ray_backend.DecodeActor = CrashingModel, CrashingDecoder
main()
"""

IN_A_LOOP = """
import asyncio, sys
import embedlib

async def cell():
    return embedlib.extract(
        [sys.argv[1]], models=["untrained-msd-musicnn-1"], out=sys.argv[2],
        patch_hop_frames=24, n_cores=1, shard_hours=1e-9,
    )

print(asyncio.run(cell()).n_rows)
"""


def arguments(clips: Path, out: Path, models: tuple[str, ...]) -> tuple[object, ...]:
    options = ("--max-failed", "9", "--shard-hours", "1e-9", "--quiet", "--json")
    return ("extract", clips, "--models", *models, "--out", out, *options)


# The kill matrix has cells of two models in the default tier.
@pytest.fixture(scope="module", params=["one", pytest.param("two", marks=pytest.mark.slow)])
def models(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return MODELS[request.param]


def test_killed_workers_lose_no_rows_and_leave_one_object_on_stdout(
    models: tuple[str, ...],
    start: Start,
    command: Command,
    clips: Path,
    wait_until: WaitUntil,
    actors_of: ActorsOf,
    tmp_path: Path,
) -> None:
    clean, out = tmp_path / "clean", tmp_path / "out"
    assert command(*arguments(clips, clean, models), "--local").returncode == 0
    driver = start(*arguments(clips, out, models))
    wait_until(lambda: any((out / MODEL).glob("part-*.parquet")), driver)
    killed = actors_of(driver, "ModelActor") + actors_of(driver, "DecodeActor")
    for actor in killed:
        actor.kill()
    stdout, stderr = driver.communicate(timeout=90)
    assert driver.returncode == 0, stderr
    assert len(killed) >= len(models)
    assert json.loads(stdout)["n_rows"] == 28 * len(models)
    assert embedlib.diff(out, clean).differences == ()
    assert embedlib.verify(out).problems == ()


def test_a_cause_that_does_not_go_away_stops_the_run_in_one_line(
    models: tuple[str, ...], environment: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    line = map(str, arguments(clips, tmp_path / "out", models))
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, *line],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, done.stdout) == (1, "")
    assert len(errors) == 1
    assert "failed 3 times" in errors[0]
    assert "run the same command to continue" in errors[0]
    assert "Traceback" not in done.stderr


def test_one_core_in_a_notebook_gives_the_bits_of_a_local_run(
    environment: dict[str, str], clips: Path, clean: Path, tmp_path: Path
) -> None:
    # A notebook's cells run inside an event loop, and so does this.
    done = subprocess.run(
        [sys.executable, "-c", IN_A_LOOP, clips, tmp_path / "out"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    found = embedlib.diff(tmp_path / "out", clean)
    assert done.stdout == "28\n", done.stderr
    assert (found.differences, found.exact) == ((), (MODEL,))
