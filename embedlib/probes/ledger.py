"""From parts to commits: those of about a second together, and a word to who looks on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from embedlib.errors import RunError
from embedlib.probes.commits import FitCommitter
from embedlib.probes.table import FitsPart
from embedlib.tables.layout import OutLike

COMMIT_EVERY_S: Final = 1.0
"""A commit costs some 40 ms; a kill loses no more than this of written parts."""


def disk_failed(out: OutLike, exc: OSError) -> RunError:
    """Make the error for a disk that fails, where nobody can try again.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    exc : OSError
        What it said.

    Returns
    -------
    error : RunError
        With the way out.
    """
    return RunError(
        f"cannot write to {out}: {type(exc).__name__}: {exc}",
        fix="what is committed stays; run the same command to continue",
    )


class SweepWatcher:
    """Somebody who looks on. Does nothing."""

    def on_plan(self, n_fits: int, n_skipped: int) -> None:
        """See what is to be done, beside what was seen before.

        Parameters
        ----------
        n_fits : int
            Fits that are left to do.
        n_skipped : int
            Fits that are committed already.
        """

    def on_fits(self, n_fits: int) -> None:
        """See that fits have ended.

        Parameters
        ----------
        n_fits : int
            How many.
        """


class Ledger:
    """Commits the parts of a sweep as they come; one thread at a time may use it.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder.
    watcher : SweepWatcher
        Told of each part.
    """

    def __init__(self, out: OutLike, watcher: SweepWatcher) -> None:
        self._out = out
        self._committer = FitCommitter(out)
        self._watcher = watcher
        self._waiting: list[FitsPart] = []
        self._settled_s = time.monotonic()
        self.n_fits = 0
        self.n_commits = 0
        self.n_lost_groups = 0

    def group_ids(self) -> frozenset[str]:
        """Name all groups that are committed, by whomever.

        Returns
        -------
        group_ids : frozenset of str
            As of now.
        """
        return self._committer.group_ids()

    def add(self, parts: Iterable[FitsPart]) -> None:
        """Take parts, which hold all fits of their groups.

        Parameters
        ----------
        parts : iterable of FitsPart
            As written.
        """
        given = list(parts)
        self._waiting += given
        self._watcher.on_fits(sum(part.n_rows for part in given))
        self.settle_if_due()

    def settle_if_due(self) -> None:
        """Commit what waits, where the last commit is long enough ago."""
        if time.monotonic() - self._settled_s >= COMMIT_EVERY_S:
            self.settle()

    def settle(self) -> None:
        """Commit what waits.

        Raises
        ------
        OutputError
            If a part is damaged, the disk is full, or the log cannot be read.
        RunError
            If the log refuses for ever, or the disk fails.
        """
        if not self._waiting:
            return
        try:
            commit = self._committer.commit(self._waiting)
        except OSError as exc:
            raise disk_failed(self._out, exc) from exc
        self._waiting = []
        self._settled_s = time.monotonic()
        self.n_fits += commit.n_fits
        self.n_commits += bool(commit.n_fits)
        self.n_lost_groups += len(commit.lost)
