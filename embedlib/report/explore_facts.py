"""What is known of each track of a map: columns of its table, of the catalogue, and made ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import Final, TypeAlias
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from embedlib.catalog.uris import is_url, lacks_credentials
from embedlib.records import Track
from embedlib.tables.frames import float_matrix
from embedlib.tables.schema import TRACK_COLUMNS
from embedlib.tables.vectors import VectorColumn

Value: TypeAlias = str | int | float | bool | None

FOLDER: Final = "folder"
"""A column made of the uri: music is often sorted by artist or genre."""

_STORED: Final = (
    "duration_s",
    *(name for name in TRACK_COLUMNS if name not in {"track_id", "duration_s"}),
)
"""Columns of the table; what tells most of the sound comes first."""

_CLIP: Final = ("start_s", "end_s")
_PLAYABLE: Final = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of every track.

    Attributes
    ----------
    name : str
        Of the column.
    values : tuple of (str, int, float, bool or None)
        One for each track.
    """

    name: str
    values: tuple[Value, ...]


def facts_of(
    rows: pa.Table, planned: Sequence[Track | None], *, classified: Iterable[VectorColumn] = ()
) -> tuple[Fact, ...]:
    """Collect all columns that hold one value per track.

    Parameters
    ----------
    rows : pyarrow.Table
        Of a model table, with its `TRACK_COLUMNS`.
    planned : sequence of (Track or None)
        What the catalogue holds of each row.
    classified : iterable of VectorColumn
        Columns of `rows` whose values have names.

    Returns
    -------
    facts : tuple of Fact
        What the catalogue carries, marked where its name is taken; the likeliest class of each
        head; the folder; the clip, where there are clips; columns of the table but the id.
    """
    made = [Fact(column.name, _likeliest(rows, column)) for column in classified]
    made.append(Fact(FOLDER, tuple(_folder(uri) for uri in rows["uri"].to_pylist())))
    made += _clips(planned)
    stored = [Fact(name, tuple(rows[name].to_pylist())) for name in _STORED]
    taken = {TRACK_COLUMNS[0], *(fact.name for fact in (*made, *stored))}
    carried = (
        Fact(f"{name} (catalogue)" if name in taken else name, values)
        for name, values in _carried(planned)
    )
    return (*carried, *made, *stored)


def audio_url(uri: str, *, start_s: float | None = None, end_s: float | None = None) -> str:
    """Give the address that a browser may open to play a track.

    Parameters
    ----------
    uri : str
        Absolute local path, or URL.
    start_s, end_s : float, optional
        The stretch to play.

    Returns
    -------
    url : str
        ``file://`` or ``http(s)://``, with the stretch as a media fragment; empty for what no
        browser opens, and for URLs whose credentials were not kept.

    Examples
    --------
    >>> audio_url("/music/50% of #1.wav", start_s=1.5)
    'file:///music/50%25%20of%20%231.wav#t=1.5'
    >>> audio_url("s3://bucket/a.wav")
    ''
    """
    if is_url(uri):
        url = uri if uri.startswith(_PLAYABLE) and not lacks_credentials(uri) else ""
    else:
        url = f"file://{quote(uri)}"
    if not url or (start_s is None and end_s is None):
        return url
    return f"{url}#t={start_s or 0:g}" + ("" if end_s is None else f",{end_s:g}")


def _likeliest(rows: pa.Table, column: VectorColumn) -> tuple[Value, ...]:
    best = float_matrix(rows[column.name], column.n_dims).argmax(axis=1)
    return tuple(np.asarray(column.classes, dtype=object)[best])


def _folder(uri: str) -> str:
    return PurePath(uri).parent.name


def _clips(planned: Sequence[Track | None]) -> Iterator[Fact]:
    for name in _CLIP:
        values = tuple(getattr(track, name, None) for track in planned)
        if any(value is not None for value in values):
            yield Fact(name, values)


def _carried(planned: Sequence[Track | None]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    texts = [dict(track.carried) if track else {} for track in planned]
    for name in dict.fromkeys(chain.from_iterable(texts)):
        yield name, tuple(text.get(name) for text in texts)
