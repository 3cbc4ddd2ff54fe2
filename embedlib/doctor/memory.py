"""Memory, shared memory for Ray's object store, and files that may be open."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from embedlib.doctor.cgroups import read_limits
from embedlib.doctor.processor import usable_cores
from embedlib.doctor.verdict import Check, fault, fine, warning

CORE_BYTES = 3 << 29
"""Memory for the workers of a core: all eight models on two cores hold 2.95 GiB at their peak
(docs/performance.md)."""

# ray.init (2.60) raises the soft limit to the hard one or 65,536, warns below 4,096, and
# recommends 8,192.
_RAY_RAISES_TO, _RAY_WARNS_BELOW, _RAY_RECOMMENDS = 65_536, 4_096, 8_192

_FEWEST_FILES = 1_024
"""What most systems give by default."""


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """What this process may hold.

    Attributes
    ----------
    total_bytes, available_bytes : int
        Of the machine; 0 where the system does not tell.
    limit_bytes : int or None
        Of the container; None without a limit.
    shm_bytes : int or None
        Free in ``/dev/shm``; None where there is none.
    store_bytes : int
        What a run asks of Ray's object store.
    max_files : int
        Files that a process may have open, once Ray has raised the limit.
    n_cores : int
        That this process may run on.
    """

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None
    shm_bytes: int | None
    store_bytes: int
    max_files: int
    n_cores: int

    @property
    def room_bytes(self) -> int:
        """What a run can have: what is free, within the limit."""
        return min(self.available_bytes, self.limit_bytes or self.available_bytes)


def read_memory(
    *, store_bytes: int, meminfo: Path = Path("/proc/meminfo"), shm: Path = Path("/dev/shm")
) -> MemoryFacts:
    """Look at the memory of this machine.

    Parameters
    ----------
    store_bytes : int > 0
        What a run asks of Ray's object store.
    meminfo : Path
        Linux's description of memory.
    shm : Path
        The file system in memory.

    Returns
    -------
    facts : MemoryFacts
        Without sizes where the system does not tell them.
    """
    sizes = _sizes(meminfo)
    return MemoryFacts(
        total_bytes=sizes.get("MemTotal", 0),
        available_bytes=sizes.get("MemAvailable", 0),
        limit_bytes=read_limits().memory_bytes,
        shm_bytes=_free_bytes(shm),
        store_bytes=store_bytes,
        max_files=_max_files(),
        n_cores=usable_cores(),
    )


def judge_memory(facts: MemoryFacts) -> list[Check]:
    """Judge memory, shared memory and open files.

    Parameters
    ----------
    facts : MemoryFacts
        Of this machine, or made up.

    Returns
    -------
    checks : list of Check
        One of each.
    """
    return [_judge_room(facts), _judge_shm(facts), _judge_files(facts)]


def gib(n_bytes: float) -> str:
    """Write a number of bytes for people.

    Parameters
    ----------
    n_bytes : float >= 0
        Bytes.

    Returns
    -------
    text : str
        In GiB.

    Examples
    --------
    >>> gib(3 << 29)
    '1.5 GiB'
    """
    return f"{n_bytes / 2**30:.1f} GiB"


def _judge_room(facts: MemoryFacts) -> Check:
    if not facts.available_bytes:
        return fine("memory", "the system does not tell")
    found = f"{gib(facts.available_bytes)} of {gib(facts.total_bytes)} free"
    if facts.limit_bytes is not None:
        found += f", the container may have {gib(facts.limit_bytes)}"
    n_fit = facts.room_bytes // CORE_BYTES
    if not n_fit:
        is_limit = facts.room_bytes == facts.limit_bytes
        look = "ps -eo rss,pid,args --sort -rss | head"
        return fault(
            "memory",
            f"{found}; the workers of one core take up to {gib(CORE_BYTES)}",
            fix="docker run --memory 4g ..." if is_limit else look,
        )
    if n_fit < facts.n_cores:
        return warning(
            "memory",
            f"{found}; with all models the workers of {facts.n_cores} cores take up to "
            f"{gib(CORE_BYTES * facts.n_cores)}",
            fix=f"embedlib extract ... --n-cores {n_fit}",
        )
    return fine("memory", found)


def _judge_shm(facts: MemoryFacts) -> Check:
    if facts.shm_bytes is None:
        return fine("shared memory", "no /dev/shm; Ray takes its temporary folder")
    found = f"{gib(facts.shm_bytes)} free in /dev/shm"
    if facts.shm_bytes < facts.store_bytes:
        size = f"{2 * facts.store_bytes >> 20}m"
        return fault(
            "shared memory",
            f"{found}; Ray's object store of {gib(facts.store_bytes)} would go to the disk",
            fix=f"sudo mount -o remount,size={size} /dev/shm, or docker run --shm-size {size}",
        )
    return fine("shared memory", f"{found}, for an object store of {gib(facts.store_bytes)}")


def _judge_files(facts: MemoryFacts) -> Check:
    found, fix = f"{facts.max_files} files may be open", f"ulimit -n {_RAY_RECOMMENDS}"
    if facts.max_files < _FEWEST_FILES:
        return fault("open files", f"{found}; Ray and its workers need more", fix=fix)
    if facts.max_files < _RAY_WARNS_BELOW:
        return warning("open files", f"{found}; Ray wants {_RAY_RECOMMENDS}", fix=fix)
    return fine("open files", found)


def _sizes(meminfo: Path) -> dict[str, int]:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name: int(size.split()[0]) << 10 for name, _, size in pairs}


def _free_bytes(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_frsize * found.f_bavail


def _max_files() -> int:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _RAY_RAISES_TO if hard == resource.RLIM_INFINITY else min(hard, _RAY_RAISES_TO)
    return highest if soft == resource.RLIM_INFINITY else max(soft, highest)
