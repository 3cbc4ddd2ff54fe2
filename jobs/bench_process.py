"""One measurement of a benchmark: a script in a process of its own, bound to its cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedlib.errors import RunError

JOBS = Path(__file__).parent


def measure(
    script: str, job: Mapping[str, Any], *, name: str, out: Path, cores: Sequence[int]
) -> dict[str, Any]:
    """Run a script that reads a job and leaves figures.

    Parameters
    ----------
    script : str
        Name of the file in this folder: it takes the path of a JSON file, and writes its figures
        beside that, with the suffix ``.result``.
    job : mapping of str to Any
        What the script is to do.
    name : str
        Of what is measured, for errors.
    out : Path
        The script's output; the job and its figures lie beside it.
    cores : sequence of int
        What the process and all its threads are bound to, before it starts.

    Returns
    -------
    figures : dict of str to Any
        What the script left, and ``wall_s``: the whole life of the process.

    Raises
    ------
    RunError
        If the process fails, with the last line that it said.
    """
    job_file = Path(f"{out}.json")
    job_file.write_text(json.dumps({**job, "out": out}, default=str))
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, str(JOBS / script), str(job_file)],
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
    )
    wall_s = time.perf_counter() - started
    if ended.returncode:
        last_line = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(
            f"{name} ended with code {ended.returncode}: {last_line}",
            fix="make it work alone first",
        )
    figures: dict[str, Any] = json.loads(job_file.with_suffix(".result").read_text())
    return {**figures, "wall_s": wall_s}
