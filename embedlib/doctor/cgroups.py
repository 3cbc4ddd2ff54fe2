"""Limits that Linux sets to the control group of this process, of version 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNLIMITED_BYTES = 1 << 60
# Version 1 writes the largest multiple of a page below 2**63 where there is no limit.


@dataclass(frozen=True, slots=True)
class Limits:
    """What the groups of this process leave to it.

    Attributes
    ----------
    n_cores : float > 0 or None
        Cores' worth of time; None without a limit.
    memory_bytes : int > 0 or None
        None without a limit.
    """

    n_cores: float | None
    memory_bytes: int | None


def read_limits(root: Path = Path("/")) -> Limits:
    """Read the tightest limits of this process's groups and those around them.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are; for tests.

    Returns
    -------
    limits : Limits
        Without any where the system has no such groups.
    """
    cores = [_tightest(root, "cpu", _quota), _tightest(root, "cpu", _quota_of_version_1)]
    memory = [
        _tightest(root, "memory", lambda folder: _bytes(folder / "memory.max")),
        _tightest(root, "memory", lambda folder: _bytes(folder / "memory.limit_in_bytes")),
    ]
    n_bytes = _least(memory)
    return Limits(_least(cores), None if n_bytes is None else int(n_bytes))


def _tightest(root: Path, controller: str, read: Callable[[Path], float | None]) -> float | None:
    return _least([read(folder) for folder in _folders(root, controller)])


def _least(limits: list[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Give the folders of the groups, inner ones first; in a container most are not to be seen."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / controllers  # none are named in version 2
        inner = PurePosixPath(path.lstrip("/"))
        yield from (base / group for group in (inner, *inner.parents))


def _quota(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def _quota_of_version_1(folder: Path) -> float | None:
    quota = _text(folder / "cpu.cfs_quota_us").strip()
    period = _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _bytes(path: Path) -> float | None:
    text = _text(path).strip()
    n_bytes = int(text) if text.isdigit() else _UNLIMITED_BYTES
    return n_bytes if n_bytes < _UNLIMITED_BYTES else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
