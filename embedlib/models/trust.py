"""Whose word a weight file rests on, and the refusal of one that rests on nobody's.

Hash and allow-list keep a graph from doing harm when it runs; that its numbers are those of the
model, only somebody who knows the file can say.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

from embedlib.errors import UnverifiedWeightsError


class Trust(StrEnum):
    """How the hash of a weight file is known."""

    PINNED = "pinned"
    """It stands in the spec."""

    LOCKED = "locked"
    """The user has said so once: ``models add``, or ``models pull --trust-first``."""

    BUILT = "built"
    """The file was made here, with random weights."""

    UNKNOWN = "unverified"
    """Nobody has said what it should be."""


def trust_in(*, pinned: str | None, locked: str | None) -> Trust:
    """Tell whose word there is for a file that is what it should be.

    Parameters
    ----------
    pinned, locked : str or None
        Hashes that are known of it.

    Returns
    -------
    trust : Trust
        The spec goes before the lock.

    Examples
    --------
    >>> trust_in(pinned=None, locked="ab12")
    <Trust.LOCKED: 'locked'>
    """
    if pinned:
        return Trust.PINNED
    return Trust.LOCKED if locked else Trust.UNKNOWN


def require_trust(
    trust: Trust, *, name: str, path: Path, sha256: str, accepted: Collection[str]
) -> None:
    """Refuse a file that nobody has vouched for.

    Parameters
    ----------
    trust : Trust
        How its hash is known.
    name : str
        Of the model or head.
    path : Path
        The file.
    sha256 : str
        Hex digest of its bytes.
    accepted : collection of str
        Names of models and heads whose files are taken as they are. A file that differs from a
        hash that is known was refused before, whatever is accepted here.

    Raises
    ------
    UnverifiedWeightsError
        If its hash is not known and its name is not among those; the message names the hash.
    """
    if trust is not Trust.UNKNOWN or name in accepted:
        return
    raise UnverifiedWeightsError(
        f"nothing says that {path} holds the weights of {name}: sha256 {sha256}",
        fix=f"if you know the file, lock it with `embedlib models add {path} --as {name}`, or take "
        f"--allow-unverified {name} for this run",
    )
