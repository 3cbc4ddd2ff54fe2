"""Runs over several nodes, each a Ray of its own on this machine: they join, die, or are blind."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import embedlib
from embedlib.probes.fit_rows import fits_table
from embedlib.probes.table import read_fits

Command = Callable[..., subprocess.CompletedProcess[str]]

MODEL = "untrained-msd-musicnn-1"
JOBS = Path(__file__).parents[2] / "jobs"
RAY = str(Path(sys.executable).with_name("ray"))
PATIENCE_S = 240.0

# A lost node is noticed in two seconds, not in a quarter of a minute.
HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}

# Workers that take one shard each and then wait at a gate, so that the run is in its middle for as
# long as it takes to change the cluster.
GATED = """
import os, pathlib, sys, time
from embedlib.run.auth import require_tokens
require_tokens(is_local=False)
from embedlib.cli.app import main
from embedlib.run import ray_backend

gate = pathlib.Path(sys.argv.pop(1))

class GatedModel(ray_backend.ModelActor):
    n_shards = 0

    def extract(self, *arguments):
        while self.n_shards and not gate.exists():
            time.sleep(0.05)
        self.n_shards += 1
        return super().extract(*arguments)

ray_backend.ModelActor = GatedModel
main()
"""


# The same by Ray's own harness for tests, in one process.
IN_ONE_PROCESS = """
import pathlib, sys, time
from concurrent.futures import ThreadPoolExecutor
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
import ray
from ray.cluster_utils import Cluster
import embedlib
from embedlib.run import ray_backend, ray_nodes

clips, out = map(pathlib.Path, sys.argv[1:3])
models = sys.argv[3:]
gate = out.parent / "gate"

class GatedModel(ray_backend.ModelActor):
    n_calls = 0

    def _pass(self):
        while self.n_calls and not gate.exists():
            time.sleep(0.05)
        self.n_calls += 1

    def extract(self, *arguments):
        self._pass()
        return super().extract(*arguments)

    def embed(self, *arguments):
        self._pass()
        return super().embed(*arguments)

def extract():
    return embedlib.extract(
        [str(clips)], models=models, out=out, patch_hop_frames=24, shard_hours=1e-9
    )

ray_backend.ModelActor = GatedModel
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
lost = cluster.add_node(num_cpus=1)
cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
with ThreadPoolExecutor(max_workers=1) as thread:  # nodes are changed in the main thread only
    run = thread.submit(extract)
    while len([*out.glob("*/part-*.parquet")]) < 4:  # the catalogue's, and one of each worker
        time.sleep(0.1)
    cluster.remove_node(lost, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    time.sleep(2 * ray_nodes.LOOK_EVERY_S)
    gate.touch()
    print(run.result().n_rows)
ray.shutdown()
cluster.shutdown()
"""


class Cluster:
    """Nodes with one core each, as `ray start` makes them; ended by their process ids."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        # Ray's socket paths leave room for short folder names only.
        self._folder = Path(tempfile.mkdtemp(prefix="nodes-"))
        self._nodes: list[subprocess.Popen[bytes]] = []
        self.address = f"127.0.0.1:{free_port()}"
        self._dashboard_port = free_port()

    def start_head(self) -> None:
        port = self.address.partition(":")[2]
        own = (f"--dashboard-port={self._dashboard_port}", f"--temp-dir={self._folder}")
        client = f"--ray-client-server-port={free_port()}"
        self._start("--head", f"--port={port}", client, *own, within=())

    def start_node(self, *, within: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start a node; `within` is a command that runs another one in a world of its own."""
        return self._start(f"--address={self.address}", within=within)

    def _start(self, *options: str, within: tuple[str, ...]) -> subprocess.Popen[bytes]:
        own = ("--num-cpus=1", f"--dashboard-agent-listen-port={free_port()}", "--block")
        node = subprocess.Popen(
            [*within, RAY, "start", *options, *own],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._nodes.append(node)
        # One after the other: two that start at once take the same names for their sockets.
        wait_until(lambda: self._n_sockets() == len(self._nodes))
        return node

    def _n_sockets(self) -> int:
        return len([*self._folder.glob("session_2*/sockets/raylet*")])

    def submit(
        self, name: str, *arguments: object, job: str = "extract.py"
    ) -> subprocess.CompletedProcess[str]:
        """Have the head run a job, as `ray job submit` does, and wait for its end."""
        dashboard = f"http://127.0.0.1:{self._dashboard_port}"
        own = (sys.executable, JOBS / job, *arguments)
        line = ("job", "submit", f"--submission-id={name}", "--", *own)
        return subprocess.run(
            [RAY, *map(str, line)],
            env=self.environment | {"RAY_API_SERVER_ADDRESS": dashboard},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def next_name(self, out: Path) -> str:
        """Have `embedlib submission-id` name the next job, with a look at those of the head."""
        dashboard = f"http://127.0.0.1:{self._dashboard_port}"
        line = ("-m", "embedlib.cli.app", "submission-id", out, "--address", dashboard)
        done = subprocess.run(
            [sys.executable, *map(str, line)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def lose(self, node: subprocess.Popen[bytes]) -> None:
        """Kill the raylet of a node, as a machine that is switched off does."""
        for process in psutil.Process(node.pid).children(recursive=True):
            if process.name() == "raylet":
                process.kill()

    def close(self) -> None:
        for node in reversed(self._nodes):
            if node.poll() is None:
                members = psutil.Process(node.pid).children(recursive=True)
                node.send_signal(signal.SIGTERM)
                _, alive = psutil.wait_procs(members, timeout=10)
                for process in alive:
                    process.kill()
            node.wait(timeout=30)
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port() -> int:
    # Below 10,000, for Ray keeps the ports above for its workers.
    while True:
        with socket.socket() as probe:
            port = 6_000 + secrets.randbelow(4_000)
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def wait_until(is_so: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it does not come to that"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[Cluster]:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
    made = Cluster({**environment, **HEALTH_CHECKS, **token, **quiet})
    made.start_head()
    yield made
    made.close()


def in_another_world(hidden: Path, empty: Path) -> tuple[str, ...]:
    """A command prefix: what follows sees an empty folder where others see `hidden`."""
    script = f'mount --bind "{empty}" "{hidden}" && exec "$@"'
    line = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    if subprocess.run([*line, "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")
    return line


def start_run(
    cluster: Cluster, clips: Path, out: Path, *, log: Path, gate: Path
) -> subprocess.Popen[bytes]:
    options = ("--patch-hop-frames", "24", "--max-failed", "9", "--shard-hours", "1e-9", "--quiet")
    line = ("extract", clips, "--models", MODEL, "--out", out, *options)
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-c", GATED, gate, *line, "--address", cluster.address],
            env=cluster.environment,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )


def node_lines(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith("node=")]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="none"),
        pytest.param(secrets.token_hex(32), id="wrong", marks=pytest.mark.slow),  # Ray takes 20 s
    ],
)
def test_a_client_without_the_token_is_refused_in_one_line(
    cluster: Cluster, clips: Path, tmp_path: Path, token: str
) -> None:
    line = ("extract", clips, "--models", MODEL, "--out", tmp_path / "out", "--quiet")
    environment = {**cluster.environment, "RAY_AUTH_TOKEN": token, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "embedlib.cli.app", *line, "--address", cluster.address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, done.stdout) == (1, "")
    assert "give it by RAY_AUTH_TOKEN_PATH" in error
    assert "Traceback" not in done.stderr
    assert not token or token not in done.stderr


def test_a_double_submit_is_refused_by_name_and_the_next_try_is_not(
    cluster: Cluster, command: Command, clips: Path, clean: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--patch-hop-frames", "24", "--max-failed", "9", "--quiet", "--json")
    line = (clips, "--models", MODEL, "--out", out, "--address", "auto", *options)
    name = command("submission-id", out).stdout.strip()
    first, again = cluster.submit(name, *line), cluster.submit(name, *line)
    second = command("submission-id", out).stdout.strip()
    resumed = cluster.submit(second, *line)

    assert (name[-5:], second[-5:]) == ("-try1", "-try2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert (again.returncode, "already exists" in again.stderr + again.stdout) == (1, True)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert '"n_rows": 0' in resumed.stdout
    assert embedlib.verify(out).problems == ()
    assert embedlib.diff(out, clean).differences == ()


def test_a_job_that_fails_before_its_run_does_not_block_the_next(
    cluster: Cluster, tmp_path: Path
) -> None:
    names = []
    for _ in range(2):
        names.append(cluster.next_name(tmp_path / "out"))
        failed = cluster.submit(names[-1], "--no-such-option")
        assert "No such option" in failed.stdout + failed.stderr
    assert [name[-5:] for name in names] == ["-try1", "-try2"]


def test_a_sweep_that_is_submitted_gives_the_table_of_one_process(
    cluster: Cluster, command: Command, clean: Path, tmp_path: Path
) -> None:
    labels, task = tmp_path / "labels.csv", tmp_path / "parity.yaml"
    track_ids = embedlib.open(clean).tracks(MODEL).track_ids
    lines = [f"{name},{('even', 'odd')[n % 2]}" for n, name in enumerate(track_ids)]
    labels.write_text("\n".join(["track_id,label", *lines]))
    task.write_text("name: parity\nclasses: [even, odd]\n")
    here, there = (shutil.copytree(clean, tmp_path / name) for name in ("here", "there"))
    line = ("--tasks", f"{task}={labels}", "--folds", 3, "--repeats", 1, "--controls", 2)
    done = cluster.submit(
        "sweep", "--out", there, *line, "--address", "auto", "--json", job="probe_sweep.py"
    )
    command("probe", "sweep", "--out", here, *line, "--local")

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"n_fits": 9' in done.stdout
    tables = [fits_table(read_fits(out)).drop_columns("wall_s") for out in (here, there)]
    assert tables[0].sort_by("fit_id") == tables[1].sort_by("fit_id")


def test_a_cluster_that_loses_a_node_and_gains_another_loses_no_rows(
    cluster: Cluster, clips: Path, clean: Path, tmp_path: Path
) -> None:
    out, log, gate = tmp_path / "out", tmp_path / "log", tmp_path / "gate"
    (tmp_path / "empty").mkdir()
    out.mkdir()
    first = cluster.start_node()
    cluster.start_node(within=in_another_world(out, tmp_path / "empty"))
    run = start_run(cluster, clips, out, log=log, gate=gate)
    try:
        wait_until(lambda: len([*(out / MODEL).glob("part-*.parquet")]) == 2)
        wait_until(lambda: len(node_lines(log)) == 1)
        cluster.lose(first)
        wait_until(lambda: len(node_lines(log)) == 2)
        cluster.start_node()
        wait_until(lambda: len(node_lines(log)) == 3)
        gate.touch()
        assert run.wait(timeout=PATIENCE_S) == 0, log.read_text()
    finally:
        run.kill()
    refused, left, joined = node_lines(log)
    assert re.search(r"is refused: it does not see .*/nonce", refused)
    assert left.endswith("left the run, with 1 model and 0 decode workers")
    assert joined.endswith("joined the run, with 1 model and 0 decode workers")
    assert embedlib.verify(out).problems == ()
    assert embedlib.diff(out, clean).differences == ()


@pytest.mark.slow
@pytest.mark.parametrize("models", [(MODEL,), (MODEL, "untrained-msd-vgg-1")], ids=["one", "two"])
def test_three_nodes_of_rays_own_harness_lose_no_rows_either(
    models: tuple[str, ...],
    environment: dict[str, str],
    clips: Path,
    clean: Path,
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS, clips, tmp_path / "out", *models],
        env={**environment, **HEALTH_CHECKS},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("node=")]
    # A death takes seconds to be noticed: the new node may be seen first.
    left, joined = sorted(lines, key=lambda line: "joined" in line)
    assert str(28 * len(models)) in done.stdout.splitlines(), done.stderr
    assert "left the run" in left
    assert "joined the run" in joined
    assert embedlib.verify(tmp_path / "out").problems == ()
    found = embedlib.diff(tmp_path / "out", clean).differences
    assert [difference for difference in found if difference.model == MODEL] == []
