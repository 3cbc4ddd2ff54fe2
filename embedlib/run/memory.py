"""How much memory this process has, and may have. Linux tells; other systems are not asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from embedlib.errors import UndecodableAudioError

T = TypeVar("T")

STEP_MEMORY_BYTES = 1 << 30
"""What one step of decoding may ask for in a run. A block of samples needs a few MiB; the largest
tag that ID3v2 can have, 256 MiB, is held twice, and the index of twelve hours of MP4 takes 50 MiB.
A table of 89 million samples, which takes 2 GiB, is a file of 500 bytes."""

_STATM = "/proc/self/statm"
_RESIDENT, _SHARED, _DATA = 1, 2, 5
"""Columns of the file, in pages; see proc(5)."""

_LEAST_STORE_BYTES = 100 << 20


def private_bytes() -> int:
    """Give the memory that this process alone holds; what it maps of the object store is shared.

    Returns
    -------
    n_bytes : int
        Resident and not shared; 0 where the system does not tell.
    """
    sizes = _sizes()
    return sizes[_RESIDENT] - sizes[_SHARED] if sizes else 0


def object_store_bytes(budget_bytes: int) -> int:
    """Give the size of Ray's object store for a run on this machine.

    Parameters
    ----------
    budget_bytes : int > 0
        Chunks that may be in flight.

    Returns
    -------
    n_bytes : int
        Twice that, and 100 MiB at least.
    """
    return max(_LEAST_STORE_BYTES, 2 * budget_bytes)


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


def within_memory(steps: Iterable[T], *, n_bytes: int) -> Iterator[T]:
    """Let allocations of this process fail when one step makes it grow by so much.

    As `limit_growth`, but only while a step is under way, so that what a caller takes between
    steps does not count. Another thread that asks for as much in that time fails too.

    Parameters
    ----------
    steps : iterable
        What may ask for too much.
    n_bytes : int > 0
        What each step may ask for.

    Yields
    ------
    step : Any
        Each step.

    Raises
    ------
    UndecodableAudioError
        If Python is told that there is no memory; a library makes an error of its own of that.
    """
    remaining = iter(steps)
    while True:
        try:
            with _growth_limited(n_bytes):
                step = next(remaining)
        except StopIteration:
            return
        except MemoryError as exc:
            raise UndecodableAudioError(
                f"decoding asks for more than {n_bytes >> 20} MiB of memory", fix="leave it out"
            ) from exc
        yield step


@contextmanager
def _growth_limited(n_bytes: int) -> Iterator[None]:
    if not (sizes := _sizes()):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = sizes[_DATA] + n_bytes
    if soft != resource.RLIM_INFINITY:
        limit = min(soft, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _sizes() -> list[int]:
    """Give the columns in bytes; none where there is no such file."""
    try:
        with open(_STATM, "rb", buffering=0) as file:  # for each block of samples: 10 us
            columns = file.read().split()
    except FileNotFoundError:
        return []
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return [int(column) * page_bytes for column in columns]
