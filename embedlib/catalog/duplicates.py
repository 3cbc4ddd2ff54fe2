"""Ids for tracks whose own id is taken: they are planned and reported, but never opened."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from embedlib.catalog.uris import stored
from embedlib.records import Track

MARK: Final = "#duplicate="
"""Between the id that was taken and what tells its second owner apart."""

N_DIGITS: Final = 16
"""Hexadecimal digits that follow: a hash of the id and of where the audio lies."""


def duplicate_id(track: Track) -> str:
    """Give an id to a track that has the id of an earlier one.

    Parameters
    ----------
    track : Track
        As it was listed.

    Returns
    -------
    track_id : str
        The same whenever and in whatever order the track is listed.

    Examples
    --------
    >>> duplicate_id(Track("a.wav", "/y/a.wav", 1, ""))
    'a.wav#duplicate=e9fbddd0dd6906d4'
    """
    return f"{track.track_id}{MARK}{_digits(track.track_id, track)}"


def is_duplicate(track: Track) -> bool:
    """Tell whether the id of a track was made by `duplicate_id`.

    Parameters
    ----------
    track : Track
        As planned.

    Returns
    -------
    is_duplicate : bool
        Never true by chance: the digits must be those of this very track.

    Examples
    --------
    >>> is_duplicate(Track("a.wav#duplicate=0123456789abcdef", "/y/a.wav", 1, ""))
    False
    """
    track_id, mark, digits = track.track_id.rpartition(MARK)
    return bool(mark) and digits == _digits(track_id, track)


def _digits(track_id: str, track: Track) -> str:
    content = [track_id, stored(track.uri), track.start_s, track.end_s]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:N_DIGITS]
