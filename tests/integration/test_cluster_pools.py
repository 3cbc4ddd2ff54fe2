"""Workers that move, nodes that are asked for, and a worker that never answers again.

Each script is a driver with a session of Ray of its own, whose patience is short.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import embedlib

RunScript = Callable[..., subprocess.CompletedProcess[str]]

MODEL, OTHER = "untrained-msd-musicnn-1", "untrained-msd-vgg-1"

SESSION = """
import logging, os, pathlib, signal, sys
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
import ray
from embedlib.cli.app import main
from embedlib.run import pace, pools, ray_backend, ray_nodes, ray_pools, slots

folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent
"""

# The worker that comes to the last shards stops itself, as a frozen machine stops it.
FROZEN = """
pace.MIN_LATE_S = 3.0

class Frozen(ray_backend.ModelActor):
    n_shards = 0

    def extract(self, *arguments):
        self.n_shards += 1
        if self.n_shards == 8:
            try:
                (folder / "frozen").open("x").write(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP)
            except FileExistsError:
                pass
        return super().extract(*arguments)

ray_backend.ModelActor = Frozen
main()
"""

# Two models of equal cost, of which one has less to do, and does not wait for the other one.
MOVING = """
slots.MINOR = 0.0
ray_nodes.known_costs = lambda jobs: dict.fromkeys(jobs, 1.0)
pools.MIN_GAIN, pools.MIN_GAIN_S, ray_pools.LOOK_EVERY_S = 1.02, 0.0, 0.1
logging.basicConfig(level=logging.INFO)
main()
"""

# What the cluster was asked for is read where its autoscaler reads it.
ASKING = """
from ray.autoscaler._private.constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL as CHANNEL
from ray.experimental.internal_kv import _internal_kv_get

ask = ray_pools.ask_for

def ask_and_look(*arguments, **options):
    ask(*arguments, **options)
    print("asked", _internal_kv_get(CHANNEL).decode(), file=sys.stderr)

ray_pools.ask_for, ray_pools.LOOK_EVERY_S = ask_and_look, 0.2
main()
"""


@pytest.fixture
def run_script(environment: dict[str, str], tmp_path: Path) -> RunScript:
    """Run `embedlib extract` inside of a script."""

    def run(script: str, source: Path, *options: str) -> subprocess.CompletedProcess[str]:
        line = ("extract", source, "--out", tmp_path / "out", "--patch-hop-frames", "24")
        line = (*line, "--shard-hours", "1e-9")
        return subprocess.run(
            [sys.executable, "-c", SESSION + script, *line, "--max-failed", "99", *options],
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
        )

    return run


def test_a_worker_that_is_frozen_with_a_shard_does_not_hold_up_the_end(
    run_script: RunScript, clips: Path, clean: Path, tmp_path: Path
) -> None:
    done = run_script(FROZEN, clips, "--models", MODEL, "--n-cores", "2", "--quiet")
    pid = int((tmp_path / "frozen").read_text())
    assert done.returncode == 0, done.stderr
    assert not psutil.pid_exists(pid)
    assert embedlib.verify(tmp_path / "out").problems == ()
    assert embedlib.diff(tmp_path / "out", clean).differences == ()


def test_the_core_of_a_model_that_is_done_goes_to_one_that_is_not(
    run_script: RunScript, command: RunScript, mixed_clips: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "clips", tmp_path / "out"
    source.mkdir()
    for number in range(60):
        shutil.copy(mixed_clips / "short.flac", source / f"old-{number}.flac")
    line = ("extract", source, "--out", out, "--patch-hop-frames", "24", "--max-failed", "99")
    line = (*line, "--shard-hours", "1e-9")
    assert command(*line, "--models", MODEL, "--local", "--quiet").returncode == 0
    for number in range(6):  # longer than the others, and therefore first
        shutil.copy(mixed_clips / "studio.wav", source / f"new-{number}.wav")
    done = run_script(MOVING, source, "--models", MODEL, OTHER, "--n-cores", "2", "--quiet")
    assert done.returncode == 0, done.stderr
    assert f"model={MODEL} has 0 workers now, had 1" in done.stderr
    assert embedlib.verify(out).problems == ()
    assert embedlib.open(out).models == (MODEL, OTHER)


def test_the_autoscaler_is_asked_for_what_can_be_used_and_then_for_nothing(
    run_script: RunScript, mixed_clips: Path
) -> None:
    done = run_script(ASKING, mixed_clips, "--models", MODEL, "--grow-to", "3", "--quiet")
    asked = [line.count('"CPU": 1') for line in done.stderr.splitlines() if "asked " in line]
    assert done.returncode == 0, done.stderr
    assert (asked[0], asked[-1]) == (3, 0)
    assert asked == sorted(asked, reverse=True)
