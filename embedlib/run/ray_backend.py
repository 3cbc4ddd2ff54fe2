"""The scheduler driven over Ray actors: decode workers, model workers, one asyncio loop.

Ray retries nothing here; a worker that is lost is an event for the scheduler. The driver never
decodes audio: a chunk stays in the object store of the node that made it, and the driver hands
its reference on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import exceptions as rx

from embedlib.errors import EmbedlibError
from embedlib.run.actors import DecodeActor, ModelActor
from embedlib.run.background import Background
from embedlib.run.driver import TICK_S, Commits, Interruption, Observer, RunPlan, discard, stopped
from embedlib.run.events import (
    Action,
    AttemptFailed,
    Bisect,
    Cancel,
    Commit,
    Decode,
    Discard,
    Dismiss,
    Drain,
    Embed,
    Embedded,
    Event,
    Extract,
    Forget,
    Pull,
    Recycle,
    Release,
    Replace,
    Stop,
    Tick,
    Write,
    Written,
)
from embedlib.run.nodes import Membership
from embedlib.run.proof import BLIND, is_doubtful_part, unseen_shard
from embedlib.run.ray_errors import INFRASTRUCTURE, cause, line
from embedlib.run.ray_nodes import Nodes
from embedlib.run.ray_pools import Pools
from embedlib.run.ray_search import search
from embedlib.run.ray_stalls import StallWatch
from embedlib.run.ray_streams import Streams
from embedlib.run.ray_workers import Workers

_LOG = logging.getLogger("embedlib")


class RayDriver:
    """Carry out one run on the Ray cluster that this process has joined.

    Parameters
    ----------
    plan : RunPlan
        What to do.
    observe : Observer
        Called with each event, after the scheduler has seen it.
    before_commit : callable
        Called before each commit, by a thread.
    is_ours : bool
        Whether the cluster was started on this machine for this run.
    """

    def __init__(
        self,
        plan: RunPlan,
        observe: Observer,
        *,
        before_commit: Callable[[], None],
        is_ours: bool,
    ) -> None:
        self._plan = plan
        self._observe = observe
        self._scheduler = plan.scheduler()
        self._commits = Commits(plan, before_commit=before_commit)
        self._background = Background()
        self._members = Membership()
        self._workers = Workers(
            plan,
            background=self._background,
            members=self._members,
            model_class=ModelActor,
            decode_class=DecodeActor,
        )
        self._pools = Pools(
            plan,
            background=self._background,
            members=self._members,
            workers=self._workers,
            to_embed=self._scheduler.to_embed,
        )
        self._nodes = Nodes(
            plan,
            background=self._background,
            members=self._members,
            workers=self._workers,
            pools=self._pools,
            is_ours=is_ours,
        )
        self._stalls = StallWatch(plan, background=self._background, workers=self._workers)
        self._streams = Streams()

    def run(self, interruption: Interruption) -> None:
        """Run until everything is committed, or a signal was answered.

        Parameters
        ----------
        interruption : Interruption
            Says when to drain, and when that has taken too long.

        Raises
        ------
        RunError
            If infrastructure failed beyond its limit, or no node sees the sources.
        EmbedlibError
            What a worker raised about the model or the output.
        """
        try:
            _run_to_end(self._drive(interruption))
        finally:
            self._pools.withdraw()

    async def _drive(self, interruption: Interruption) -> None:
        self._background.start(self._nodes.watch())
        self._background.start(self._pools.watch())
        self._background.start(self._tick())
        is_draining = False
        while not self._scheduler.is_done and not interruption.is_overdue:
            self._feed(await self._background.event())
            if interruption.signal_number and not is_draining:
                is_draining = True
                self._feed(Drain())
        await self._commit_ready()
        self._background.cancel()

    async def _commit_ready(self) -> None:
        """Save what is written when draining has taken too long."""
        for action in self._scheduler.on(Tick()):
            if isinstance(action, Commit):
                await self._commit(action)

    def _feed(self, event: Event) -> None:
        actions = self._scheduler.on(event)
        for action in actions:
            self._perform(action)
        self._stalls.saw(event, self._scheduler)
        if not any(isinstance(action, Discard) for action in actions):  # its rows are no rows
            self._observe(event, self._scheduler)

    async def _tick(self) -> None:
        started_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            self._background.report(Tick(time.monotonic() - started_s))

    # Actions

    def _perform(self, action: Action) -> None:
        match action:
            case Decode():
                self._start_decode(action)
            case Extract():
                self._extract(action)
            case Pull(attempt_id):
                self._background.start(self._pull(attempt_id))
            case Embed():
                self._embed(action)
            case Release(attempt_id, seq):
                self._streams.release(attempt_id, seq)
            case Write():
                self._write(action)
            case Commit():
                self._background.start(self._commit(action))
            case Cancel(attempt_id):
                self._cancel(attempt_id)
            case Forget(attempt_id, slot_id) if slot_id in self._workers:
                self._workers[slot_id].forget.remote(attempt_id)
            case Replace(worker_id) | Recycle(worker_id):
                self._workers.replace(worker_id)
            case Dismiss(worker_id):
                self._workers.end(worker_id)
            case Bisect(shard_id):
                self._background.start(self._bisect(shard_id))
            case Discard(part):
                self._background.start(asyncio.to_thread(discard, self._plan.out, part))
            case Stop(reason):
                raise stopped(reason)

    # A worker may be lost before the scheduler has heard of it: calls to it are left out, since
    # the event that is on its way takes back whatever they were for.

    def _extract(self, action: Extract) -> None:
        if action.slot_id in self._workers:
            shard = self._plan.shards[action.shard_id]
            name = self._plan.file_attempt(action.attempt_id)
            call = self._workers[action.slot_id].extract.remote(
                action.attempt_id,
                shard,
                name,
                self._plan.decode_job([action.model], skip=action.skip),
            )
            self._background.start(self._await_extract(action.slot_id, call, action.attempt_id))

    def _embed(self, action: Embed) -> None:
        if action.slot_id in self._workers:
            chunk = self._streams.chunk(action.attempt_id, action.seq)
            call = self._workers[action.slot_id].embed.remote(action.attempt_id, chunk)
            done = Embedded(action.attempt_id, action.seq, action.model)
            self._background.start(self._await_embedded(action.slot_id, call, done))

    def _write(self, action: Write) -> None:
        if action.slot_id in self._workers:
            shard = self._plan.shards[action.shard_id]
            name = self._plan.file_attempt(action.attempt_id)
            call = self._workers[action.slot_id].write.remote(action.attempt_id, shard, name)
            self._background.start(self._await_part(action.slot_id, call, action.attempt_id))

    def _start_decode(self, action: Decode) -> None:
        if action.decoder_id in self._workers:
            self._streams.start(
                action.attempt_id,
                decoder_id=action.decoder_id,
                actor=self._workers[action.decoder_id],
                shard=self._plan.shards[action.shard_id],
                job=self._plan.decode_job(action.models, skip=action.skip),
            )

    async def _pull(self, attempt_id: str) -> None:
        decoder_id = self._streams.decoder(attempt_id)
        if not decoder_id:  # given up before this task ran
            return
        try:
            event = await self._streams.take(attempt_id)
        except rx.TaskCancelledError:
            return
        except rx.RayTaskError as exc:
            self._fail(attempt_id, decoder_id, exc)
        except INFRASTRUCTURE as exc:
            self._workers.lose(decoder_id, exc)
        else:
            if event:
                self._background.report(event)

    async def _await_embedded(self, worker_id: str, call: Any, event: Embedded) -> None:
        if await self._result(worker_id, call, event.attempt_id) is not _LOST:
            self._background.report(event)

    async def _await_part(self, worker_id: str, call: Any, attempt_id: str) -> None:
        part = await self._result(worker_id, call, attempt_id)
        if part is not _LOST:
            await self._hand_in(Written(attempt_id, part))

    async def _await_extract(self, worker_id: str, call: Any, attempt_id: str) -> None:
        try:
            part, stats = await call
        except rx.RayTaskError as exc:
            self._fail(attempt_id, worker_id, exc)
        except INFRASTRUCTURE as exc:
            self._workers.lose(worker_id, exc)
        else:
            await self._hand_in(Written(attempt_id, part, stats))

    async def _hand_in(self, event: Written) -> None:
        """Report a part, unless its decoder may have been blind: then all nodes look again."""
        if self._plan.accept_missing or not is_doubtful_part(event.part):
            self._background.report(event)
            return
        shard = self._plan.shards[event.part.shard_id]
        if reason := await self._nodes.doubt(shard):
            raise unseen_shard(shard, reason)
        self._background.report(AttemptFailed(event.attempt_id, BLIND))

    def _fail(self, attempt_id: str, worker_id: str, exc: rx.RayTaskError) -> None:
        """Our own errors end the run; anything else is a try that failed, its traceback logged."""
        found = cause(exc)
        if isinstance(found, EmbedlibError):
            raise found from exc
        _LOG.error("attempt=%s failed", attempt_id, exc_info=found)
        if isinstance(found, MemoryError):  # such a process is not to be relied on
            self._workers.lose(worker_id, found)
        else:
            self._background.report(AttemptFailed(attempt_id, line(found)))

    async def _result(self, worker_id: str, call: Any, attempt_id: str) -> Any:
        """Wait for a model worker; `_LOST` when it will not answer."""
        try:
            return await call
        except rx.RayTaskError as exc:
            found = cause(exc)
            if isinstance(found, EmbedlibError):
                raise found from exc
            if isinstance(found, rx.ObjectLostError):  # the chunk went with the node that held it
                self._background.report(AttemptFailed(attempt_id, line(found), is_accident=True))
                return _LOST
            _LOG.error("worker=%s failed", worker_id, exc_info=found)
            self._workers.lose(worker_id, found)
        except INFRASTRUCTURE as exc:
            self._workers.lose(worker_id, exc)
        return _LOST

    async def _bisect(self, shard_id: str) -> None:
        event = await search(self._plan, shard_id, nodes=self._members.usable)
        self._background.report(event)

    async def _commit(self, action: Commit) -> None:
        self._background.report(await asyncio.to_thread(self._commits.carry_out, action))

    def _cancel(self, attempt_id: str) -> None:
        is_there = self._streams.decoder(attempt_id) in self._workers
        self._streams.give_up(attempt_id, is_decoder_there=is_there)


_LOST = object()


def _run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; in a thread of its own where this one has a loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, work).result()
