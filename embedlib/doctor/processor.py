"""Cores that this process may use, those that runs have leased, and what the processor can do."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from embedlib.doctor.cgroups import read_limits
from embedlib.doctor.verdict import Check, fine, warning
from embedlib.run.cores import CoreLease

TOLD = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Of the flags of a processor those that decide about engines and precision."""

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class ProcessorFacts:
    """The processor, as this process may use it.

    Attributes
    ----------
    n_machine : int > 0
        Cores of the machine.
    n_usable : int > 0
        Those that this process may run on.
    n_leased : int >= 0
        Of these, those that runs of this user are bound to.
    n_quota : float > 0 or None
        Cores' worth of time that the container leaves; None without a limit.
    architecture : str
        ``x86_64``, ``aarch64``.
    model : str
        Its name, where the system tells.
    flags : frozenset of str
        What it can do, in Linux's words; empty where the system does not tell.
    """

    n_machine: int
    n_usable: int
    n_leased: int
    n_quota: float | None
    architecture: str
    model: str
    flags: frozenset[str]


def read_processor(*, cpuinfo: Path = _CPUINFO, leases: Path | None = None) -> ProcessorFacts:
    """Look at the processor.

    Parameters
    ----------
    cpuinfo : Path
        Linux's description of it.
    leases : Path or None
        Folder of the lock files of cores; that of all runs of this user by default.

    Returns
    -------
    facts : ProcessorFacts
        The free cores are leased for the moment that it takes to count them.
    """
    n_usable, fields = usable_cores(), _fields(cpuinfo)
    return ProcessorFacts(
        n_machine=os.cpu_count() or n_usable,
        n_usable=n_usable,
        n_leased=_n_leased(n_usable, leases),
        n_quota=read_limits().n_cores,
        architecture=platform.machine(),
        model=fields.get("model name", ""),
        flags=frozenset(fields.get("flags", "").split()),
    )


def usable_cores() -> int:
    """Count the cores that this process may run on.

    Returns
    -------
    n_usable : int > 0
        All of the machine where the system knows no affinity.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def judge_processor(facts: ProcessorFacts) -> list[Check]:
    """Judge cores and processor.

    Parameters
    ----------
    facts : ProcessorFacts
        Of this machine, or made up.

    Returns
    -------
    checks : list of Check
        One of the cores, one of the processor.
    """
    return [_judge_cores(facts), _judge_flags(facts)]


def _judge_cores(facts: ProcessorFacts) -> Check:
    found = f"{facts.n_usable} of {facts.n_machine} may be used, {facts.n_leased} of them leased"
    if facts.n_quota is not None and facts.n_quota < facts.n_usable:
        n_whole = max(1, int(facts.n_quota))
        return warning(
            "cores",
            f"{found}; the container has time for {facts.n_quota:g}, so that workers are throttled",
            fix=f"taskset --cpu-list 0-{n_whole - 1} embedlib extract ... --n-cores {n_whole}",
        )
    if facts.n_leased and facts.n_leased >= facts.n_usable:
        return warning(
            "cores",
            f"{found}: another run shares them with the next one",
            fix="ps -eo pid,etime,args | grep '[e]mbedlib'",
        )
    return fine("cores", found)


def _judge_flags(facts: ProcessorFacts) -> Check:
    if facts.architecture not in ("x86_64", "AMD64"):
        return fine("processor", f"{facts.model or facts.architecture}: f32, by openvino")
    told = [flag for flag in TOLD if flag in facts.flags]
    found = f"{facts.model or facts.architecture} ({', '.join(told) or 'no flags'})"
    if facts.flags and "avx" not in facts.flags:  # what the wheels of TensorFlow are built for
        return warning(
            "processor",
            f"{found}: without AVX, Essentia ends by SIGILL",
            fix="embedlib extract ... --engine openvino",
        )
    return fine("processor", f"{found}: {_precision(facts.flags)}")


def _precision(flags: frozenset[str]) -> str:
    # Measured on avx512_bf16 (docs/performance.md). OpenVINO simulates bf16 on other processors,
    # says its page on bfloat16 inference, which takes longer than f32.
    if "amx_bf16" in flags:
        return "--precision bf16 pays, in tiles (AMX)"
    if "avx512_bf16" in flags:
        return "--precision bf16 is a little faster than f32"
    return "f32; bf16 would be simulated, and slower"


def _n_leased(n_usable: int, folder: Path | None) -> int:
    if not hasattr(os, "sched_getaffinity"):
        return 0
    lease = CoreLease(n_usable, folder=folder)
    n_free = len(lease.cores)
    lease.release()
    return n_usable - n_free


def _fields(cpuinfo: Path) -> dict[str, str]:
    """Read the first core's fields; all cores of a machine have the same flags."""
    try:
        lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}
