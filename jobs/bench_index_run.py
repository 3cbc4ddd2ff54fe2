"""A night with `embedlib index`, or a listing of the same tree, in a process of its own.

Run by jobs/bench_index.py: python jobs/bench_index_run.py JOB.json, which leaves JOB.result
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from embedlib.config import ExtractConfig, extract_config
from embedlib.run.extract import RunWatcher
from embedlib.run.index import run_index

MODEL = "untrained-msd-musicnn-1"

NIGHT, LISTING = "night", "listing"
"""What a process does."""

KEEP = timedelta(days=7)


def config_of(job: dict[str, Any]) -> ExtractConfig:
    """Configure the run of each night."""
    return extract_config(
        {"sources": [job["music"]], "models": [MODEL], "out": job["output"], "local": True}
    )


def spend_night(job: dict[str, Any]) -> dict[str, Any]:
    """Bring the output up to its source; what was found, and what it took."""
    started = time.perf_counter()
    summary = run_index(config_of(job), keep=KEEP, watcher=RunWatcher())
    return {
        "seconds": time.perf_counter() - started,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "n_new": summary.n_new,
        "n_unchanged": summary.n_unchanged,
        "n_rows": summary.n_rows,
        "n_failed": summary.n_failed,
    }


def list_tree(job: dict[str, Any]) -> dict[str, Any]:
    """List all folders and ask for the state of each file: less cannot tell what is new."""
    started = time.perf_counter()
    n_files = sum(1 for _ in _states(job["music"]))
    return {"seconds": time.perf_counter() - started, "n_files": n_files}


def _states(folder: str) -> Iterator[tuple[int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _states(entry.path)
            else:
                state = entry.stat()
                yield state.st_size, state.st_mtime_ns


STEPS = {NIGHT: spend_night, LISTING: list_tree}

if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    job_file.with_suffix(".result").write_text(json.dumps(STEPS[job["step"]](job)))
