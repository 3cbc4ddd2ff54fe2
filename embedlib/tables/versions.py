"""Versions of a table: whether the files of one are still there, and what changed between two.

Old versions are readable until their files are removed. The log may outlive them, so that a version
which opens is not yet one that can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedlib.catalog.stores import Place
from embedlib.errors import OutputError
from embedlib.tables.snapshot import LoggedFile, Snapshot, read_snapshot

_KEYS = ("track_id", "version")


@dataclass(frozen=True, slots=True)
class RowChanges:
    """How many rows came and went from one version of a table to another.

    Attributes
    ----------
    n_added, n_removed : int >= 0
        Counted by id and version of the track: a track that changed is one of each, a row that was
        only written into another file is none.
    """

    n_added: int
    n_removed: int


def kept_snapshot(folder: Place, *, at: int) -> Snapshot:
    """Read the log of a table at a version, and make sure that all its files are there.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table.
    at : int
        The version.

    Returns
    -------
    snapshot : Snapshot
        The files of that version.

    Raises
    ------
    OutputError
        If there is no such version, or its files were removed.
    """
    snapshot = read_snapshot(folder, at=at)
    if snapshot.files and _missing(snapshot) - _names(read_snapshot(folder).files):
        raise OutputError(
            f"version {at} of {folder} is no longer kept: its files were removed",
            fix="read a later one; how long they are kept is told to runs by --keep",
        )
    return snapshot


def row_changes(before: Snapshot, after: Snapshot) -> RowChanges:
    """Count the rows that came and went between two versions of a table.

    Only files that are not in both are read. Rows are told apart by 64 bits of a hash: eight bytes
    each in memory, and one in some ten million counts of a million rows is off by one.

    Parameters
    ----------
    before, after : Snapshot
        Two versions.

    Returns
    -------
    changes : RowChanges
        From the former to the latter.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    old, new = _names(before.files), _names(after.files)
    removed = _row_keys(file for file in before.files if file.path.name not in new)
    added = _row_keys(file for file in after.files if file.path.name not in old)
    n_same = len(np.intersect1d(removed, added))
    return RowChanges(len(added) - n_same, len(removed) - n_same)


def _missing(snapshot: Snapshot) -> set[str]:
    """Name the files that do not lie there, by one listing of the folder."""
    return _names(snapshot.files) - {path.name for path in snapshot.folder.iterdir()}


def _names(files: Iterable[LoggedFile]) -> set[str]:
    return {file.path.name for file in files}


def _row_keys(files: Iterable[LoggedFile]) -> NDArray[np.int64]:
    batches = (batch for file in files for batch in file.batches(_KEYS))
    pairs = (zip(*(batch[name].to_pylist() for name in _KEYS), strict=True) for batch in batches)
    return np.fromiter((hash(pair) for pairs_of in pairs for pair in pairs_of), np.int64)
