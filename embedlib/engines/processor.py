"""What computes here: the name of the processor, upon which the last bits of a number depend."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def processor_name() -> str:
    """Give the name of the processor of this machine.

    Returns
    -------
    name : str
        As Linux tells it, else as Python does; cores and clock are not in it.
    """
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
