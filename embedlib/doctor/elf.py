"""Which libraries a library of Linux is linked against, without loading it.

The layout is that of elf(5), for 64 bits, little end first. Where a table is not where it should
be, nothing is found: the file then belongs to another platform.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little end first
_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRINGS = 0, 1, 5

_SEGMENTS_AT, _SEGMENT_COUNT_AT = 0x20, 0x38
_SEGMENT = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, -, size in file, -, -
_ENTRY = struct.Struct("<qQ")

_NAME_BYTES = 256  # a file name on Linux has 255


def linked(library: Path) -> tuple[str, ...]:
    """List the libraries that the system loads with a library.

    Parameters
    ----------
    library : Path
        A shared library; need not be there.

    Returns
    -------
    names : tuple of str
        Such as ``libc.so.6``, in its order; empty where it is no such file.
    """
    if not library.is_file() or not library.stat().st_size:
        return ()
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text[: len(_MAGIC)] != _MAGIC:
            return ()
        try:
            return tuple(_names(text))
        except (struct.error, ValueError):  # it is cut short, or damaged
            return ()


def _names(text: mmap.mmap) -> Iterator[str]:
    segments = list(_segments(text))
    for kind, offset, _, n_bytes in segments:
        if kind == _DYNAMIC:
            entries = list(_entries(text, offset, n_bytes))
            start = _offset_of(dict(entries).get(_STRINGS, 0), segments)
            for place in (start + value for tag, value in entries if tag == _NEEDED):
                yield text[place : place + _NAME_BYTES].partition(b"\0")[0].decode()


def _segments(text: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Give kind, offset, address and size of each segment."""
    (start,) = struct.unpack_from("<Q", text, _SEGMENTS_AT)
    (n_segments,) = struct.unpack_from("<H", text, _SEGMENT_COUNT_AT)
    for number in range(n_segments):
        fields = _SEGMENT.unpack_from(text, start + number * _SEGMENT.size)
        kind, _, offset, address, _, n_bytes, _, _ = fields
        yield kind, offset, address, n_bytes


def _entries(text: mmap.mmap, offset: int, n_bytes: int) -> Iterator[tuple[int, int]]:
    for place in range(offset, offset + n_bytes, _ENTRY.size):
        tag, value = _ENTRY.unpack_from(text, place)
        if tag == _END:
            return
        yield tag, value


def _offset_of(address: int, segments: list[tuple[int, int, int, int]]) -> int:
    for kind, offset, start, n_bytes in segments:
        if kind == _LOAD and start <= address < start + n_bytes:
            return offset + address - start
    raise ValueError(f"no segment holds the address {address}")
