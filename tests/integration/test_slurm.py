"""`cluster/slurm.sbatch`, run by bash on one machine, with stand-ins for what Slurm brings.

The stand-ins print the nodes of the allocation and run what a step would run, as often as it has
tasks. What Slurm itself does (resources, signals at the end of the time) is not tried.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import embedlib

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm.sbatch"
MODEL = "untrained-msd-musicnn-1"
PATIENCE_S = 180.0

SCONTROL = """#!/usr/bin/env bash
test "$1 $2" = "show hostnames"
printf '%s\\n' ${3//,/ }
"""

# Runs a command once per task. A step that is ended takes its tasks along, as Slurm does.
SRUN = """#!/usr/bin/env bash
echo "$*" >> "$STEPS"
tasks=()
trap 'kill -TERM "${tasks[@]}"; wait' TERM
while [[ $1 == --* ]]; do
    [[ $1 != --ntasks=* ]] || n=${1#*=}
    shift
done
for ((i = 0; i < n; i++)); do
    "$@" &
    tasks+=($!)
done
wait
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Allocation:
    """What Slurm gives a batch script."""

    environment: dict[str, str]
    shared: Path
    steps: Path
    temp: Path

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", SCRIPT, *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[psutil.Process]:
        """List what is left of this job: its processes have its id in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SLURM_JOB_ID") == self.environment["SLURM_JOB_ID"]:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def allocation(environment: dict[str, str], tmp_path: Path) -> Iterator[Allocation]:
    commands, shared = tmp_path / "bin", tmp_path / "shared"
    commands.mkdir()
    shared.mkdir()
    for name, text in {"scontrol": SCONTROL, "srun": SRUN}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    job_id = str(10**9 + secrets.randbelow(10**9))
    slurm = {
        "SLURM_JOB_ID": job_id,
        "SLURM_JOB_NODELIST": "127.0.0.1,localhost",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "EMBEDLIB_SHARED": str(shared),
        "EMBEDLIB_VENV": sys.prefix,
        "STEPS": str(tmp_path / "steps"),
        "PATH": f"{commands}:{environment['PATH']}",
    }
    made = Allocation(environment | slurm, shared, tmp_path / "steps", Path(f"/tmp/ray-{job_id}"))
    yield made
    for process in made.processes():
        process.kill()
    shutil.rmtree(made.temp, ignore_errors=True)


def assert_all_is_gone(allocation: Allocation) -> None:
    # Ray's own helpers look once in a while whether their node is still there.
    _, alive = psutil.wait_procs(allocation.processes(), timeout=60)
    assert [process.cmdline() for process in alive] == []
    assert [*allocation.shared.iterdir()] == []


def extraction(clips: Path, out: Path) -> list[object]:
    hop = ("--patch-hop-frames", "24")  # patches that overlap eightfold: a run of many seconds
    return [clips, "--models", MODEL, "--out", out, "--max-failed", "9", *hop]


def test_a_job_runs_on_all_nodes_and_leaves_nothing_but_its_rows(
    allocation: Allocation, clips: Path, tmp_path: Path
) -> None:
    job = allocation.start(*extraction(clips, tmp_path / "out"), "--json")
    printed, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, printed
    assert len(embedlib.open(tmp_path / "out").tracks(MODEL).track_ids) > 0
    worker, cleaning = allocation.steps.read_text().splitlines()
    assert "--nodes=1 --ntasks=1 --exclude=127.0.0.1 --no-kill" in worker
    assert "ray start --block --num-cpus=1" in worker
    assert "--address=127.0.0.1:" in worker
    assert cleaning == f"--ntasks=2 --ntasks-per-node=1 rm -rf {allocation.temp}"
    assert not allocation.temp.exists()
    assert_all_is_gone(allocation)


def test_the_token_is_of_this_job_alone_and_nobody_else_may_read_it(
    allocation: Allocation, clips: Path, tmp_path: Path
) -> None:
    foreign = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    allocation.environment.update(foreign)
    job = allocation.start(*extraction(clips, tmp_path / "out"))
    deadline_s = time.monotonic() + PATIENCE_S
    while not (tokens := [*allocation.shared.glob(".embedlib-slurm-*/auth_token")]) or not all(
        token.stat().st_size for token in tokens
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    (token,) = tokens
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    value = token.read_text()
    assert len(value) >= 32
    assert value not in foreign.values()
    job.send_signal(signal.SIGTERM)
    printed, _ = job.communicate(timeout=PATIENCE_S)
    assert value not in printed
    assert_all_is_gone(allocation)


def test_a_signal_has_what_is_in_flight_committed_and_ends_all(
    allocation: Allocation, clips: Path, tmp_path: Path
) -> None:
    job = allocation.start(*extraction(clips, tmp_path / "out"))
    deadline_s = time.monotonic() + PATIENCE_S
    while not [*(tmp_path / "out").glob(f"{MODEL}/part-*.parquet")]:
        assert time.monotonic() < deadline_s
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGTERM)
    printed, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode in (143, 0), printed
    assert len(embedlib.open(tmp_path / "out").tracks(MODEL).track_ids) > 0
    assert_all_is_gone(allocation)


def test_a_run_that_is_refused_ends_the_job_with_its_code(
    allocation: Allocation, clips: Path, tmp_path: Path
) -> None:
    job = allocation.start(clips, "--models", "no-such-model", "--out", tmp_path / "out")
    printed, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 2, printed
    assert "no-such-model" in printed
    assert_all_is_gone(allocation)


def test_a_head_that_does_not_start_ends_the_job(
    allocation: Allocation, clips: Path, tmp_path: Path
) -> None:
    allocation.environment["SLURM_CPUS_PER_TASK"] = "many"
    job = allocation.start(*extraction(clips, tmp_path / "out"))
    printed, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode != 0
    assert "many" in printed
    assert not (tmp_path / "out").exists()
    assert_all_is_gone(allocation)
