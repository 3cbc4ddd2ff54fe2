"""Which rows a model table holds: of which track, version and shard, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

from embedlib.tables.snapshot import LoggedFile

_COLUMNS = ("track_id", "version", "shard_id")


class StoredKey(NamedTuple):
    """What a row of a model table is of, and where it lies.

    Attributes
    ----------
    file_no, row_no : int
        Number of the file among those that were read, and of the row in it.
    track_id, version, shard_id : str
        As stored; a table has one row of the same three.
    """

    file_no: int
    row_no: int
    track_id: str
    version: str
    shard_id: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Track, version and shard."""
        return self[2:]


def stored_keys(files: Iterable[LoggedFile]) -> Iterator[StoredKey]:
    """Read what the rows of some files are of.

    Parameters
    ----------
    files : iterable of LoggedFile
        Numbered from 0 as they come.

    Yields
    ------
    row : StoredKey
        In the order of the files and their rows.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    for file_no, file in enumerate(files):
        row_no = count()
        for batch in file.batches(_COLUMNS):
            columns = (batch[name].to_pylist() for name in _COLUMNS)
            for key in zip(*columns, strict=True):
                yield StoredKey(file_no, next(row_no), *key)
