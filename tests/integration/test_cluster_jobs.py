"""`ray job submit` of `jobs/extract.py`, to a head of `ray start` on this machine."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import embedlib

MODEL = "untrained-msd-musicnn-1"
JOB = Path(__file__).parents[2] / "jobs" / "extract.py"
RAY = str(Path(sys.executable).with_name("ray"))
PATIENCE_S = 120.0

Submit = Callable[..., subprocess.CompletedProcess[str]]


def free_port() -> int:
    # Below 10,000, for Ray keeps the ports above for its workers.
    while True:
        with socket.socket() as probe:
            port = 6_000 + secrets.randbelow(4_000)
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@pytest.fixture(scope="module")
def submit(environment: dict[str, str]) -> Iterator[Submit]:
    """Start a head, and submit jobs to it."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    known = {**environment, **token, "RAY_USAGE_STATS_ENABLED": "0"}
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
    ports = {name: free_port() for name in names}
    address = f"--address=http://127.0.0.1:{ports['dashboard-port']}"

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        job = ("--", sys.executable, JOB, *arguments)
        line = [RAY, "job", "submit", address, f"--submission-id={name}", *map(str, job)]
        return subprocess.run(line, env=known, capture_output=True, text=True, timeout=PATIENCE_S)

    with head_node(known, *(f"--{name}={port}" for name, port in ports.items())):
        yield run


@contextmanager
def head_node(environment: dict[str, str], *options: str) -> Iterator[None]:
    """Run `ray start` for as long as the block lasts; its processes end by their ids."""
    # Ray's socket paths leave room for short folder names only.
    folder = Path(tempfile.mkdtemp(prefix="jobs-"))
    line = [RAY, "start", "--head", "--num-cpus=1", "--block", f"--temp-dir={folder}", *options]
    log = folder / "head.txt"
    with log.open("wb") as output:
        head = subprocess.Popen(
            line, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while b"block forever" not in log.read_bytes():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, "the head does not come up"
            time.sleep(0.1)
        yield
    finally:
        members = psutil.Process(head.pid).children(recursive=True)
        head.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(members, timeout=10)
        for process in alive:
            process.kill()
        head.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_double_submit_is_refused_by_name_and_the_next_try_is_not(
    submit: Submit, command: Submit, clips: Path, clean: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = (clips, "--models", MODEL, "--out", out, "--address", "auto", "--quiet", "--json")
    line = (*line, "--patch-hop-frames", "24", "--max-failed", "9")
    name = command("submission-id", out).stdout.strip()
    first, again = submit(name, *line), submit(name, *line)
    second = command("submission-id", out).stdout.strip()
    resumed = submit(second, *line)

    assert (name[-5:], second[-5:]) == ("-try1", "-try2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert (again.returncode, "already exists" in again.stderr + again.stdout) == (1, True)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert '"n_rows": 0' in resumed.stdout
    assert embedlib.verify(out).problems == ()
    assert embedlib.diff(out, clean).differences == ()
