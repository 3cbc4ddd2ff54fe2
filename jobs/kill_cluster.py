"""A Ray cluster of a head and one worker node on this machine: processes of ``ray start``.

Ports are free ones, every process has the same token, and nothing is ended but by its own id.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from kill_log import NODE_VARIABLE, POLL_S

from embedlib.errors import RunError

HEAD, WORKER = "head", "worker"

PATIENCE_S = 90.0

# The loss of a node is noticed in seconds, not in a quarter of a minute; that of the head likewise.
SETTINGS = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "3000",  # a busy machine is slow to answer, and not dead
    "RAY_health_check_failure_threshold": "4",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
}
"""Environment of the nodes and of drivers."""


class Cluster:
    """Two nodes with one core each; a context manager that ends what is left of them.

    Parameters
    ----------
    environment : mapping of str to str
        Of all its processes; with the token.

    Attributes
    ----------
    address : str
        For drivers; empty while there is no head.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        # Ray's socket paths leave room for short folder names only.
        self._folder = Path(tempfile.mkdtemp(prefix="kill-"))
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._n_started = 0
        self.address = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in (WORKER, HEAD):
            self.stop(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, name: str) -> None:
        """Start what is not there yet: the head, and the worker node where that is meant.

        Parameters
        ----------
        name : {'head', 'worker'}
            The node that is needed.

        Raises
        ------
        RunError
            If Ray does not start.
        """
        if not self._is_up(HEAD):
            self.stop(WORKER)
            port = free_port()
            client_port = f"--ray-client-server-port={free_port()}"
            self._start(HEAD, "--head", f"--port={port}", "--include-dashboard=false", client_port)
            self.address = f"127.0.0.1:{port}"
        if name == WORKER and not self._is_up(WORKER):
            self._start(WORKER, f"--address={self.address}")

    def processes(self, name: str) -> list[psutil.Process]:
        """List all processes of a node: its raylet, what that started, and Ray's helpers.

        Parameters
        ----------
        name : {'head', 'worker'}
            The node.

        Returns
        -------
        processes : list of psutil.Process
            Empty for a node that is not there.
        """
        if not self._is_up(name):
            return []
        return psutil.Process(self._nodes[name].pid).children(recursive=True)

    def servers(self, name: str) -> list[psutil.Process]:
        """List the processes that make a node what it is: the raylet, and the GCS of a head.

        Parameters
        ----------
        name : {'head', 'worker'}
            The node.

        Returns
        -------
        processes : list of psutil.Process
            Without them the node is lost.
        """
        return [each for each in self.processes(name) if each.name() in ("raylet", "gcs_server")]

    def stop(self, name: str) -> None:
        """End a node and wait for its end.

        Parameters
        ----------
        name : {'head', 'worker'}
            The node; one that is not there is left alone.
        """
        node = self._nodes.pop(name, None)
        if node is None:
            return
        members = psutil.Process(node.pid).children(recursive=True) if node.poll() is None else []
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(timeout=10)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
        for member in members:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue

    def _is_up(self, name: str) -> bool:
        return name in self._nodes and self._nodes[name].poll() is None

    def _start(self, name: str, *options: str) -> None:
        self._n_started += 1
        log = self._folder / f"{name}-{self._n_started}.txt"
        common = ("--num-cpus=1", "--object-store-memory=100000000", "--block")
        agent = f"--dashboard-agent-listen-port={free_port()}"
        temporary = (f"--temp-dir={self._folder / 'ray'}",) if name == HEAD else ()
        line = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
        with log.open("wb") as output:
            node = subprocess.Popen(
                [*line, *temporary, *common, agent],
                env={**self._environment, **SETTINGS, NODE_VARIABLE: name},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._nodes[name] = node
        deadline_s = time.monotonic() + PATIENCE_S
        while b"block forever" not in log.read_bytes():
            if node.poll() is not None or time.monotonic() > deadline_s:
                last = (log.read_text().strip().splitlines() or ["no message"])[-1]
                raise RunError(f"a Ray {name} did not start: {last}", fix="look at free memory")
            time.sleep(POLL_S)


def free_port() -> int:
    """Give a port of this machine that nobody listens on.

    Returns
    -------
    port : int
        Above those that Ray keeps for its workers.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
