"""Which tracks of a shard kill their decoder, found in processes that may die of it.

A track is accused when it ended two processes in which it was alone. The process says which track
it begins, so the first suspect is where it died; when that one is innocent, the shard is halved.
"""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from embedlib.records import Crash, Shard
from embedlib.run.deadline import MEANINGS
from embedlib.run.decoding import decode_shard
from embedlib.run.job import DecodeJob
from embedlib.run.memory import limit_growth

_LOG = logging.getLogger("embedlib")

NOT_THE_TRACK = 75
"""Exit code when decoding failed without a crash, by a store or a disk: ``EX_TEMPFAIL``."""

BY_PEOPLE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
"""Signals that are sent on purpose, and say nothing of a track."""

LAST_WORDS_CHARS = 200
"""What is kept of the last line that a process wrote."""

OPEN_FILES = 256
"""Most that such a process may have open: the file itself, and what the client of a store needs."""

_PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended that did not come to its end.

    Attributes
    ----------
    index : int
        Position in the shard of the track that it had begun.
    reason : str
        The signal or exit code, and its last words.
    """

    index: int
    reason: str


Trial = Callable[[Sequence[int]], Death | None]
"""Decodes tracks, given by their positions, in a process of their own."""


def find_crashes(indices: Sequence[int], *, trial: Trial) -> tuple[Crash, ...]:
    """Find the tracks that end a process in which they are alone, twice.

    Parameters
    ----------
    indices : sequence of int
        Positions of the tracks, in the order in which they are decoded.
    trial : Trial
        Decodes some of them.

    Returns
    -------
    crashed : tuple of Crash
        In the order of `indices`. Empty also when tracks kill only together.

    Examples
    --------
    >>> def trial(indices):
    ...     return Death(3, "SIGSEGV") if 3 in indices else None
    >>> find_crashes(range(8), trial=trial)
    (Crash(index=3, reason='SIGSEGV'),)
    """
    death = trial(indices) if indices else None
    if death is None:
        return ()
    if len(indices) == 1:
        again = trial(indices)
        return () if again is None else (Crash(again.index, again.reason),)
    at = list(indices).index(death.index)
    if alone := find_crashes(indices[at : at + 1], trial=trial):
        return alone + find_crashes(indices[at + 1 :], trial=trial)
    middle = len(indices) // 2
    return find_crashes(indices[:middle], trial=trial) + find_crashes(indices[middle:], trial=trial)


def bisect_shard(shard: Shard, job: DecodeJob, *, memory_bytes: int) -> tuple[Crash, ...]:
    """Find the tracks of a shard that kill their decoder.

    Parameters
    ----------
    shard : Shard
        What to decode, track by track, in child processes.
    job : DecodeJob
        How.
    memory_bytes : int > 0
        How much a process may grow.

    Returns
    -------
    crashed : tuple of Crash
        By their positions in the shard.
    """
    job = replace(job, is_expendable=True)
    trial = partial(_decode_in_child, shard=shard, job=job, memory_bytes=memory_bytes)
    return find_crashes(range(len(shard.tracks)), trial=trial)


@dataclass(frozen=True, slots=True)
class _Errand:
    """What a child process is to decode, and how much it may grow."""

    shard: Shard
    indices: tuple[int, ...]
    job: DecodeJob
    memory_bytes: int


def _decode_in_child(
    indices: Sequence[int], *, shard: Shard, job: DecodeJob, memory_bytes: int
) -> Death | None:
    # In a session of its own, because Ctrl-C goes to all processes of the terminal's.
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from embedlib.run.poison import main; main()"],
        input=pickle.dumps(_Errand(shard, tuple(indices), job, memory_bytes)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    return _death(done)


def _death(done: subprocess.CompletedProcess[bytes]) -> Death | None:
    if done.returncode in (0, NOT_THE_TRACK) or -done.returncode in BY_PEOPLE:
        return None
    lines = done.stderr.decode(errors="replace").split("\n")
    last_words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    reason = _how_it_ended(done.returncode, last_words[:LAST_WORDS_CHARS])
    if not done.stdout:  # it did not come as far as a track, so it accuses none
        _LOG.error("a process that was to search for poison did not start: %s", reason)
        return None
    return Death(int(done.stdout.split()[-1]), reason)


def _how_it_ended(returncode: int, last_words: str) -> str:
    """Put the end of a process into one line.

    Examples
    --------
    >>> _how_it_ended(-6, "corrupted size vs. prev_size")
    'SIGABRT: corrupted size vs. prev_size'
    >>> _how_it_ended(1, "")
    'exit code 1'
    """
    if returncode > 0:
        end, meaning = f"exit code {returncode}", ""
    else:
        number = signal.Signals(-returncode)
        end, meaning = number.name, MEANINGS.get(number, "")
    return ": ".join(filter(None, (end, meaning or last_words)))


def main() -> None:
    """Decode what standard input says; each track is named on standard output when it begins."""
    errand: _Errand = pickle.load(sys.stdin.buffer)
    progress = os.dup(1)
    os.dup2(2, 1)  # what a C library prints is no progress
    _end_with_parent()
    limit_growth(errand.memory_bytes)
    _limit_files()
    for index in errand.indices:
        os.write(progress, f"{index}\n".encode())
        _decode_alone(errand, index)
    os._exit(0)  # nothing may go wrong any more that nobody would be accused of


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that waits for it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_files() -> None:
    """Leave no core behind, of which a search may make many, and open few files."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, soft), hard))


def _decode_alone(errand: _Errand, index: int) -> None:
    shard = Shard(errand.shard.shard_id, (errand.shard.tracks[index],), 0.0)
    try:
        for _ in decode_shard(shard, errand.job):
            pass
    except MemoryError:
        raise
    except Exception:  # the worker's edge: an error that Python tells of is none that kills
        os._exit(NOT_THE_TRACK)
