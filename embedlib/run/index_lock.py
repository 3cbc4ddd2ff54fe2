"""The lock of an index run: it spares double work, no more.

Whoever holds it renews it every `BEAT_S`. One that is silent for `SILENT_S`, or whose process is
gone from this machine, is taken over by one of those that try. Should two runs work at once
nevertheless, the transactions of the tables keep them right.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Final

from embedlib.catalog.stores import Place
from embedlib.errors import EmbedlibError, OutputError, RunError
from embedlib.run.unfinished import process_start
from embedlib.tables.durable import create_if_absent, refusals, whole_file
from embedlib.tables.layout import RUNS_FOLDER

_LOG = logging.getLogger("embedlib")

LOCK_FILE: Final = "index.lock"

BEAT_S = 30.0
"""Between two signs of life."""

SILENT_S = 600.0
"""Twenty beats: longer than a store may fail to answer, or clocks of two machines may differ."""

MAX_TRIES: Final = 20
"""A lock that changes hands more often than this while it is looked at means a fault."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock.

    Attributes
    ----------
    run_id : str
        The run.
    host : str
        Name of the machine, or of the container.
    pid : int
        The process there.
    process_start : str
        When it started, in ticks since the machine did; empty where the system does not tell.
    nonce : str
        Of this holding: no other has it.
    since : str
        When it began, in UTC.
    renewed_unix_s : float
        The last sign of life.
    """

    run_id: str
    host: str
    pid: int
    process_start: str
    nonce: str
    since: str
    renewed_unix_s: float

    def __str__(self) -> str:
        return f"host {self.host}, process {self.pid}, since {self.since}"

    @property
    def is_at_work_here(self) -> bool:
        """Whether it is a process of this machine, and gives signs of life."""
        return self._is_of_here and not self.is_silent

    @property
    def is_silent(self) -> bool:
        """Whether it has given no sign of life for long, or its process is gone from here."""
        is_gone = self._is_of_here and process_start(self.pid) != self.process_start
        return is_gone or time.time() - self.renewed_unix_s > SILENT_S

    @property
    def _is_of_here(self) -> bool:
        return self.host == socket.gethostname() and self.process_start != ""


class IndexLock:
    """The lock of an output, held as long as the context lasts.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        The run that holds it.

    Attributes
    ----------
    taken_from : Holder or None
        Whom it was taken over from.

    Raises
    ------
    OutputError
        If the disk is full or not writable, or the file of the lock is damaged.
    RunError
        On entry, if another run holds it; the message names host, process and time.
    """

    def __init__(self, out: Place, run_id: str) -> None:
        self._out = out
        self._path = out / RUNS_FOLDER / LOCK_FILE
        pid = os.getpid()
        self._own = Holder(
            run_id=run_id,
            host=socket.gethostname(),
            pid=pid,
            process_start=process_start(pid),
            nonce=secrets.token_hex(8),
            since=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            renewed_unix_s=time.time(),
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="index-lock", daemon=True)
        self.taken_from: Holder | None = None

    def __enter__(self) -> IndexLock:
        with refusals(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.taken_from = self._acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        # A lock that cannot be deleted is one of a process that is gone, or goes silent.
        with suppress(OSError, EmbedlibError):
            if self._is_own():
                self._path.unlink(missing_ok=True)

    def _acquire(self) -> Holder | None:
        for _ in range(MAX_TRIES):
            if create_if_absent(self._path, _content(self._own)):
                return None
            holder = _read(self._path)
            if holder is None:  # released meanwhile
                continue
            if holder.is_at_work_here or self._is_renewed(holder):
                raise self._is_held_by(holder)
            if holder.is_silent and self._take_over(holder):
                return holder
        raise RunError(
            f"{self._path} changes hands all the time", fix="see what else runs on this output"
        )

    def _is_renewed(self, holder: Holder) -> bool:
        """Wait until a holder elsewhere gives a sign of life, is gone, or has been silent for long.

        A run that is tried again on another machine thus outwaits the lock that its first try left.
        """
        if not holder.is_silent:
            _LOG.warning("waiting for a sign of life of the index run on %s", holder)
        while not holder.is_silent:
            now = _read(self._path)
            if now is None or now.nonce != holder.nonce:
                return False
            if now.renewed_unix_s != holder.renewed_unix_s:
                return True
            time.sleep(BEAT_S / 10)
        return False

    def _take_over(self, silent: Holder) -> bool:
        """Take the lock from a silent holder; false where it is no longer his.

        Of those that try, one creates the claim. A claim whose owner died before he wrote the lock
        falls silent like a lock, and the next one counts.
        """
        for number in count():
            claim = self._path.parent / f"{LOCK_FILE}.{silent.nonce}.{number}"
            if create_if_absent(claim, _content(self._own)):
                break
            other = _read(claim)
            if other is None:  # he has done it
                return False
            if not other.is_silent:
                raise self._is_held_by(other)
        # Claims are deleted when the lock is written: one made after that is made in vain.
        holder = _read(self._path)
        is_ours = holder is not None and holder.nonce == silent.nonce
        if is_ours:
            self._write()
        for old in range(number + 1):
            claim = self._path.parent / f"{LOCK_FILE}.{silent.nonce}.{old}"
            claim.unlink(missing_ok=True)
        return is_ours

    def _is_held_by(self, holder: Holder) -> RunError:
        return RunError(
            f"an index run of {self._out} is going on: {holder}",
            fix=f"wait for its end; a lock is taken over when it is silent for {SILENT_S:.0f} s",
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            # What fails now may work at the next beat, and twenty of them are needed to be silent.
            with suppress(OSError, EmbedlibError):
                if not self._is_own():
                    return
                self._write()

    def _is_own(self) -> bool:
        holder = _read(self._path)
        return holder is not None and holder.nonce == self._own.nonce

    def _write(self) -> None:
        with whole_file(self._path) as temporary:
            temporary.write_bytes(_content(replace(self._own, renewed_unix_s=time.time())))


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _read(path: Place) -> Holder | None:
    """Read a lock or a claim; None where there is none any more."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as exc:
        raise OutputError(
            f"{path} is damaged", fix="delete it when no index run is active"
        ) from exc
