"""The log of a run, kept in its folder: segments, for stores cannot append to a file."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import masked
from embedlib.run.run_folder import renew_record, run_folder

SEGMENT_BYTES: Final = 256 << 10
"""Of a full segment: the last one is written again whenever there are new lines."""

KEPT_BYTES: Final = 32 << 20
"""Of a run's log, from which on only lines that say what went wrong are kept."""

FULL: Final = "the log is full: from here on only failures are kept"

_SEGMENT = re.compile(r"log-(\d+)\.txt")
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_PLAIN = re.compile(r'[^\s"=\\]+')


class RunLog:
    """Takes lines from any thread, and writes them when it is told to.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        The run.
    """

    def __init__(self, out: Place, run_id: str) -> None:
        self._out = out
        self._run_id = run_id
        self._lock = threading.Lock()
        self._segments: dict[int, list[str]] = {0: []}  # those that are not on disk as they are
        self._number = 0
        self._n_written = 0
        self._segment_bytes = 0
        self._n_bytes = 0
        self._is_full = False

    def add(self, level: int, text: str, *, is_needed: bool = False) -> None:
        """Take a line.

        Parameters
        ----------
        level : int
            As `logging` counts them.
        text : str
            What happened; further lines of it, as those of a traceback, are indented. Credentials
            of URLs are masked.
        is_needed : bool
            Whether it is kept also when the log is full, as warnings are.
        """
        with self._lock:
            if self._n_bytes > KEPT_BYTES and not (is_needed or level >= logging.WARNING):
                if self._is_full:
                    return
                self._is_full, level, text = True, logging.WARNING, FULL
            self._append(_entry(level, text))

    def flush(self) -> None:
        """Write what is new.

        Raises
        ------
        OutputError
            If the disk is full or not writable; the lines are kept for the next time.
        RunError
            If the store does not answer.
        """
        with self._lock:
            due = {number: "".join(lines) for number, lines in self._segments.items() if lines}
            n_lines = len(self._segments[self._number])
            if due.keys() == {self._number} and n_lines == self._n_written:
                return
            current = self._number
        for number, text in due.items():
            renew_record(self._out, self._run_id, name=f"log-{number}.txt", text=text)
        with self._lock:
            for number in due.keys() - {current}:
                del self._segments[number]
            self._n_written = n_lines if current == self._number else 0

    def _append(self, entry: str) -> None:
        n_bytes = len(entry.encode())
        if self._segment_bytes + n_bytes > SEGMENT_BYTES and self._segment_bytes:
            self._number += 1
            self._segments[self._number] = []
            self._segment_bytes = self._n_written = 0
        self._segments[self._number].append(entry)
        self._segment_bytes += n_bytes
        self._n_bytes += n_bytes


def read_log(out: Place, run_id: str) -> Iterator[str]:
    """Read the log of a run.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        The run.

    Yields
    ------
    entry : str
        A line, with those that are indented below it; none where the run kept no log.

    Raises
    ------
    RunError
        If the store does not answer.
    """
    found: list[Place] = [*run_folder(out, run_id).glob("log-*.txt")]
    numbered = {int(match[1]): path for path in found if (match := _SEGMENT.match(path.name))}
    for number in sorted(numbered):
        text = numbered[number].read_text(encoding="utf-8")
        yield from (entry.rstrip("\n") for entry in re.split(r"\n(?! )", text) if entry)


def key_values(**facts: object) -> str:
    """Write facts as a log line has them.

    Parameters
    ----------
    **facts : object
        By key; those that are None or empty are left out.

    Returns
    -------
    text : str
        ``key=value key=value``, values with spaces or quotes in them as JSON has them.

    Examples
    --------
    >>> key_values(track="a b.mp3", n=3, wall_s=0.123456, reason="")
    'track="a b.mp3" n=3 wall_s=0.123'
    """
    return " ".join(
        f"{key}={_value(value)}" for key, value in facts.items() if value not in (None, "")
    )


def values_of(entry: str) -> Mapping[str, str]:
    """Read the facts of a log line.

    Parameters
    ----------
    entry : str
        Whole.

    Returns
    -------
    values : mapping of str to str
        By key.

    Examples
    --------
    >>> dict(values_of('12:00 INFO track="a b.mp3" n=3 written'))
    {'track': 'a b.mp3', 'n': '3'}
    """
    first, _, _ = entry.partition("\n")
    return {key: _unquoted(value) for key, value in _PAIR.findall(first)}


def _value(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else masked(str(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        found: Any = json.loads(value)
    except ValueError:  # masked in the middle of an escape
        return value.strip('"')
    return str(found)


def _entry(level: int, text: str) -> str:
    now_s = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))
    milliseconds = int(now_s % 1 * 1000)
    indented = masked(text).rstrip().replace("\n", "\n    ")
    return f"{moment}.{milliseconds:03}Z {logging.getLevelName(level)} {indented}\n"
