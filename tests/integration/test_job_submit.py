"""`ray job submit` to a cluster with a dashboard and a token: what a job takes along, and runs."""

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
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import embedlib

Submit = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
MODEL = "untrained-msd-musicnn-1"
PATIENCE_S = 120.0

# Says where driver and worker found the package, and where the driver runs.
WHERE = """
import json, os, ray, embedlib
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0)
def found():
    import embedlib
    return embedlib.__file__
print("FOUND", json.dumps([embedlib.__file__, ray.get(found.remote()), os.getcwd()]))
"""

pytestmark = pytest.mark.slow


def free_port() -> int:
    # Below 10,000, for Ray keeps the ports above for its workers.
    while True:
        with socket.socket() as probe:
            port = 6_000 + secrets.randbelow(4_000)
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def wait_for_jobs(url: str, head: subprocess.Popen[bytes]) -> None:
    """Wait until the dashboard answers, be it that a token is missing."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        assert head.poll() is None, "the head has ended"
        assert time.monotonic() < deadline_s, "the dashboard does not answer"
        try:
            urllib.request.urlopen(f"{url}/api/jobs/", timeout=5).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return
        except OSError:
            time.sleep(0.5)


@pytest.fixture(scope="module")
def values(environment: dict[str, str]) -> dict[str, str]:
    """The environment of all processes here, with the token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    url = f"http://127.0.0.1:{free_port()}"
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "no_proxy": "127.0.0.1"}
    return {**environment, **token, **quiet, "RAY_API_SERVER_ADDRESS": url}


@pytest.fixture(scope="module", autouse=True)
def head(values: dict[str, str]) -> Iterator[None]:
    # Ray's socket paths leave room for short folder names only.
    folder = Path(tempfile.mkdtemp(prefix="jobs-"))
    url = values["RAY_API_SERVER_ADDRESS"]
    ports = {
        "port": free_port(),
        "dashboard-port": url.rpartition(":")[2],
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
    }
    options = [f"--{name}={value}" for name, value in ports.items()]
    node = subprocess.Popen(
        [RAY, "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}", *options],
        env=values,
        cwd=folder,  # where jobs start that take no folder along, and what Python looks at first
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_jobs(url, node)
        yield
    finally:
        members = psutil.Process(node.pid).children(recursive=True)
        node.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(members, timeout=10)[1]:
            process.kill()
        node.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def submit(values: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Submit:
    """Submit from a folder that holds nothing, with options before `--` and a command behind it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*line: object, cwd: Path = elsewhere) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RAY, "job", "submit", *map(str, line)],
            env=values,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    return run


@pytest.fixture
def bare_package(tmp_path: Path) -> Path:
    """The package as a wheel leaves it in an environment, and no checkout around it."""
    copied = tmp_path / "site" / "embedlib"
    shutil.copytree(ROOT / "embedlib", copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def found(submitted: subprocess.CompletedProcess[str]) -> list[Path]:
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    (line,) = (line for line in submitted.stdout.splitlines() if line.startswith("FOUND"))
    return [Path(path) for path in json.loads(line.partition("FOUND")[2])]


def extraction(clips: Path, out: Path) -> list[object]:
    return [clips, "--models", MODEL, "--out", out, "--address", "auto", "--max-failed", 9]


def test_nothing_is_sent_where_the_nodes_have_embedlib(
    submit: Submit, clips: Path, tmp_path: Path
) -> None:
    command = Path(sys.executable).with_name("embedlib")
    submitted = submit("--", command, "extract", *extraction(clips, tmp_path / "out"))
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "Uploading package" not in submitted.stdout + submitted.stderr
    assert len(embedlib.open(tmp_path / "out").tracks(MODEL).track_ids) > 0


def test_a_checkout_is_sent_and_driver_and_workers_run_it(
    submit: Submit, clips: Path, tmp_path: Path
) -> None:
    job = [sys.executable, "jobs/extract.py", *extraction(clips, tmp_path / "out")]
    submitted = submit("--working-dir", ".", "--", *job, cwd=ROOT)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert len(embedlib.open(tmp_path / "out").tracks(MODEL).track_ids) > 0
    driver, worker, folder = found(
        submit("--working-dir", ".", "--", sys.executable, "-c", WHERE, cwd=ROOT)
    )
    assert driver == worker == folder / "embedlib" / "__init__.py"
    assert ROOT not in driver.parents
    assert {path.name for path in folder.iterdir()} <= {"configs", "embedlib", "jobs"}


def test_an_installed_package_is_sent_and_driver_and_workers_run_it(
    submit: Submit, bare_package: Path, clips: Path, tmp_path: Path
) -> None:
    modules = ("--runtime-env-json", json.dumps({"py_modules": [str(bare_package)]}))
    job = [sys.executable, "-m", "embedlib.cli.app", "extract"]
    submitted = submit(*modules, "--", *job, *extraction(clips, tmp_path / "out"))
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert len(embedlib.open(tmp_path / "out").tracks(MODEL).track_ids) > 0
    driver, worker, _ = found(submit(*modules, "--", sys.executable, "-c", WHERE))
    assert driver == worker
    assert not {ROOT, bare_package.parent} & {*driver.parents}


def test_a_job_without_the_token_is_refused(submit: Submit, values: dict[str, str]) -> None:
    wrong = values | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    refused = subprocess.run(
        [RAY, "job", "submit", "--", "true"],
        env=wrong,
        cwd=os.sep,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert refused.returncode == 1
    assert "token" in refused.stdout + refused.stderr
