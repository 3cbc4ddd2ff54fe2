"""One run of the command line under observation: what it holds, what it leaves, whom it loses."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from bench_memory import DRIVER, KINDS, RAY

from embedlib.run.cores import default_folder

PERIOD_S = 0.1

PARTS_BETWEEN_KILLS = (4, 12)
"""Parts that are written between two kills, at least and below. The shard that was hit is through
by then: a shard that fails three times stops a run, and that is another test."""

LOCKS = default_folder().name

ENDING_S = 10.0
"""What Ray's processes may take to go after their driver has said goodbye."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a run did to the machine.

    Attributes
    ----------
    exit_code : int
        Of the command.
    stderr : str
        What it said.
    wall_s : float
        From its start to its end.
    n_killed : int
        Workers that were ended on purpose.
    peak_bytes : dict of str to int
        By kind of process, the most resident memory that one of them had.
    outlived : tuple of str
        Command lines of processes that the run started and that are still there.
    left : tuple of str
        What it left in its temporary folder, but for the lock files of cores, which stay.
    """

    exit_code: int
    stderr: str
    wall_s: float
    n_killed: int
    peak_bytes: dict[str, int]
    outlived: tuple[str, ...]
    left: tuple[str, ...]


class Killer:
    """Ends workers at random, as often as a run gets on.

    Parameters
    ----------
    out : Path
        The output of the run, where its parts are counted.
    seed : int
        Of the choice.
    """

    def __init__(self, out: Path, *, seed: int) -> None:
        self._out = out
        self._rng = np.random.default_rng(seed)
        self._n_due = self._draw_parts()
        self.n_killed = 0

    def look(self, workers: Sequence[psutil.Process]) -> None:
        """End one of the workers, if it is time for it."""
        n_parts = sum(1 for _ in self._out.glob("*/part-*.parquet"))
        if workers and n_parts >= self._n_due:
            with suppress(psutil.NoSuchProcess):
                workers[int(self._rng.integers(len(workers)))].kill()
                self.n_killed += 1
            self._n_due = n_parts + self._draw_parts()

    def _draw_parts(self) -> int:
        return int(self._rng.integers(*PARTS_BETWEEN_KILLS))


def watch(arguments: Sequence[str], *, scratch: Path, killer: Killer | None = None) -> Watched:
    """Run the command line to its end.

    Parameters
    ----------
    arguments : sequence of str
        Of ``embedlib``.
    scratch : Path
        A folder for what the command says, and for its temporary files.
    killer : Killer or None
        Shown the workers of the run ten times a second.

    Returns
    -------
    watched : Watched
        What was seen.
    """
    temporary, said = scratch / "tmp", scratch / "stderr"
    temporary.mkdir(parents=True)
    # Ray's own folder stays where it is: paths of sockets must be short.
    environment = {"RAY_TMPDIR": tempfile.gettempdir(), **os.environ, "TMPDIR": str(temporary)}
    started = time.monotonic()
    peaks: dict[str, int] = {}
    seen: set[psutil.Process] = set()
    with (
        said.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "embedlib.cli.app", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as process,
    ):
        while process.poll() is None:
            _look(psutil.Process(process.pid), seen, peaks, killer)
            time.sleep(PERIOD_S)
    wall_s = time.monotonic() - started
    _, alive = psutil.wait_procs(seen, timeout=ENDING_S)
    return Watched(
        exit_code=process.returncode,
        stderr=said.read_text(),
        wall_s=wall_s,
        n_killed=killer.n_killed if killer else 0,
        peak_bytes=peaks,
        outlived=tuple(map(_title, alive)),
        left=tuple(sorted({path.name for path in temporary.iterdir()} - {LOCKS})),
    )


def _look(
    driver: psutil.Process,
    seen: set[psutil.Process],
    peaks: dict[str, int],
    killer: Killer | None,
) -> None:
    with suppress(psutil.NoSuchProcess):
        family = driver.children(recursive=True)
        seen.update(family)
        kinds = {driver: DRIVER} | {process: _kind(process) for process in family}
        _raise_peaks(peaks, kinds.items())
        if killer:
            killer.look([process for process, kind in kinds.items() if kind in KINDS.values()])


def _raise_peaks(peaks: dict[str, int], kinds: Iterable[tuple[psutil.Process, str]]) -> None:
    for process, kind in kinds:
        with suppress(psutil.NoSuchProcess):
            peaks[kind] = max(peaks.get(kind, 0), process.memory_info().rss)


def _kind(process: psutil.Process) -> str:
    title = _title(process)
    return next((kind for start, kind in KINDS.items() if title.startswith(start)), RAY)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one too
        return ""
