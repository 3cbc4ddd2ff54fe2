"""Resident memory of a run: its process and all that it starts, sampled until it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench_show import gib, table_of

from embedlib.errors import RunError

PERIOD_S = 0.2

KINDS = {
    "ray::ModelActor": "model workers",
    "ray::DecodeActor": "decoders",
    "ray::CalibrationActor": "calibration",
}
"""What the titles that Ray gives to its workers begin with."""

DRIVER, RAY = "driver", "Ray"


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of the processes of one kind.

    Attributes
    ----------
    n_processes : int
        How many there are.
    pss_bytes : int
        Resident memory in which a page that n processes share counts as an n-th of it for each:
        the sum over processes is what they take of the machine.
    rss_bytes : int
        Resident memory in which it counts whole for each.
    """

    n_processes: int = 0
    pss_bytes: int = 0
    rss_bytes: int = 0

    def __add__(self, other: Held) -> Held:
        return Held(
            self.n_processes + other.n_processes,
            self.pss_bytes + other.pss_bytes,
            self.rss_bytes + other.rss_bytes,
        )


Sample = dict[str, Held]
"""By kind of process."""


def total(sample: Mapping[str, Held]) -> Held:
    """Add all kinds up."""
    return sum(sample.values(), Held())


def largest(samples: Sequence[Sample]) -> Sample:
    """Give the sample with the most memory of the machine, PSS."""
    return max(samples, key=lambda sample: total(sample).pss_bytes)


def peaks(samples: Sequence[Sample]) -> dict[str, Any]:
    """Give the peak of all, what each kind held then, and the peak of each kind by itself.

    Parameters
    ----------
    samples : sequence of dict of str to Held
        Of a run.

    Returns
    -------
    figures : dict of str to Any
        ``peak``, ``at_peak`` and ``own_peaks``, as plain values.
    """
    peak = largest(samples)
    kinds = sorted({kind for sample in samples for kind in sample})
    alone = {kind: [{kind: s.get(kind, Held())} for s in samples] for kind in kinds}
    return {
        "peak": asdict(total(peak)),
        "at_peak": {kind: asdict(peak.get(kind, Held())) for kind in kinds},
        "own_peaks": {kind: asdict(total(largest(alone[kind]))) for kind in kinds},
    }


def follow(arguments: Sequence[str], *, cores: Sequence[int]) -> list[Sample]:
    """Run the command line, and sample it and all that it starts until it ends.

    Parameters
    ----------
    arguments : sequence of str
        Of ``embedlib``.
    cores : sequence of int
        What it is bound to.

    Returns
    -------
    samples : list of dict of str to Held
        One per `PERIOD_S`.

    Raises
    ------
    RunError
        If the run fails.
    """
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [sys.executable, "-m", "embedlib.cli.app", *arguments],
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            stdout=subprocess.DEVNULL,
            stderr=said,
        ) as process,
    ):
        samples = []
        while process.poll() is None:
            samples.append(sample_tree(process.pid))
            time.sleep(PERIOD_S)
        if process.returncode:
            said.seek(0)
            last_line = (said.read().strip().splitlines() or ["no message"])[-1]
            raise RunError(
                f"the run ended with code {process.returncode}: {last_line}",
                fix="make it work alone first",
            )
    return samples


def sample_tree(root_pid: int, *, proc: Path = Path("/proc")) -> Sample:
    """Add up the memory of a process and its descendants, by kind.

    Parameters
    ----------
    root_pid : int
        The driver.
    proc : Path
        Where the kernel tells about processes.

    Returns
    -------
    sample : dict of str to Held
        Processes that end meanwhile are left out.
    """
    sample: Sample = {}
    for pid in descendants(root_pid, proc=proc):
        with suppress(FileNotFoundError, ProcessLookupError):
            held = held_by((proc / str(pid) / "smaps_rollup").read_text())
            kind = DRIVER if pid == root_pid else kind_of(proc / str(pid))
            sample[kind] = sample.get(kind, Held()) + held
    return sample


def descendants(root_pid: int, *, proc: Path = Path("/proc")) -> Iterator[int]:
    """Find a process and all that it and those it started have started.

    Parameters
    ----------
    root_pid : int
        The first one.
    proc : Path
        Where the kernel tells about processes.

    Yields
    ------
    pid : int
        The root, then its descendants.
    """
    children: dict[int, list[int]] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                parent = parent_of((folder / "stat").read_text())
                children.setdefault(parent, []).append(int(folder.name))
    found = [root_pid]
    for pid in found:
        yield pid
        found += children.get(pid, [])


def parent_of(stat: str) -> int:
    """Read the parent from the text of /proc/PID/stat.

    Parameters
    ----------
    stat : str
        The text; the name of the process in it may hold anything.

    Returns
    -------
    pid : int
        Of the parent.

    Examples
    --------
    >>> parent_of("12 (a ) b) S 7 12 12 0 -1")
    7
    """
    return int(stat.rpartition(")")[2].split()[1])


def held_by(smaps_rollup: str) -> Held:
    r"""Read the memory of one process from the text of /proc/PID/smaps_rollup.

    Parameters
    ----------
    smaps_rollup : str
        The text.

    Returns
    -------
    held : Held
        Nothing where the process has ended.

    Examples
    --------
    >>> held_by("Rss:  30 kB\nPss:  20 kB\nPss_Anon:  10 kB\n")
    Held(n_processes=1, pss_bytes=20480, rss_bytes=30720)
    """
    lines = (line.split() for line in smaps_rollup.splitlines())
    kib = {key: int(rest[0]) for key, *rest in lines if key in ("Pss:", "Rss:")}
    return Held(1, 1024 * kib["Pss:"], 1024 * kib["Rss:"]) if kib else Held()


def kind_of(folder: Path) -> str:
    """Tell what a process of a run is for, by its title."""
    title = (folder / "cmdline").read_bytes().decode(errors="replace")
    return next((kind for start, kind in KINDS.items() if title.startswith(start)), RAY)


def memory_table(memory: Mapping[str, Any]) -> dict[str, Any]:
    """Make the table of what each kind of process held when all together held most.

    Parameters
    ----------
    memory : mapping of str to Any
        What `peaks` gave, with ``n_cores`` and ``n_samples``.

    Returns
    -------
    table : dict of str to Any
        As `table_of` makes it.
    """
    held = {**memory["at_peak"], "all": memory["peak"]}
    rows = [
        (
            kind,
            str(each["n_processes"]),
            *(f"{gib(each[key]):.2f}" for key in ("pss_bytes", "rss_bytes")),
            f"{gib(memory['own_peaks'].get(kind, each)['pss_bytes']):.2f}",
        )
        for kind, each in held.items()
    ]
    return table_of(
        f"GiB of a run through Ray on {memory['n_cores']} cores",
        ("at the peak", "processes", "PSS", "RSS", "its own peak, PSS"),
        rows,
        notes=[f"The largest of {memory['n_samples']} samples."],
    )
