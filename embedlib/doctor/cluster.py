"""A Ray cluster that a run is to join: its nodes, their versions and their clocks."""

from __future__ import annotations

import asyncio
import platform
import re
import socket
import time
from dataclasses import dataclass

import embedlib
from embedlib.doctor.clocks import ClockFacts, judge_clock
from embedlib.doctor.install import installed_version
from embedlib.doctor.verdict import Check, Verdict, fault, fine, warning
from embedlib.errors import RunError
from embedlib.run.auth import require_tokens
from embedlib.run.slots import Node

ANSWER_S = 60.0
"""How long a node may take to start a process."""

NO_EMBEDLIB = "No module named 'embedlib'"
"""What a bare node says, somewhere in Ray's error."""

_CONNECT_S = 5.0

# check_version_info of Ray 2.60 names the cluster's versions first.
_THEIRS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


@dataclass(frozen=True, slots=True)
class Versions:
    """What a machine runs.

    Attributes
    ----------
    python, ray, embedlib : str
        Versions; empty for what is not known.
    """

    python: str
    ray: str
    embedlib: str

    def __str__(self) -> str:
        return f"Python {self.python}, Ray {self.ray}, embedlib {self.embedlib}"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node that was asked.

    Attributes
    ----------
    name : str
        Of the node.
    problem : str
        Why it did not answer; empty where it did.
    versions : Versions or None
        What it runs.
    clock : ClockFacts or None
        Its time.
    """

    name: str
    problem: str = ""
    versions: Versions | None = None
    clock: ClockFacts | None = None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster that was asked.

    Attributes
    ----------
    address : str
        As it was given.
    own : Versions
        Those of this machine.
    problem : str
        Why it cannot be joined; empty where it can.
    is_silent : bool
        Whether there is nobody at its address.
    theirs : Versions or None
        Where they are why it cannot be joined.
    nodes : tuple of NodeFacts
        Those that are alive and can carry a worker.
    """

    address: str
    own: Versions
    problem: str = ""
    is_silent: bool = False
    theirs: Versions | None = None
    nodes: tuple[NodeFacts, ...] = ()


def versions_and_time() -> tuple[Versions, float]:
    """Say what this machine runs, and what time it is; asked on each node.

    Returns
    -------
    versions : Versions
        Of this process.
    now_s : float
        Seconds since 1970.
    """
    ray = installed_version("ray") or ""
    return Versions(platform.python_version(), ray, embedlib.__version__), time.time()


def read_cluster(address: str) -> ClusterFacts:
    """Join a cluster and ask each of its nodes.

    Parameters
    ----------
    address : str
        As for ``--address``.

    Returns
    -------
    facts : ClusterFacts
        With the reason where it cannot be joined.
    """
    own, _ = versions_and_time()
    if problem := _unreachable(address):
        return ClusterFacts(address, own, problem, is_silent=True)
    require_tokens(is_local=False)
    from embedlib.run.cluster import ray_session

    try:
        with ray_session(address=address, n_cores=None, store_bytes=1):
            return ClusterFacts(address, own, nodes=asyncio.run(_ask_all()))
    except RunError as exc:
        problem = str(exc.args[0])
        theirs = _theirs(problem)
        # Ray looks for "auto" on this machine, where no token is wrong.
        is_silent = address == "auto" and theirs is None
        return ClusterFacts(address, own, problem, is_silent=is_silent, theirs=theirs)


def judge_cluster(facts: ClusterFacts) -> list[Check]:
    """Judge a cluster.

    Parameters
    ----------
    facts : ClusterFacts
        What was answered, or made up.

    Returns
    -------
    checks : list of Check
        One of the cluster, one of each node that differs, one of each clock that does.
    """
    if facts.problem:
        return [fault("ray cluster", facts.problem, fix=_fix(facts))]
    if not facts.nodes:
        found = f"{facts.address} has no node with a core for workers"
        return [warning("ray cluster", found, fix=_start(facts.address))]
    wrong = [_judge_node(node, facts) for node in facts.nodes]
    n_fine = sum(not checks for checks in wrong)
    same = (
        [fine("ray cluster", f"{n_fine} of {len(facts.nodes)} nodes: {facts.own}")]
        if n_fine
        else []
    )
    return [*same, *(check for checks in wrong for check in checks)]


def _judge_node(node: NodeFacts, facts: ClusterFacts) -> list[Check]:
    name = f"node {node.name}"
    if node.problem:
        is_bare = node.problem == NO_EMBEDLIB
        fix = _install(facts.own) if is_bare else f"ray stop && {_start(facts.address)}"
        return [fault(name, f"no answer: {node.problem}", fix=fix)]
    checks = []
    if node.versions not in (None, facts.own):
        found = f"{node.versions}; here {facts.own}"
        checks.append(fault(name, found, fix=_install(facts.own)))
    if node.clock and (clock := judge_clock(node.clock)).verdict is not Verdict.OK:
        checks.append(clock)
    return checks


def _fix(facts: ClusterFacts) -> str:
    if facts.theirs:
        return _install(facts.theirs)
    if facts.is_silent:
        port = facts.address.rpartition(":")[2]
        start = "RAY_AUTH_MODE=token ray start --head"
        return f"{start} --port {port}" if port.isdigit() else start
    return "export RAY_AUTH_TOKEN_PATH=/the/token/of/the/cluster"


def _start(address: str) -> str:
    return f"RAY_AUTH_MODE=token ray start --address {address}"


def _install(own: Versions) -> str:
    """Give what makes a node the same as this machine; Python itself comes with the environment."""
    ours = f" embedlib=={own.embedlib}" if own.embedlib else ""
    return f"uv venv --python {own.python} && uv pip install 'ray[default]=={own.ray}'{ours}"


def _theirs(problem: str) -> Versions | None:
    found = _THEIRS.search(problem)
    return Versions(found[2], found[1], "") if found else None


def _unreachable(address: str) -> str:
    """Say why nothing answers at ``host:port``; what Ray itself finds is left to it."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return ""
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as exc:
        return f"nobody listens at {address}: {exc.strerror or type(exc).__name__}"
    return ""


async def _ask_all() -> tuple[NodeFacts, ...]:
    from embedlib.run.cluster import alive_nodes

    nodes = await asyncio.to_thread(alive_nodes)
    return tuple(await asyncio.gather(*(_ask(node) for node in nodes)))


async def _ask(node: Node) -> NodeFacts:
    from embedlib.run.ray_errors import UNANSWERED, line
    from embedlib.run.ray_nodes import ask

    before_s = time.time()
    try:
        versions, told_s = await asyncio.wait_for(ask(node.node_id, versions_and_time), ANSWER_S)
    except TimeoutError:
        return NodeFacts(str(node), f"none within {ANSWER_S:.0f} s")
    except UNANSWERED as exc:
        return NodeFacts(str(node), NO_EMBEDLIB if NO_EMBEDLIB in str(exc) else line(exc))
    clock = ClockFacts(f"node {node}", before_s, told_s, time.time(), step_s=0.0)
    return NodeFacts(str(node), versions=versions, clock=clock)
