"""A stack for signals that is large enough for whoever handles them.

OpenVINO's CPU plugin lays one of some 11 KiB under the thread that loads it (for AMX, whose state a
frame of the kernel holds), in the place of what was there. The handler by which Ray reports a crash
needs more: it overran that stack, crashed again, and went round in circles while its memory grew,
so that a worker that should have died of a segmentation fault never ended.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Final

STACK_BYTES: Final = 256 * 2**10
"""Four times what abseil, and with it Ray, lays for its own handler; pages come when touched."""

_kept: list[mmap.mmap] = []
"""Never let go: the kernel writes there as long as the thread lives."""


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux; see sigaltstack(2)."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("n_bytes", ctypes.c_size_t),
    )


def lay_signal_stack() -> None:
    """Lay a stack under the signals of this thread, in the place of one that is too small.

    Where none was laid, or the system is not Linux, nothing happens.
    """
    if 0 < signal_stack_bytes() < STACK_BYTES:
        memory = mmap.mmap(-1, STACK_BYTES)
        _kept.append(memory)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(address, 0, STACK_BYTES)), None)


def signal_stack_bytes() -> int:
    """Tell how large the stack for signals of this thread is.

    Returns
    -------
    n_bytes : int
        0 where there is none, or the system is not Linux.
    """
    found = _Stack()
    if sys.platform == "linux":
        ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return int(found.n_bytes)
