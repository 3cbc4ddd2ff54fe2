"""How embedlib joins or starts Ray: the one place that calls ``ray.init``.

Ray reads its authentication mode when it is imported: call `embedlib.run.auth` before this module.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources

from embedlib.errors import RunError
from embedlib.run.slots import Node

_VERDICT_EVERY_S = 0.5


@contextmanager
def ray_session(*, address: str | None, n_cores: int | None, store_bytes: int) -> Iterator[bool]:
    """Join a cluster, or start one on this machine, for the length of a run.

    Ray prints the deaths of workers to stdout, which belongs to the answer: inside this block it
    goes to stderr.

    Parameters
    ----------
    address : str or None
        A running cluster; None starts one here, unless this process is in a session already.
    n_cores : int > 0 or None
        Cores to use when one is started here; None for those this process may run on.
    store_bytes : int > 0
        Size of the object store when one is started here.

    Yields
    ------
    is_ours : bool
        Whether the cluster was started here, for this run.

    Raises
    ------
    RunError
        If there is no cluster at `address`, or one of another version.
    """
    if ray.is_initialized():  # the caller's own session, which stays hers
        with redirect_stdout(sys.stderr):
            yield False
        return
    with redirect_stdout(sys.stderr):
        if address is None:
            ray.init(
                address="local",
                num_cpus=n_cores or len(os.sched_getaffinity(0)),
                object_store_memory=store_bytes,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            _join(address)
        try:
            yield address is None
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ray.exceptions.RayError) as exc:
        raise RunError(
            f"no Ray cluster answers at {address!r} ({type(exc).__name__})",
            fix="start one; a wrong token looks the same, give it by RAY_AUTH_TOKEN_PATH",
        ) from exc
    except RuntimeError as exc:  # another version of Ray or Python
        raise RunError(
            f"the Ray cluster at {address!r} cannot be joined: {' '.join(str(exc).split())}",
            fix="use the same Ray and Python on all machines",
        ) from exc


def alive_nodes() -> list[Node]:
    """List the nodes of the cluster that can carry a worker.

    Returns
    -------
    nodes : list of Node
        Those that are alive and have a core for Ray; a head with ``--num-cpus 0`` is left out.
    """
    return [
        Node(
            row["NodeID"],
            n_cores=int(row["Resources"].get("CPU", 0)),
            n_gpus=int(row["Resources"].get("GPU", 0)),
            name=row["NodeManagerHostname"],
        )
        for row in _alive_rows()
        if row["Resources"].get("CPU", 0) >= 1
    ]


async def is_gone(node_id: str, *, patience_s: float) -> bool:
    """Say whether a node is dead, by the word of the cluster.

    Parameters
    ----------
    node_id : str
        The node.
    patience_s : float >= 0
        How long to wait for it to be declared dead.

    Returns
    -------
    is_gone : bool
        False when it still counts as alive after that time.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        rows = await asyncio.to_thread(_alive_rows)
        if node_id not in {row["NodeID"] for row in rows}:
            return True
        if time.monotonic() >= deadline_s:
            return False
        await asyncio.sleep(_VERDICT_EVERY_S)


def ask_for(n_units: int, *, device: str) -> None:
    """Ask the autoscaler for nodes; where there is none, nothing happens.

    Parameters
    ----------
    n_units : int >= 0
        Cores, or cards with a core each, that the whole cluster is to have. This takes the place of
        what was asked for before, and holds until it is taken back by 0.
    device : {'cpu', 'cuda'}
        Which of them.
    """
    if device == "cuda" and n_units:
        request_resources(bundles=[{"CPU": 1, "GPU": 1}] * n_units)
    else:
        request_resources(num_cpus=n_units)


def _alive_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [row for row in rows if row["Alive"]]
