"""What all drivers of the scheduler share: the plan of a run, its interruption, its commits."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from embedlib.catalog.shards import ShardSize
from embedlib.catalog.stores import Place
from embedlib.config import WORKER_MEMORY_MB
from embedlib.errors import RunError
from embedlib.records import Crash, PartResult, Shard
from embedlib.run.backlog import Work
from embedlib.run.decoding import CHUNK_BYTES
from embedlib.run.events import Commit, Committed, Event
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.points import Point, reach
from embedlib.run.pools import PoolLimits
from embedlib.run.scheduler import Scheduler
from embedlib.tables.commit import Committer
from embedlib.tables.layout import model_folder

TICK_S = 1.0
"""Between commits: one costs some 40 ms, and a kill loses no more than this of written parts."""

DRAIN_S = 20.0
"""How long shards in flight may still take after a signal."""

Observer = Callable[[Event, Scheduler], None]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that a driver needs to carry out a run.

    Attributes
    ----------
    out : Path or StorePath
        The output folder.
    run_id : str
        Unique; part of the names of the parts.
    shards : mapping of str to Shard
        The pending shards by id, in the order in which they should start. Tracks may be read when
        a shard is asked for.
    sizes : mapping of str to ShardSize
        How much each of them holds, in memory.
    models : mapping of str to tuple of str
        Models that still need each shard.
    jobs : mapping of str to ModelJob
        The models that something is left to do for.
    graphs : mapping of str to Path
        Verified graph file of each model, on the driver's node.
    decode : DecodeJob
        How audio becomes frames, for all models of the run.
    budget_bytes : int
        Limit for chunks in flight.
    worker_memory_bytes : int
        What a worker may hold before it is recycled, and grow by when it searches for poison.
    accept_missing : bool
        Whether shards are committed of which most files cannot be opened.
    pool : PoolLimits
        How many workers a model may have under Ray.
    grow_to : int or None
        Cores or cards that the autoscaler of the cluster may be asked for; None for none.
    begun : mapping of str to frozenset of str
        Pending shards that a model has rows of already, such as those of moved files.
    """

    out: Place
    run_id: str
    shards: Mapping[str, Shard]
    sizes: Mapping[str, ShardSize]
    models: Mapping[str, tuple[str, ...]]
    jobs: Mapping[str, ModelJob]
    graphs: Mapping[str, Path]
    decode: DecodeJob
    budget_bytes: int
    worker_memory_bytes: int = WORKER_MEMORY_MB << 20
    accept_missing: bool = False
    pool: PoolLimits = field(default_factory=PoolLimits)
    grow_to: int | None = None
    begun: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def is_one_model(self) -> bool:
        """Whether nothing fans out, so that model workers decode for themselves.

        That spares the way through the object store and the fight of two processes for the cache
        of one core. A card is never to wait for a decoder: there, decoding is the cores' work.
        """
        return len(self.jobs) == 1 and all(job.device == "cpu" for job in self.jobs.values())

    def scheduler(self) -> Scheduler:
        """Make the state machine of the run.

        Returns
        -------
        scheduler : Scheduler
            With all pending shards, and no workers yet.
        """
        return Scheduler(
            [Work(shard_id, self.models[shard_id]) for shard_id in self.shards],
            front_ends={name: job.front_end for name, job in self.jobs.items()},
            budget_bytes=self.budget_bytes,
            chunk_bytes=CHUNK_BYTES,
            audio_s=lambda shard_id: self.sizes[shard_id].audio_s,
        )

    def decode_job(self, models: Iterable[str], *, skip: tuple[Crash, ...] = ()) -> DecodeJob:
        """Say how audio becomes frames for some of the models, so that no other front end runs.

        Parameters
        ----------
        models : iterable of str
            Those that a shard is decoded for.
        skip : tuple of Crash
            Tracks of that shard that are not decoded.

        Returns
        -------
        job : DecodeJob
            With their front ends.
        """
        names = dict.fromkeys(self.jobs[model].front_end for model in models)
        return replace(self.decode, front_ends=tuple(names), skip=skip)

    def file_attempt(self, attempt_id: str) -> str:
        """Name an attempt so that no other run can name one alike.

        Parameters
        ----------
        attempt_id : str
            The scheduler's name for it.

        Returns
        -------
        name : str
            For file names.
        """
        return f"{self.run_id}-{attempt_id}"


class Commits:
    """Carries out the commit actions of a run; its tables stay open from one to the next.

    Actions of several models may be carried out at once, those of one model one by one, as the
    scheduler gives them.

    Parameters
    ----------
    plan : RunPlan
        Of the run.
    before_commit : callable
        Called before each: what a log tells of rows is kept before they count.
    """

    def __init__(self, plan: RunPlan, *, before_commit: Callable[[], None]) -> None:
        self._before_commit = before_commit
        self._out = plan.out
        self._begun = plan.begun
        self._committers: dict[str, Committer] = {}

    def carry_out(self, action: Commit) -> Committed:
        """Carry out a commit action.

        Parameters
        ----------
        action : Commit
            Parts of one model.

        Returns
        -------
        event : Committed
            These shards are in the table now. Where another driver was first with one of them, it
            is at work on this output, and all that the table holds is told.

        Raises
        ------
        RunError
            If the disk fails.
        OutputError
            If it is full, or a part is not what its writer reported.
        """
        self._before_commit()
        reach(Point.BEFORE_COMMIT, action.parts[0].shard_id, action.model)
        try:
            event = self._commit(action)
        except OSError as exc:
            reason = f"{type(exc).__name__}: {exc}"
            raise stopped(f"cannot commit to {self._out}: {reason}") from exc
        reach(Point.AFTER_COMMIT, action.parts[0].shard_id, action.model)
        return event

    def _commit(self, action: Commit) -> Committed:
        if action.model not in self._committers:
            self._committers[action.model] = Committer(self._out, action.model)
        committer = self._committers[action.model]
        settled = committer.commit(action.parts)
        done = {*settled.committed, *settled.lost}
        if settled.lost:
            done |= committer.shard_ids() - self._begun.get(action.model, frozenset())
        return Committed(action.model, tuple(sorted(done)))


def discard(out: Place, part: PartResult) -> None:
    """Delete the file of a part that will not be committed.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    part : PartResult
        What another attempt was faster with. Where its file stays, nobody reads it.
    """
    with suppress(OSError, RunError):
        (model_folder(out, part.model) / part.file_name).unlink(missing_ok=True)


def stopped(reason: str) -> RunError:
    """Make the error for a run that the scheduler gave up.

    Parameters
    ----------
    reason : str
        What the scheduler said.

    Returns
    -------
    error : RunError
        With the way out.
    """
    return RunError(reason, fix="what is committed stays; run the same command to continue")


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SecondSignal(SystemExit):
    """The end of a process that was told twice to end; its code is that of the second signal."""


class Interruption:
    """SIGINT and SIGTERM as a wish to drain; a second signal ends the process at once.

    A context manager, to be entered in the main thread. Elsewhere it does nothing, so that the
    library can be called from any thread.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._is_starting = False
        self._deadline = float("inf")
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
            self.arm()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def during_start(self, *, at_once: bool = False) -> Iterator[None]:
        """Understand the exit by which Ray answers SIGTERM until the handlers are taken back.

        Parameters
        ----------
        at_once : bool, optional
            Whether the first signal until then ends the work, since nothing is in flight.
        """
        self._is_starting = at_once
        try:
            yield
        except SystemExit as exc:
            if isinstance(exc, SecondSignal) or exc.code not in _SIGNALS:
                raise
            self.signal_number = int(exc.code)
        finally:
            self._is_starting = False

    def arm(self) -> None:
        """Take the handlers back from ``ray.init``, which replaces them."""
        self._is_starting = False
        for number in self._previous:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.signal_number:
            raise SecondSignal(128 + number)
        self.signal_number = number
        self._deadline = time.monotonic() + DRAIN_S
        if self._is_starting:
            raise SystemExit(number)

    @property
    def is_overdue(self) -> bool:
        """Whether draining has taken longer than it may."""
        return time.monotonic() > self._deadline
