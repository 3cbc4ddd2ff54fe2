"""Which shard a run in one process decodes: left behind in the output when the process dies of it.

Such a run has no other process that could tell how it ended. The next one searches the shard for
tracks that kill their decoder before it decodes it itself. A mark names its process, so that the
shard of a run that is still alive is left alone; a process of another machine counts as dead when
its mark has not been renewed for a while. To be wrong costs a search for nothing, and no row.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from embedlib.catalog.stores import Place
from embedlib.errors import RunError
from embedlib.run.run_folder import run_folder, write_record
from embedlib.tables.layout import RUNS_FOLDER

MARK_FILE = "decoding.json"
"""Lies in the folder of the run for as long as it decodes a shard."""

RENEW_S = 60.0
"""How old a mark may get before its process renews it, between two chunks."""

SILENT_S = 900.0
"""How old a mark must be before a process that cannot be looked at counts as dead: longer than a
chunk takes to decode, where one file may take 600 s."""

_STATE, _START_TICKS = 0, 19
"""Fields of ``/proc/PID/stat``, counted behind the name of the process; see proc(5)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Who decodes what.

    Attributes
    ----------
    shard_id : str
        What is being decoded.
    host : str
        Name of the machine, or of the container.
    pid : int
        The process there.
    process_start : str
        When it started, in ticks since the machine did; empty where the system does not tell.
    renewed_unix_s : float
        When that was last true.
    """

    shard_id: str
    host: str
    pid: int
    process_start: str
    renewed_unix_s: float


class DecodingMark:
    """The mark of this process in the folder of its run.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        The run.
    """

    def __init__(self, out: Place, run_id: str) -> None:
        self._out = out
        self._run_id = run_id
        self._mark: Mark | None = None

    def begin(self, shard_id: str) -> None:
        """Note that a shard is being decoded.

        Parameters
        ----------
        shard_id : str
            The shard.

        Raises
        ------
        OutputError
            If the disk is full or may not be written to.
        RunError
            If the store does not answer.
        """
        pid = os.getpid()
        host = socket.gethostname()
        self._write(Mark(shard_id, host, pid, process_start(pid), time.time()))

    def renew(self) -> None:
        """Note that the process is still there, where that was long ago; see `begin`."""
        if self._mark and time.time() - self._mark.renewed_unix_s > RENEW_S:
            self._write(replace(self._mark, renewed_unix_s=time.time()))

    def end(self) -> None:
        """Note that decoding has ended, well or with an error that somebody could catch.

        A mark that cannot be deleted stays: the next run searches its shard for nothing.
        """
        if self._mark:
            self._mark = None
            with suppress(OSError, RunError):
                (run_folder(self._out, self._run_id) / MARK_FILE).unlink(missing_ok=True)

    def _write(self, mark: Mark) -> None:
        self._mark = mark
        text = json.dumps(asdict(mark))
        write_record(self._out, self._run_id, name=MARK_FILE, text=text)


def left_behind(out: Place) -> tuple[str, ...]:
    """Find the shards that runs were decoding when they died.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.

    Returns
    -------
    shard_ids : tuple of str
        Sorted. Also those done since.

    Raises
    ------
    RunError
        If the store does not answer.
    """
    paths: list[Place] = [*(out / RUNS_FOLDER).glob(f"*/{MARK_FILE}")]
    marks = filter(None, map(_read, paths))
    return tuple(sorted({mark.shard_id for mark in marks if is_left_behind(mark)}))


def _read(path: Place) -> Mark | None:
    """Read a mark; None where its run has just ended, or is just writing it."""
    try:
        return Mark(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def is_left_behind(mark: Mark) -> bool:
    """Tell whether the process that made a mark is gone.

    Parameters
    ----------
    mark : Mark
        As it was last renewed.

    Returns
    -------
    is_left_behind : bool
        By the processes of this machine if it is one of them, else by the age of the mark.
    """
    if mark.host == socket.gethostname() and mark.process_start:
        return process_start(mark.pid) != mark.process_start
    return time.time() - mark.renewed_unix_s > SILENT_S


def process_start(pid: int) -> str:
    """Tell when a process of this machine started.

    Parameters
    ----------
    pid : int
        Which.

    Returns
    -------
    start : str
        In ticks of the clock since the machine started; empty where there is no such process, it
        has ended, or the system does not tell (it must be Linux).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[_STATE] in "ZX" else fields[_START_TICKS]
