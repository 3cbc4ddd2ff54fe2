"""The scheduler driven in this process: one decoder, one worker per model, no Ray."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator

from embedlib.errors import EmbedlibError
from embedlib.records import DecodeStats, FeatureChunk
from embedlib.run.calibrate import fitted
from embedlib.run.decoding import decode_shard
from embedlib.run.driver import TICK_S, Commits, Interruption, Observer, RunPlan, stopped
from embedlib.run.events import (
    Action,
    AttemptFailed,
    Bisected,
    Cancel,
    Commit,
    Decode,
    Decoded,
    DecodeEnded,
    DecoderAdded,
    Drain,
    Embed,
    Embedded,
    Event,
    Forget,
    Pull,
    Release,
    Replace,
    SlotAdded,
    Stop,
    Tick,
    WorkerLost,
    Write,
    Written,
)
from embedlib.run.poison import bisect_shard
from embedlib.run.proof import BLIND, is_doubtful_part, second_look, unseen_shard
from embedlib.run.unfinished import DecodingMark, left_behind
from embedlib.run.worker import ModelWorker

_LOG = logging.getLogger("embedlib")


class LocalDriver:
    """Carry out one run in this process.

    Parameters
    ----------
    plan : RunPlan
        What to do.
    observe : Observer
        Called with each event, after the scheduler has seen it.
    before_commit : callable
        Called before each commit.
    """

    def __init__(
        self, plan: RunPlan, observe: Observer, *, before_commit: Callable[[], None]
    ) -> None:
        self._plan = plan
        self._observe = observe
        self._scheduler = plan.scheduler()
        self._commits = Commits(plan, before_commit=before_commit)
        self._streams: dict[str, Generator[FeatureChunk, None, DecodeStats]] = {}
        self._chunks: dict[tuple[str, int], FeatureChunk] = {}
        self._n_chunks: dict[str, int] = {}
        self._workers = {name: self._load(name) for name in plan.jobs}
        self._mark = DecodingMark(plan.out, plan.run_id)

    def _search_left_behind(self, actions: deque[Action]) -> None:
        """Search the shards over which earlier runs died: this one would die of them as well."""
        for shard_id in left_behind(self._plan.out):
            if shard_id in self._plan.shards:
                _LOG.warning("shard=%s was being decoded when a run died: searching it", shard_id)
                self._feed(self._bisect(shard_id), actions)

    def _bisect(self, shard_id: str) -> Bisected:
        job = self._plan.decode_job(self._plan.models[shard_id])
        shard, memory_bytes = self._plan.shards[shard_id], self._plan.worker_memory_bytes
        return Bisected(shard_id, bisect_shard(shard, job, memory_bytes=memory_bytes))

    def _load(self, model: str) -> ModelWorker:
        return ModelWorker(fitted(self._plan.jobs[model]), self._plan.graphs[model])

    def run(self, interruption: Interruption) -> None:
        """Run until everything is committed, or a signal was answered.

        Parameters
        ----------
        interruption : Interruption
            Says when to drain, and when that has taken too long.

        Raises
        ------
        RunError
            If infrastructure failed beyond its limit.
        """
        try:
            self._run(interruption)
        finally:
            self._mark.end()

    def _run(self, interruption: Interruption) -> None:
        actions: deque[Action] = deque()
        self._search_left_behind(actions)
        self._feed(DecoderAdded("local"), actions)
        for name in self._workers:
            self._feed(SlotAdded(name, name), actions)
        ticked = time.monotonic()
        is_draining = False
        while not self._scheduler.is_done and not interruption.is_overdue:
            if interruption.signal_number and not is_draining:
                is_draining = True
                self._feed(Drain(), actions)
            if not actions or time.monotonic() - ticked > TICK_S:
                ticked = time.monotonic()
                self._feed(Tick(), actions)
            if actions:
                self._perform(actions.popleft(), actions)
        self._commit_ready()

    def _commit_ready(self) -> None:
        """Save what is written when draining has taken too long."""
        for action in self._scheduler.on(Tick()):
            if isinstance(action, Commit):
                self._commits.carry_out(action)

    def _feed(self, event: Event, actions: deque[Action]) -> None:
        actions.extend(self._scheduler.on(event))
        self._observe(event, self._scheduler)

    def _perform(self, action: Action, actions: deque[Action]) -> None:
        match action:
            case Decode():
                self._start_decode(action)
            case Pull(attempt_id):
                self._feed(self._pull(attempt_id), actions)
            case Embed(attempt_id, seq, model):
                self._workers[model].embed(attempt_id, self._chunks[attempt_id, seq])
                self._feed(Embedded(attempt_id, seq, model), actions)
            case Release(attempt_id, seq):
                del self._chunks[attempt_id, seq]
            case Write():
                self._feed(self._write(action), actions)
            case Commit():
                self._feed(self._commits.carry_out(action), actions)
            case Cancel(attempt_id):
                self._end_decode(attempt_id)
            case Forget(attempt_id, slot_id):
                self._workers[slot_id].forget(attempt_id)
            case Stop(reason):
                raise stopped(reason)
            case Replace(worker_id):
                self._workers[worker_id] = self._load(worker_id)
                self._feed(SlotAdded(worker_id, worker_id), actions)

    def _start_decode(self, action: Decode) -> None:
        self._mark.begin(action.shard_id)
        job = self._plan.decode_job(action.models, skip=action.skip)
        self._streams[action.attempt_id] = decode_shard(self._plan.shards[action.shard_id], job)
        self._n_chunks[action.attempt_id] = 0

    def _end_decode(self, attempt_id: str) -> None:
        if self._streams.pop(attempt_id, None):
            self._mark.end()

    def _write(self, action: Write) -> Event:
        shard, name = self._plan.shards[action.shard_id], self._plan.file_attempt(action.attempt_id)
        try:
            part = self._workers[action.model].write(action.attempt_id, shard, name)
        except OSError as exc:  # a disk that fails now may not fail again
            return WorkerLost(action.slot_id, f"{type(exc).__name__}: {exc}")
        if is_doubtful_part(part) and not self._plan.accept_missing:
            if reason := second_look(shard, allowed=self._plan.decode.allowed):
                raise unseen_shard(shard, reason)
            return AttemptFailed(action.attempt_id, BLIND)
        return Written(action.attempt_id, part)

    def _pull(self, attempt_id: str) -> Event:
        self._mark.renew()
        try:
            chunk = next(self._streams[attempt_id])
        except StopIteration as end:
            self._end_decode(attempt_id)
            return DecodeEnded(attempt_id, end.value)
        except EmbedlibError:
            raise
        except Exception as exc:  # the worker's edge: what nobody foresaw is a try that failed
            _LOG.exception("attempt=%s failed to decode", attempt_id)
            return AttemptFailed(attempt_id, f"{type(exc).__name__}: {exc}")
        seq = self._n_chunks[attempt_id]
        self._n_chunks[attempt_id] = seq + 1
        self._chunks[attempt_id, seq] = chunk
        return Decoded(attempt_id, seq, chunk.frames.nbytes, chunk.front_end)
