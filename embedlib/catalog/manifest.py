"""Read manifests: tables of what to embed, in CSV, TSV, JSON lines or Parquet.

Column ``uri`` is required; a relative one is relative to the folder of the manifest. ``track_id``,
``start_s`` and ``end_s`` are optional, others are carried along on request. A file that does not
exist is no error here: it is listed with size -1 and ends as ``missing``.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from embedlib.catalog.allowed import ANYWHERE, Allowed, Gate
from embedlib.catalog.files import N_LOOK_UPS, look_up
from embedlib.catalog.manifest_rows import Columns, Line, read_lines
from embedlib.catalog.uris import absolute, is_url, masked, without_query
from embedlib.records import Track

RESERVED_COLUMNS = frozenset({"track_id", "uri", "start_s", "end_s", "size", "version", "shard_id"})
"""Columns of a catalogue that no column carried along may take the name of."""

_BLOCK_ROWS = 32 * N_LOOK_UPS


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row of a manifest, understood but not yet looked up."""

    track_id: str
    uri: str
    start_s: float | None
    end_s: float | None
    carried: tuple[tuple[str, str], ...]


def read_manifest(
    source: str, *, carry: Sequence[str] = (), allowed: Allowed = ANYWHERE
) -> Iterator[Track]:
    """Read the tracks of a manifest, in its order.

    Parameters
    ----------
    source : str
        Absolute local path or fsspec URL of the manifest.
    carry : sequence of str, optional
        Further columns to keep, as text. Nulls become empty text.
    allowed : Allowed
        Where its files may lie; what may not be named is not asked for either.

    Yields
    ------
    track : Track
        Without a ``track_id`` column it is called as the manifest writes its ``uri``; a clip gets
        its stretch appended, as in ``song.mp3#t=10,20``.

    Raises
    ------
    CatalogError
        If the manifest is missing, is not what its extension says, or has a row without sense; the
        message names the line.
    SourceRefusedError
        If it names what is not allowed, after its last row.
    ConfigError
        If a column to carry is not there.
    """
    folder = _folder(source)
    gate = Gate(source, allowed, is_manifest=True)
    lines = read_lines(source, columns=Columns(carried=tuple(carry)), allowed=allowed)
    entries = (_entry(line, folder=folder, carry=carry) for line in lines)
    let_in = (entry for entry in entries if gate.lets(entry.uri))
    while block := list(islice(let_in, _BLOCK_ROWS)):
        found = look_up([entry.uri for entry in block], allowed=allowed)
        for entry, (size, version) in zip(block, found, strict=True):
            yield Track(
                entry.track_id,
                entry.uri,
                size,
                version,
                start_s=entry.start_s,
                end_s=entry.end_s,
                carried=entry.carried,
            )
    gate.close()


def _folder(source: str) -> str:
    return without_query(source).rpartition("/")[0] or "/"


def _entry(line: Line, *, folder: str, carry: Sequence[str]) -> _Entry:
    written = line.text("uri").strip()
    if not written or "\0" in written:
        raise line.error(f"uri={written!r} names no file", fix="give a path or URL, or delete it")
    start_s, end_s = _stretch(line)
    track_id = line.text("track_id") or _default_id(written, start_s, end_s)
    carried = tuple((name, line.text(name)) for name in carry)
    return _Entry(track_id, absolute(written, folder=folder), start_s, end_s, carried)


def _default_id(written: str, start_s: float | None, end_s: float | None) -> str:
    # Fragments of time as in W3C Media Fragments URI 1.0, section 4.2.1.
    name = masked(without_query(written)) if is_url(written) else posixpath.normpath(written)
    if start_s is None and end_s is None:
        return name
    return f"{name}#t={_number(start_s)},{_number(end_s)}".removesuffix(",")


def _number(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds).removesuffix(".0")


def _stretch(line: Line) -> tuple[float | None, float | None]:
    start_s, end_s = _seconds(line, "start_s"), _seconds(line, "end_s")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise line.error(
            f"end_s={_number(end_s)} is not after start_s={_number(start_s or 0.0)}",
            fix="give seconds from the start of the file, or leave both empty",
        )
    return start_s, end_s


def _seconds(line: Line, column: str) -> float | None:
    text = line.text(column).strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds < math.inf:
        raise line.error(
            f"{column}={text!r} is no time", fix="give seconds from 0 on, or leave it empty"
        )
    return seconds
