"""Rows that a retry makes, on their way into the tables: an output of its own until they are whole.

It lies in the folder of the run. Its lock goes with the process that holds it, however that ends,
so that the next retry can tell what nobody works on any more, and puts those rows in their place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedlib.catalog.stores import Place
from embedlib.run.run_folder import run_folder
from embedlib.tables.durable import create_if_absent, refusals
from embedlib.tables.layout import RUNS_FOLDER, model_names
from embedlib.tables.replace import Replaced, replace_rows

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]

_FOLDER = "retry"
_STATUSES_FILE = "statuses.json"
_ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Staging:
    """Where a retry keeps its rows.

    Attributes
    ----------
    folder : Path or StorePath
        In the folder of the run.
    statuses : tuple of str
        Of the rows that are to be replaced.
    """

    folder: Place
    statuses: tuple[str, ...]

    @property
    def rows(self) -> Place:
        """The output that the rows are written into."""
        return self.folder / _ROWS

    def put_in_place(self, out: Place) -> dict[str, Replaced]:
        """Replace the rows of an output, and forget those here.

        Parameters
        ----------
        out : Path or StorePath
            The output.

        Returns
        -------
        replaced : dict of str to Replaced
            By name of the model table.

        Raises
        ------
        OutputError
            If a file is missing or damaged, or the disk is full; the rows stay here.
        """
        replaced = {
            model: replace_rows(out, model, made_in=self.rows, statuses=self.statuses)
            for model in model_names(self.rows)
        }
        with refusals(self.folder):
            # First what the rows are found by: half of them must never be taken for all.
            (self.folder / _STATUSES_FILE).unlink()
            _remove(self.folder)
        return replaced


@contextmanager
def new_staging(out: Place, run_id: str, *, statuses: Collection[str]) -> Iterator[Staging]:
    """Make a place for the rows of a retry, locked while it is at work.

    Parameters
    ----------
    out : Path or StorePath
        The output.
    run_id : str
        Name of the run.
    statuses : collection of str
        Of the rows that are to be replaced.

    Yields
    ------
    staging : Staging
        Without rows yet.

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    """
    staging = Staging(run_folder(out, run_id) / _FOLDER, tuple(statuses))
    with refusals(staging.folder):
        staging.rows.mkdir(parents=True)
        with _locked(staging.folder):
            path = staging.folder / _STATUSES_FILE
            create_if_absent(path, json.dumps(staging.statuses).encode())
            yield staging


def put_leftovers_in_place(out: Place) -> list[Replaced]:
    """Put in place what retries have made that were killed before they did so themselves.

    Parameters
    ----------
    out : Path or StorePath
        The output.

    Returns
    -------
    replaced : list of Replaced
        One for each such retry and model table.

    Raises
    ------
    OutputError
        If a file is missing or damaged, or the disk is full.
    """
    replaced: list[Replaced] = []
    found: list[Place] = [*(out / RUNS_FOLDER).glob(f"*/{_FOLDER}/{_STATUSES_FILE}")]
    for path in sorted(found, key=str):
        with _locked(path.parent) as is_ours:
            if is_ours and path.is_file():
                staging = Staging(path.parent, tuple(json.loads(path.read_text())))
                replaced += staging.put_in_place(out).values()
    return replaced


def _remove(folder: Place) -> None:
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        for path in folder.glob("**/*"):
            path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Place) -> Iterator[bool]:
    """Hold the lock of a folder; false where another process does, or where there is no lock."""
    if fcntl is None or not isinstance(folder, Path):
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
