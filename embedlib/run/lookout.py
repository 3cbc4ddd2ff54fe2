"""Who is at work on an output, as its folder tells: from any machine that can read it."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from embedlib.catalog.stores import Place
from embedlib.run.journal import DONE, RECORD_FILE, every_s
from embedlib.run.run_folder import run_folder
from embedlib.run.standing import RunRecord, read_record
from embedlib.run.unfinished import process_start
from embedlib.tables.layout import RUNS_FOLDER

SILENT_S: Final = 90.0
"""How long a run may say nothing before it counts as dead: nine times what a store gets."""

N_NEWEST: Final = 20
"""Runs that are looked at, the newest by their names, which begin with a time."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A run as it was last seen.

    Attributes
    ----------
    record : RunRecord
        What it said last.
    is_under_way : bool
        Whether it is still at work, for all that can be told.
    verdict : str
        Empty while it is; else how it ended, in words.
    """

    record: RunRecord
    is_under_way: bool
    verdict: str

    @property
    def is_well(self) -> bool:
        """Whether it is at work, or came to its end."""
        return self.is_under_way or self.record.ended == DONE


class Lookout:
    """Looks at the runs of an output again and again.

    A run is alive while it writes: by the clock of this machine since it was last seen to, and
    before that by what its record says, so that clocks that differ mislead the first look only. On
    the machine of the run its process is looked for.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    """

    def __init__(self, out: Place) -> None:
        self._out = out
        self._ended: dict[str, RunRecord] = {}  # these need not be read again
        self._heard: dict[str, tuple[int, float]] = {}  # number of the last write, and when

    @property
    def every_s(self) -> float:
        """Seconds between looks that miss nothing: as often as runs write."""
        return every_s(self._out)

    def look(self) -> list[Sighting]:
        """See what the newest runs are at.

        Returns
        -------
        sightings : list of Sighting
            The oldest first; runs that told nothing of themselves are left out.

        Raises
        ------
        RunError
            If the store does not answer.
        """
        folder = self._out / RUNS_FOLDER
        names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
        records = [self._read(name) for name in names[-N_NEWEST:]]
        return [self._sighting(record) for record in records if record]

    def _read(self, run_id: str) -> RunRecord | None:
        if run_id in self._ended:
            return self._ended[run_id]
        try:
            path = run_folder(self._out, run_id) / RECORD_FILE
            record = read_record(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if record.ended:
            self._ended[run_id] = record
        return record

    def _sighting(self, record: RunRecord) -> Sighting:
        if record.ended:
            return Sighting(record, is_under_way=False, verdict=_ending(record.ended))
        silent_s = self._silent_s(record)
        if is_dead(record, silent_s=silent_s):
            return Sighting(record, is_under_way=False, verdict=_lost(record, silent_s=silent_s))
        return Sighting(record, is_under_way=True, verdict="")

    def _silent_s(self, record: RunRecord) -> float:
        """Say since when nothing was heard of a run."""
        number, heard_s = self._heard.get(record.run_id, (-1, 0.0))
        if number != record.n_written:
            is_first = number < 0
            age_s = max(0.0, time.time() - record.written_unix_s) if is_first else 0.0
            heard_s = time.monotonic() - age_s
            self._heard[record.run_id] = record.n_written, heard_s
        return time.monotonic() - heard_s


def is_dead(record: RunRecord, *, silent_s: float) -> bool:
    """Tell whether the driver of a run is gone that said nothing of an end.

    Parameters
    ----------
    record : RunRecord
        What it said last.
    silent_s : float
        Seconds since then.

    Returns
    -------
    is_dead : bool
        By the processes of this machine if it is one of them, else by its silence.
    """
    if record.host == socket.gethostname() and record.process_start:
        return process_start(record.pid) != record.process_start
    return silent_s > SILENT_S


def _ending(ended: str) -> str:
    if ended == DONE:
        return "done"
    return f"ended early by {ended}" if ended.startswith("SIG") else f"ended by an error: {ended}"


def _lost(record: RunRecord, *, silent_s: float) -> str:
    last_seen = datetime.fromtimestamp(record.written_unix_s, UTC)
    return (
        f"no word for {silent_s:.0f} s: killed or cut off, "
        f"last seen {last_seen:%Y-%m-%dT%H:%M:%SZ} on host {record.host}"
    )
