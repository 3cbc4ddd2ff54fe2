"""How embedlib joins or starts Ray: the one place that calls ``ray.init``.

Ray reads its authentication mode when it is imported: call `embedlib.run.auth` before this module.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import ray

from embedlib.errors import RunError
from embedlib.run.slots import Node


@contextmanager
def ray_session(
    *, address: str | None, n_cores: int | None, store_bytes: int
) -> Iterator[list[Node]]:
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
    nodes : list of Node
        The nodes that are alive.

    Raises
    ------
    RunError
        If there is no cluster at `address`.
    """
    if ray.is_initialized():  # the caller's own session, which stays hers
        with redirect_stdout(sys.stderr):
            yield _nodes()
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
            yield _nodes()
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


def _nodes() -> list[Node]:
    rows: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [
        Node(
            row["NodeID"],
            n_cores=int(row["Resources"].get("CPU", 0)),
            n_gpus=int(row["Resources"].get("GPU", 0)),
        )
        for row in rows
        if row["Alive"] and row["Resources"].get("CPU", 0) >= 1
    ]
