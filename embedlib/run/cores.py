"""Cores leased on a node, so that two runs do not sit on the same ones.

One lock file per core and user; the lock goes with the process that holds it, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]


class CoreLease:
    """Up to `n_cores` cores of this machine that no other lease holds.

    Parameters
    ----------
    n_cores : int > 0
        How many are wanted.
    folder : Path, optional
        Where the lock files are; the same for all runs on a node.

    Attributes
    ----------
    cores : tuple of int
        What was free among the cores this process may use; empty where none was, or where the
        system knows no affinity.
    """

    def __init__(self, n_cores: int, *, folder: Path | None = None) -> None:
        self._folder = folder or default_folder()
        self._descriptors: list[int] = []
        self.cores: tuple[int, ...] = ()
        if fcntl is None or not hasattr(os, "sched_getaffinity"):
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for core in sorted(os.sched_getaffinity(0)):
            if len(self.cores) < n_cores and self._try_lock(core):
                self.cores = (*self.cores, core)

    def _try_lock(self, core: int) -> bool:
        descriptor = os.open(self._folder / f"core-{core}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptors.append(descriptor)
        return True

    def pin(self) -> bool:
        """Bind this thread, and those it will start, to the leased cores.

        Returns
        -------
        is_pinned : bool
            False when there is nothing to be bound to.
        """
        if self.cores:
            os.sched_setaffinity(0, self.cores)
        return bool(self.cores)

    def release(self) -> None:
        """Give the cores back before the process ends."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self.cores = ()


def give_way() -> None:
    """Run only where no other process wants the core; this thread, and those it will start.

    Linux knows it as ``SCHED_IDLE`` and lets anybody choose it; elsewhere, and where a container
    forbids it, nothing changes.
    """
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def default_folder() -> Path:
    """Name the folder of lock files of this user on this machine.

    Returns
    -------
    folder : Path
        In the system's folder for temporary files.
    """
    return Path(tempfile.gettempdir()) / f"embedlib-cores-{os.getuid()}"
