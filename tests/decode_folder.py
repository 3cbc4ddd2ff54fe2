"""Decode all files of a folder as a run does, and tell of each what it took: run as a script.

The arguments are the folder and the MiB that one step of decoding may ask for. For each file a
line of JSON says how it ended, how far the process grew, how long it took, and how many files it
had open before and after.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from embedlib.audio.decode import AudioLimits
from embedlib.records import Shard, Track
from embedlib.run.decoding import decode_shard
from embedlib.run.job import DecodeJob

LIMITS = AudioLimits(max_duration_s=600.0, cpu_deadline_s=30.0)
RESET_PEAK = "5"
"""See proc(5), ``/proc/pid/clear_refs``."""


def kib(name: str) -> int:
    """Read a figure of this process."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def outcome(path: Path, memory_mib: int) -> dict[str, object]:
    """Decode one file."""
    track = Track(path.name, str(path), -1, "")
    job = DecodeJob(
        ("musicnn-mel",), "pyav", "soxr-hq", LIMITS, 1 << 20, step_memory_bytes=memory_mib << 20
    )
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    n_files, held_kib, began_s = len(os.listdir("/proc/self/fd")), kib("VmRSS"), time.monotonic()
    (decoded,) = (
        ended for chunk in decode_shard(Shard("s", (track,), 0.0), job) for ended in chunk.ended
    )
    return {
        "name": path.name,
        "status": decoded.status,
        "error": decoded.error,
        "grown_mib": (kib("VmHWM") - held_kib) >> 10,
        "spent_s": time.monotonic() - began_s,
        "n_left_open": len(os.listdir("/proc/self/fd")) - n_files,
    }


def outcomes(folder: Path, memory_mib: int) -> Iterator[dict[str, object]]:
    """Decode one file after the other."""
    for path in sorted(folder.iterdir()):
        yield outcome(path, memory_mib)


if __name__ == "__main__":
    for each in outcomes(Path(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(each), flush=True)
