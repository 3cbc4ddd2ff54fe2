"""A temporary database: what of a catalogue does not fit into memory, sorted and looked up there.

SQLite keeps it in memory as long as it is small, and else in a file without a name in the temporary
folder (``SQLITE_TMPDIR``, ``TMPDIR``), which goes with the process, however that ends.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

from embedlib.catalog.uris import stored
from embedlib.errors import RunError

CACHE_BYTES: Final = 64 * 2**20
"""Of its pages in memory, and of what is sorted at a time."""

_SETTINGS: Final = (
    "page_size = 8192",
    "auto_vacuum = NONE",
    f"cache_size = -{CACHE_BYTES >> 10}",
    "temp_store = FILE",
    "journal_mode = OFF",
    "synchronous = OFF",
    "secure_delete = OFF",
)
"""Nothing of it outlives the process, so that nothing has to survive a crash."""


class Scratch:
    """One temporary database, which goes with its last user; for any thread."""

    def __init__(self) -> None:
        # An empty name makes it temporary; a lock, not a thread of its own, keeps users apart.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        weakref.finalize(self, self._connection.close)
        self._connection.create_function("stored", 1, stored, deterministic=True)
        for setting in _SETTINGS:
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.execute("BEGIN")  # for good: a commit per statement would be slow

    def run(self, statement: str, values: tuple[object, ...] = ()) -> int:
        """Carry out a statement.

        Parameters
        ----------
        statement : str
            In SQL.
        values : tuple
            Of its parameters.

        Returns
        -------
        n_rows : int
            That it wrote.

        Raises
        ------
        RunError
            If the temporary folder is full.
        """
        with _refusals(), self._lock:
            return self._connection.execute(statement, values).rowcount

    def insert(self, table: str, rows: Iterable[tuple[object, ...]]) -> int:
        """Add rows to a table, as they come.

        Parameters
        ----------
        table : str
            Its name.
        rows : iterable of tuple
            A value per column; rows whose key is there already take its place.

        Returns
        -------
        n_rows : int
            How many came.

        Raises
        ------
        RunError
            If the temporary folder is full.
        """
        rest = iter(rows)
        if (first := next(rest, None)) is None:
            return 0
        statement = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(first))})"
        with _refusals():
            return self._connection.executemany(statement, chain([first], rest)).rowcount

    def rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a query one by one, to one thread.

        Parameters
        ----------
        query : str
            In SQL.
        values : tuple
            Of its parameters.

        Yields
        ------
        row : tuple
            A value per column.

        Raises
        ------
        RunError
            If the temporary folder is full.
        """
        with _refusals():
            yield from self._connection.execute(query, values)

    def all_rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Give the rows of a query at once, to whichever thread asks.

        Parameters
        ----------
        query : str
            In SQL.
        values : tuple
            Of its parameters.

        Returns
        -------
        rows : list of tuple
            A value per column.

        Raises
        ------
        RunError
            If the temporary folder is full.
        """
        with _refusals(), self._lock:
            return self._connection.execute(query, values).fetchall()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as exc:
        raise RunError(
            f"the temporary database of the catalogue failed: {exc}",
            fix="name a folder with room for it in TMPDIR",
        ) from exc
