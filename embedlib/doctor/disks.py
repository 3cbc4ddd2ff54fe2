"""Folders that a run writes to: whether it may, how much room is there, and how long paths get."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedlib.doctor.memory import gib
from embedlib.doctor.verdict import Check, fault, fine, warning

LEAST_BYTES = 256 << 20
"""Less is used up by one converted model: VGGish has 289 MB."""

ENOUGH_BYTES = 2 << 30

FIXES = {
    "cache": "export EMBEDLIB_CACHE=/a/folder/with/room",
    "temporary folder": "export TMPDIR=/a/folder/with/room",
    "output": "embedlib extract ... --out /a/folder/with/room",
}
"""By the purpose of a folder: what names another one."""

# Ray 2.60 stops to spill objects at RAY_local_fs_capacity_threshold of the disk.
_RAY_FULL = 0.95

# sockaddr_un(7): 108 bytes on Linux, 104 elsewhere, with the zero at the end.
_SOCKET_BYTES = 107 if sys.platform == "linux" else 103

# Below the temporary folder, in Ray 2.60: the name of a session has the time in microseconds and
# a process id.
_LONGEST_SOCKET = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder that is written to.

    Attributes
    ----------
    purpose : str
        One of `FIXES`.
    path : str
        The folder, or the nearest one above it that is there.
    free_bytes, total_bytes : int
        Of its disk; 0 where it cannot be asked.
    problem : str
        Why no file can be made there; empty where one can.
    """

    purpose: str
    path: str
    free_bytes: int
    total_bytes: int
    problem: str

    @property
    def used(self) -> float:
        """Part of the disk that cannot be written to any more, from 0 to 1."""
        return 1 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


def read_folder(purpose: str, folder: Path) -> FolderFacts:
    """Look at a folder, and make a file in it that has no name.

    Parameters
    ----------
    purpose : str
        One of `FIXES`.
    folder : Path
        It need not be there.

    Returns
    -------
    facts : FolderFacts
        Of the nearest folder that is there, where it would be made.
    """
    found = nearest(folder)
    try:
        disk = shutil.disk_usage(found)
        with tempfile.TemporaryFile(dir=found) as file:
            file.write(b"embedlib")
            file.flush()
    except OSError as exc:
        return FolderFacts(purpose, str(found), 0, 0, exc.strerror or type(exc).__name__)
    return FolderFacts(purpose, str(found), disk.free, disk.total, "")


def nearest(folder: Path) -> Path:
    """Find the first of a folder and those around it that is there.

    Parameters
    ----------
    folder : Path
        Any path.

    Returns
    -------
    found : Path
        At last the root.
    """
    full = folder.expanduser().absolute()
    return next((each for each in (full, *full.parents) if each.exists()), Path(full.anchor))


def ray_folder(environment: Mapping[str, str]) -> str:
    """Say below which folder Ray makes its sockets.

    Parameters
    ----------
    environment : mapping of str to str
        Of this process.

    Returns
    -------
    folder : str
        In the order in which Ray asks.

    Examples
    --------
    >>> ray_folder({"TMPDIR": "/scratch"}), ray_folder({})
    ('/scratch', '/tmp')
    """
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform == "linux" else ("RAY_TMPDIR",)
    return next((environment[name] for name in names if name in environment), "/tmp")


def judge_folder(facts: FolderFacts) -> Check:
    """Judge a folder.

    Parameters
    ----------
    facts : FolderFacts
        Of this machine, or made up.

    Returns
    -------
    check : Check
        By the purpose of the folder.
    """
    fix = FIXES[facts.purpose]
    if facts.problem:
        return fault(facts.purpose, f"{facts.path} cannot be written to: {facts.problem}", fix=fix)
    found = f"{gib(facts.free_bytes)} free at {facts.path}"
    if facts.free_bytes < LEAST_BYTES:
        return fault(facts.purpose, f"{found}; a run needs {gib(LEAST_BYTES)} at least", fix=fix)
    if facts.purpose == "temporary folder" and facts.used > _RAY_FULL:
        used = f"{facts.used:.0%} of the disk are used"
        return warning(facts.purpose, f"{found}; {used}, where Ray stops to spill", fix=fix)
    if facts.free_bytes < ENOUGH_BYTES:
        return warning(facts.purpose, f"{found}, which is little", fix=fix)
    return fine(facts.purpose, found)


def judge_sockets(folder: str) -> Check:
    """Judge whether the paths of Ray's sockets fit into what the system takes.

    Parameters
    ----------
    folder : str
        Below which Ray makes them.

    Returns
    -------
    check : Check
        A fault where Ray would not start.
    """
    n_bytes = len(os.fsencode(os.path.join(folder, _LONGEST_SOCKET)))
    found = f"paths of up to {n_bytes} bytes below {folder}; the system takes {_SOCKET_BYTES}"
    if n_bytes > _SOCKET_BYTES:
        return fault("sockets", found, fix="export RAY_TMPDIR=/tmp")
    return fine("sockets", found)
