"""What a run tells of itself into its folder of the output, while it works: where it is, its log.

A thread writes, so that neither a slow store nor a long file keeps the driver or the sign of life
waiting. What cannot be written does not end the run; it is said when nothing worse has happened.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from embedlib.catalog.stores import Place, StorePath
from embedlib.catalog.uris import masked, one_line
from embedlib.errors import EmbedlibError
from embedlib.run.advance import Advance
from embedlib.run.driver import Interruption, Observer, RunPlan
from embedlib.run.events import Event, Tick
from embedlib.run.log_lines import LogLines
from embedlib.run.run_folder import renew_record
from embedlib.run.run_log import RunLog
from embedlib.run.scheduler import Scheduler
from embedlib.run.standing import RunRecord
from embedlib.run.unfinished import process_start

RECORD_FILE: Final = "progress.json"

DONE: Final = "done"

LOCAL_EVERY_S: Final = 2.0
STORE_EVERY_S: Final = 10.0
"""Between two writes: of some kilobytes to a disk, or of one or two requests to a store."""

LAST_WRITE_S: Final = 20.0
"""How long a run that is over waits for a store to take its last words."""

_SHARED = logging.getLogger("embedlib")
_LOG = logging.getLogger("embedlib.run")
"""What the journal itself says: a logger below the one that it listens to."""


def every_s(out: Place) -> float:
    """Say how often a run writes where it is.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.

    Returns
    -------
    every_s : float
        Seconds.
    """
    return STORE_EVERY_S if isinstance(out, StorePath) else LOCAL_EVERY_S


class Journal:
    """Keeps the record and the log of one run; a context manager around the driver.

    The log has the lines of level info and above, all from the first on that the logger
    ``embedlib`` lets through. What other modules say to that logger meanwhile is kept as well.

    Parameters
    ----------
    plan : RunPlan
        What is being done.
    out : Path or StorePath
        The output folder; of a retry not that of the plan.
    interruption : Interruption
        Knows whether a signal has ended it.
    """

    def __init__(self, plan: RunPlan, *, out: Place, interruption: Interruption) -> None:
        self._out = out
        self._run_id = plan.run_id
        self._interruption = interruption
        self._models = tuple(plan.jobs)
        self._host = socket.gethostname()
        self._process_start = process_start(os.getpid())
        self._started_unix_s = time.time()
        self._n_written = 0
        self._ended = ""
        self._advance = Advance(plan)
        self._standing = self._advance.standing()
        self._log = RunLog(out, plan.run_id)
        self._level = min(logging.INFO, _SHARED.getEffectiveLevel())
        is_verbose = self._level <= logging.DEBUG
        self._lines = LogLines(
            plan.run_id,
            host=self._host,
            track_ids=(lambda shard_id: _track_ids(plan, shard_id)) if is_verbose else None,
        )
        self._is_over = threading.Event()
        self._writing = threading.Lock()
        self._failure = ""
        self._thread = threading.Thread(
            target=self._write_now_and_then, name="embedlib-journal", daemon=True
        )

    def __enter__(self) -> Journal:
        # A filter, not a handler: with one, warnings no longer reach the stderr of those who have
        # not configured any logging.
        _SHARED.addFilter(self._overhear)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _SHARED.removeFilter(self._overhear)
        self._ended = self._ending(error)
        self._standing = self._advance.standing()
        self._say(logging.INFO, f"run={self._run_id} ended: {self._ended}")
        self._is_over.set()
        self._thread.join(LAST_WRITE_S)
        if self._failure and error is None:
            _LOG.warning("run=%s could not keep its journal: %s", self._run_id, self._failure)

    def observe(self, event: Event, scheduler: Scheduler) -> None:
        """Take note of what has happened.

        Parameters
        ----------
        event : Event
            What.
        scheduler : Scheduler
            Its state after the event.
        """
        self._advance.observe(event, scheduler)
        if isinstance(event, Tick):
            self._standing = self._advance.standing()
        for line in self._lines.of(event, scheduler, now_s=time.monotonic()):
            self._say(line.level, line.text, is_needed=line.is_needed)

    def keep(self) -> None:
        """Write what the log has and the disk has not: called before the rows count it is about."""
        with self._writing, self._noted():
            self._log.flush()

    def before(self, observe: Observer) -> Observer:
        """Let somebody else look on as well.

        Parameters
        ----------
        observe : Observer
            Called with each event, after the journal has taken note of it.

        Returns
        -------
        observe : Observer
            Both.
        """

        def both(event: Event, scheduler: Scheduler) -> None:
            self.observe(event, scheduler)
            observe(event, scheduler)

        return both

    def _say(self, level: int, text: str, *, is_needed: bool = False) -> None:
        if level >= self._level or is_needed:
            self._log.add(level, text, is_needed=is_needed)
        _LOG.log(level, "%s", text)

    def _overhear(self, record: logging.LogRecord) -> bool:
        text = _FORMAT.format(record)
        self._log.add(record.levelno, f"run={self._run_id} {text}")
        return True

    def _ending(self, error: BaseException | None) -> str:
        if self._interruption.signal_number:
            return signal.Signals(self._interruption.signal_number).name
        return f"{type(error).__name__}: {masked(str(error))}" if error else DONE

    def _write_now_and_then(self) -> None:
        self._write()
        while not self._is_over.wait(every_s(self._out)):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._writing, self._noted():
            self._log.flush()
            renew_record(self._out, self._run_id, name=RECORD_FILE, text=self._record().to_json())

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EmbedlibError) as exc:
            self._failure = one_line(exc)

    def _record(self) -> RunRecord:
        self._n_written += 1
        return RunRecord(
            run_id=self._run_id,
            host=self._host,
            pid=os.getpid(),
            process_start=self._process_start,
            models=self._models,
            started_unix_s=self._started_unix_s,
            written_unix_s=time.time(),
            n_written=self._n_written,
            ended=self._ended,
            standing=self._standing,
        )


_FORMAT = logging.Formatter("%(message)s")


def _track_ids(plan: RunPlan, shard_id: str) -> list[str]:
    return [track.track_id for track in plan.shards[shard_id].tracks]
