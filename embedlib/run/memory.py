"""How much memory this process has, and may have. Linux tells; other systems are not asked."""

from __future__ import annotations

import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
_RESIDENT, _SHARED, _DATA = 1, 2, 5
"""Columns of the file, in pages; see proc(5)."""


def private_bytes() -> int:
    """Give the memory that this process alone holds; what it maps of the object store is shared.

    Returns
    -------
    n_bytes : int
        Resident and not shared; 0 where the system does not tell.
    """
    sizes = _sizes()
    return sizes[_RESIDENT] - sizes[_SHARED] if sizes else 0


def limit_growth(n_bytes: int) -> None:
    """Let allocations of this process fail when it has grown by so much.

    The C library then gives null pointers and Python a `MemoryError`, in place of a machine
    without memory and a kernel that chooses whom to kill.

    Parameters
    ----------
    n_bytes : int > 0
        Beyond what it has now.
    """
    if sizes := _sizes():
        import resource

        limit = sizes[_DATA] + n_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _sizes() -> list[int]:
    """Give the columns in bytes; none where there is no such file."""
    if not _STATM.exists():
        return []
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return [int(column) * page_bytes for column in _STATM.read_text().split()]
