"""The doctor on what is not this machine: a store and a Ray cluster, both started here."""

from __future__ import annotations

import json
import os
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
from typing import Any

import psutil
import pytest

from embedlib.catalog.stores import StorePath
from embedlib.doctor.clocks import ahead_s
from embedlib.doctor.store import Creation, judge_out, read_out
from embedlib.doctor.tokens import read_token
from embedlib.doctor.verdict import Verdict

SERVER = Path(__file__).with_name("s3_server.py")
RAY = str(Path(sys.executable).with_name("ray"))
OUT = "s3://store/out"
PATIENCE_S = 120.0

LOOK = """
import json, sys
from dataclasses import asdict
from embedlib.doctor.cluster import judge_cluster, read_cluster
from embedlib.run.auth import require_tokens
require_tokens(is_local=False)
import ray
ray.__version__ = sys.argv[2] or ray.__version__
facts = read_cluster(sys.argv[1])
(check,) = judge_cluster(facts)
print(json.dumps({"facts": asdict(facts), "check": asdict(check)}))
"""


@contextmanager
def store(conditions: str) -> Iterator[None]:
    """An S3 server that treats conditional writes in one way, known to this process."""
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    line = [sys.executable, str(SERVER), conditions]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert process.stdout is not None
        patch.setenv("AWS_ENDPOINT_URL", process.stdout.readline().strip())
        patch.setenv("AWS_ACCESS_KEY_ID", "rightkey")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush-hush")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            yield
        finally:
            process.kill()
            s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def atomic() -> Iterator[None]:
    with store("atomic"):
        yield


@pytest.mark.usefixtures("atomic")
def test_a_store_that_is_fit_for_runs_has_no_fault_and_is_left_empty() -> None:
    facts = read_out(OUT)
    assert (facts.problem, facts.creation) == ("", Creation.ONE_WINS)
    assert facts.clock is not None
    assert ahead_s(facts.clock) == 0.0
    assert {check.verdict for check in judge_out(facts)} == {Verdict.OK}
    assert not StorePath(OUT).exists()


@pytest.mark.usefixtures("atomic")
def test_a_bucket_that_is_not_there_is_made_by_the_fix() -> None:
    (check,) = judge_out(read_out("s3://no-such-bucket/out"))
    assert (check.verdict, check.fix) == (Verdict.FAULT, "aws s3 mb s3://no-such-bucket")


@pytest.mark.usefixtures("atomic")
def test_wrong_credentials_are_a_fault_that_does_not_show_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrongkey")
    s3fs.S3FileSystem.clear_instance_cache()
    (check,) = judge_out(read_out(OUT))
    s3fs.S3FileSystem.clear_instance_cache()
    assert (check.verdict, check.fix) == (Verdict.FAULT, "aws configure")
    assert "hush" not in check.found
    assert "wrongkey" not in check.found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conditions", "creation"),
    [("ignores", Creation.BOTH_WIN), ("refuses", Creation.REFUSED)],
)
def test_a_store_unfit_for_two_runs_is_found_out(conditions: str, creation: Creation) -> None:
    with store(conditions):
        facts = read_out(OUT)
    assert (facts.problem, facts.creation) == ("", creation)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def head(environment: dict[str, str]) -> Iterator[str]:
    """A Ray of one core with that environment; its address."""
    folder = Path(tempfile.mkdtemp(prefix="doctor-"))
    port = free_port()
    ports = (f"--port={port}", f"--ray-client-server-port={free_port()}")
    options = (f"--temp-dir={folder}", "--num-cpus=1", "--include-dashboard=false")
    node = subprocess.Popen(
        [RAY, "start", "--head", *ports, *options, "--block"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: [*folder.glob("session_2*/sockets/raylet*")])
        yield f"127.0.0.1:{port}"
    finally:
        members = psutil.Process(node.pid).children(recursive=True)
        node.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(members, timeout=10)[1]:
            process.kill()
        node.kill()
        node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it does not come to that"
        time.sleep(0.1)


def environment_of_ray(**further: str) -> dict[str, str]:
    own = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": tempfile.gettempdir()}
    inherited = {name: text for name, text in os.environ.items() if "RAY_AUTH" not in name}
    return inherited | own | further


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[str, dict[str, str]]]:
    environment = environment_of_ray(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    with head(environment) as address:
        yield address, environment


def looked_at(address: str, environment: dict[str, str], *, version: str = "") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, address, version],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_cluster_tells_versions_and_time_of_its_nodes(
    guarded: tuple[str, dict[str, str]],
) -> None:
    found = looked_at(*guarded)
    (node,) = found["facts"]["nodes"]
    assert found["check"]["verdict"] == "ok", found
    assert node["versions"] == found["facts"]["own"]
    assert node["clock"]["before_s"] <= node["clock"]["told_s"] <= node["clock"]["after_s"]


@pytest.mark.slow
def test_a_cluster_of_another_ray_is_a_fault_that_names_its_version(
    guarded: tuple[str, dict[str, str]],
) -> None:
    found = looked_at(*guarded, version="2.0.0")
    theirs = found["facts"]["theirs"]
    assert found["check"]["verdict"] == "fault"
    assert theirs["ray"] == found["facts"]["own"]["ray"] != "2.0.0"
    assert f"ray[default]=={theirs['ray']}" in found["check"]["fix"]


@pytest.mark.slow
def test_a_client_without_token_is_told_to_bring_it(guarded: tuple[str, dict[str, str]]) -> None:
    address, environment = guarded
    found = looked_at(address, environment | {"RAY_AUTH_TOKEN": ""})
    assert found["check"]["verdict"] == "fault"
    assert found["check"]["fix"].startswith("export RAY_AUTH_TOKEN_PATH=")


@pytest.mark.slow
def test_a_node_of_this_machine_is_open_when_it_demands_no_token(
    guarded: tuple[str, dict[str, str]],
) -> None:
    before = read_token().open_processes
    with head(environment_of_ray(RAY_AUTH_MODE="disabled")):
        during = set(read_token().open_processes) - set(before)
    assert sorted(text.split()[0] for text in during) == ["gcs_server", "raylet"]
