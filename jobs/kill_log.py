"""What a cell of the kill matrix writes down, and the hook that stops a process at its point.

A log is one file of JSON lines. All processes append to it, a line in one write, so that its order
is the order of what happened.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORDER_VARIABLE = "KILL_MATRIX_ORDER"
"""Path of the order: a file that tells which point is meant now; without it nothing stops."""

NODE_VARIABLE = "KILL_MATRIX_NODE"
"""What the node of a process is called, in clusters of several; unset in the driver."""

POLL_S = 0.01

REACHED, KILLED, GONE, RELEASED, LEFT = "reached", "killed", "gone", "released", "left"

Line = dict[str, Any]


def note(folder: Path, event: str, **facts: object) -> None:
    """Append a line to the log of a cell."""
    line = json.dumps({"event": event, "at_s": time.monotonic(), **facts}) + "\n"
    descriptor = os.open(folder / "log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read_log(folder: Path) -> list[Line]:
    """Give what the log of a cell holds by now."""
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def give_order(order: Path, *, folder: Path, point: str, node: str = "") -> None:
    """Have the first process that reaches a point wait there.

    Parameters
    ----------
    order : Path
        The file that `ORDER_VARIABLE` names.
    folder : Path
        Of the cell.
    point : str
        Where.
    node : str
        Where clusters have several nodes: only processes of this one are meant, and the driver;
        those of other nodes wait until one of these has come to the point.
    """
    temporary = order.with_suffix(".tmp")
    temporary.write_text(json.dumps({"folder": str(folder), "point": point, "node": node}))
    temporary.replace(order)


def withdraw_order(order: Path) -> None:
    """Let processes pass all points again, but for the one that waits already."""
    order.unlink(missing_ok=True)


def release(folder: Path) -> None:
    """Let the process that waits go on."""
    note(folder, RELEASED)
    (folder / "release").touch()


def stop_here(point: str, shard_id: str, model: str) -> None:
    """Wait at a point until released, if the order says so and nobody else waits: the hook."""
    order = _order()
    if order is None or order["point"] != point:
        return
    folder = Path(order["folder"])
    if order["node"] not in ("", os.environ.get(NODE_VARIABLE, order["node"])):
        _wait_for(folder / "claimed")  # else another node may do all the work before the one meant
        return
    try:
        (folder / "claimed").touch(exist_ok=False)
    except FileExistsError:
        return
    note(folder, REACHED, pid=os.getpid(), point=point, shard_id=shard_id, model=model)
    _wait_for(folder / "release")
    note(folder, LEFT, pid=os.getpid())


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(POLL_S)


def _order() -> Line | None:
    path = os.environ.get(ORDER_VARIABLE)
    if path is None:
        return None
    try:
        order: Line = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
    return order


def faults(log: Sequence[Line], *, pids: Sequence[int], is_kill: bool = True) -> list[str]:
    """Say why a log does not prove that processes died while another waited at the point.

    Parameters
    ----------
    log : sequence of dict
        Lines in the order of the file.
    pids : sequence of int
        Processes that were to die.
    is_kill : bool
        Whether they were to be killed; False if they were to come to their own end.

    Returns
    -------
    faults : list of str
        Empty if it does.

    Examples
    --------
    >>> log = [{"event": "reached", "pid": 1}, {"event": "killed", "pid": 2}]
    >>> faults([*log, {"event": "gone", "pid": 2}, {"event": "released"}], pids=[2])
    []
    >>> faults([*log, {"event": "released"}, {"event": "gone", "pid": 2}], pids=[2])
    ['process 2 did not die between reached and released']
    >>> faults([], pids=[2])
    ['no process reached the point']
    """
    events = [line["event"] for line in log]
    if REACHED not in events:
        return ["no process reached the point"]
    if RELEASED not in events:
        return ["the process at the point was not released"]
    between = log[events.index(REACHED) : events.index(RELEASED)]
    wanted = [KILLED, GONE] if is_kill else [GONE]
    found = [] if pids else ["nobody died"]
    for pid in pids:
        own = [line["event"] for line in between if line.get("pid") == pid]
        if [event for event in own if event != REACHED] != wanted:
            found.append(f"process {pid} did not die between {REACHED} and {RELEASED}")
    if any(line["event"] == LEFT for line in between):
        found.append("the process at the point left it before it was released")
    if any(line["event"] == LEFT and line["pid"] in pids for line in log):
        found.append("a process that died went on")
    return found
