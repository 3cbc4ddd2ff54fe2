"""The scheduler driven over Ray actors: decode workers, model workers, one asyncio loop.

Ray retries nothing here; a worker that is lost is an event for the scheduler. The driver never
touches audio: a chunk stays in the object store of the node that made it, and the driver hands
its reference on.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray import exceptions as rx
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from embedlib.errors import EmbedlibError, RunError
from embedlib.records import DecodeStats
from embedlib.run.actors import CalibrationActor, DecodeActor, ModelActor
from embedlib.run.calibrate import keep_cost, known_costs
from embedlib.run.driver import TICK_S, Interruption, Observer, RunPlan, commit, stopped
from embedlib.run.events import (
    Action,
    AttemptFailed,
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
    Extract,
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
from embedlib.run.slots import Node, Slot, plan_decoders, plan_slots

_LOG = logging.getLogger("embedlib")

_ONCE = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1}

_AHEAD_ITEMS = 4
"""Items a decoder may be ahead of the driver: two chunks, each with its header."""

MAX_STARTS = 3
"""Workers of one kind that may die before they are ready, one after the other."""

INFRASTRUCTURE = (
    rx.RayActorError,
    rx.WorkerCrashedError,
    rx.OutOfMemoryError,
    rx.NodeDiedError,
    rx.ObjectLostError,
    rx.LocalRayletDiedError,
    rx.ActorUnschedulableError,
    rx.RaySystemError,
)
"""What Ray raises when a machine or a process failed, not the code in it."""


class RayDriver:
    """Carry out one run on the Ray cluster that this process has joined.

    Parameters
    ----------
    plan : RunPlan
        What to do.
    observe : Observer
        Called with each event, after the scheduler has seen it.
    nodes : list of Node
        Where.
    """

    def __init__(self, plan: RunPlan, observe: Observer, nodes: list[Node]) -> None:
        self._plan = plan
        self._observe = observe
        self._scheduler = plan.scheduler()
        self._nodes = nodes
        # With one model nothing fans out: its workers decode for themselves, which spares the
        # way through the object store and the fight of two processes for one core's cache.
        self._is_one_model = len(plan.jobs) == 1
        self._actors: dict[str, Any] = {}
        self._places: dict[str, Slot | str] = {}
        self._failed_starts = 0
        self._has_said_unpinned = False
        self._n_workers = 0
        self._streams: dict[str, tuple[str, Any]] = {}
        self._n_chunks: dict[str, int] = {}
        self._chunks: dict[tuple[str, int], Any] = {}
        self._graphs: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: asyncio.Queue[Event | BaseException] = asyncio.Queue()

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
        EmbedlibError
            What a worker raised about the model or the output.
        """
        _run_to_end(self._drive(interruption))

    async def _drive(self, interruption: Interruption) -> None:
        await self._spawn_all()
        self._watch(self._tick())
        is_draining = False
        while not self._scheduler.is_done and not interruption.is_overdue:
            event = await self._queue.get()
            if isinstance(event, BaseException):
                raise event
            self._feed(event)
            if interruption.signal_number and not is_draining:
                is_draining = True
                self._feed(Drain())
        await self._commit_ready()
        for task in self._tasks:
            task.cancel()

    async def _commit_ready(self) -> None:
        """Save what is written when draining has taken too long."""
        for action in self._scheduler.on(Tick()):
            if isinstance(action, Commit):
                await self._commit(action)

    def _feed(self, event: Event) -> None:
        for action in self._scheduler.on(event):
            self._perform(action)
        self._observe(event, self._scheduler)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._queue.put_nowait(Tick())

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a coroutine run beside the loop; what it raises ends the run."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._queue.put_nowait(error)

    # Workers

    async def _spawn_all(self) -> None:
        costs = await self._costs()
        device = next(iter(self._plan.jobs.values())).device
        for slot in plan_slots(self._nodes, core_s=costs, device=device):
            self._spawn(slot)
        if not self._is_one_model:
            on_cores = costs if device == "cpu" else {}
            for node_id in plan_decoders(self._nodes, core_s=on_cores):
                self._spawn(node_id)

    async def _costs(self) -> dict[str, float]:
        """Give what each model costs: as known, else measured now, on the first node."""
        jobs = self._plan.jobs
        if self._is_one_model:
            return dict.fromkeys(jobs, 1.0)
        costs = known_costs(jobs)
        if unknown := [name for name in jobs if name not in costs]:
            node_id = self._nodes[0].node_id
            gpu = float(jobs[unknown[0]].device == "cuda")
            actor = _actor_class(CalibrationActor, node_id=node_id, n_cpus=1, n_gpus=gpu).remote()
            for name in unknown:
                costs[name] = await self._measured(actor, name, node_id)
            ray.kill(actor)
        return {name: costs[name] for name in jobs}

    async def _measured(self, actor: Any, name: str, node_id: str) -> float:
        job = self._plan.jobs[name]
        try:
            cost_s: float = await actor.measure.remote(job, self._graph(name, node_id))
        except rx.RayTaskError as exc:
            raise _cause(exc) from exc
        except INFRASTRUCTURE as exc:
            raise RunError(
                f"the worker that measures {name} died: {_line(exc)}", fix=_LOOK
            ) from exc
        keep_cost(job, cost_s)
        return cost_s

    def _graph(self, model: str, node_id: str) -> Any:
        """Give a worker its graph: the path where it sits beside the driver, else the bytes."""
        path = self._plan.graphs[model]
        if node_id == ray.get_runtime_context().get_node_id():
            return str(path.absolute())
        if model not in self._graphs:
            self._graphs[model] = ray.put(path.read_bytes())
        return self._graphs[model]

    def _spawn(self, place: Slot | str) -> None:
        """Start a worker: a model worker in a slot, or a decode worker on a node."""
        self._n_workers += 1
        worker_id = f"w{self._n_workers}"
        self._places[worker_id] = place
        if isinstance(place, Slot):
            on_cpu = place.device == "cpu"
            actor = _actor_class(
                ModelActor,
                node_id=place.node_id,
                n_cpus=_share(place.share) if on_cpu else 0,
                n_gpus=0 if on_cpu else _share(place.share),
            )
            n_cores = int(on_cpu and place.share == 1)
            self._actors[worker_id] = actor.remote(self._plan.jobs[place.model], n_cores)
        else:
            actor = _actor_class(DecodeActor, node_id=place, n_cpus=0)
            self._actors[worker_id] = actor.remote()
        self._watch(self._await_ready(worker_id, place))

    async def _await_ready(self, worker_id: str, place: Slot | str) -> None:
        actor = self._actors[worker_id]
        try:
            if isinstance(place, Slot):
                graph = self._graph(place.model, place.node_id)
                is_pinned = await actor.load.remote(graph)
                self._say_unpinned(is_pinned)
                event: Event = SlotAdded(worker_id, place.model, is_decoder=self._is_one_model)
            else:
                await actor.load.remote()
                event = DecoderAdded(worker_id)
        except rx.RayTaskError as exc:
            raise _cause(exc) from exc
        except INFRASTRUCTURE as exc:
            self._failed_starts += 1
            if self._failed_starts > MAX_STARTS:
                raise RunError(
                    f"{MAX_STARTS} workers died before they were ready: {_line(exc)}",
                    fix=_LOOK,
                ) from exc
            self._spawn(place)
            return
        self._failed_starts = 0
        self._queue.put_nowait(event)

    def _say_unpinned(self, is_pinned: bool) -> None:
        """Say once that workers share cores with another run."""
        if not is_pinned and not self._has_said_unpinned:
            self._has_said_unpinned = True
            _LOG.warning("no core is free for a model worker of its own: workers share cores")

    # Actions

    def _perform(self, action: Action) -> None:
        match action:
            case Decode():
                self._start_decode(action)
            case Extract():
                self._extract(action)
            case Pull(attempt_id):
                self._watch(self._pull(attempt_id))
            case Embed():
                self._embed(action)
            case Release(attempt_id, seq):
                del self._chunks[attempt_id, seq]
            case Write():
                self._write(action)
            case Commit():
                self._watch(self._commit(action))
            case Cancel(attempt_id):
                self._cancel(attempt_id)
            case Forget(attempt_id, slot_id) if slot_id in self._actors:
                self._actors[slot_id].forget.remote(attempt_id)
            case Replace(worker_id):
                self._replace(worker_id)
            case Stop(reason):
                raise stopped(reason)

    # A worker may be lost before the scheduler has heard of it: calls to it are left out, since
    # the event that is on its way takes back whatever they were for.

    def _extract(self, action: Extract) -> None:
        if action.slot_id in self._actors:
            shard = self._plan.shards[action.shard_id]
            name = self._plan.file_attempt(action.attempt_id)
            call = self._actors[action.slot_id].extract.remote(
                action.attempt_id, shard, name, self._plan.decode_job([action.model])
            )
            self._watch(self._await_extract(action.slot_id, call, action.attempt_id))

    def _embed(self, action: Embed) -> None:
        if action.slot_id in self._actors:
            chunk = self._chunks[action.attempt_id, action.seq]
            call = self._actors[action.slot_id].embed.remote(action.attempt_id, chunk)
            done = Embedded(action.attempt_id, action.seq, action.model)
            self._watch(self._await_call(action.slot_id, call, done))

    def _write(self, action: Write) -> None:
        if action.slot_id in self._actors:
            shard = self._plan.shards[action.shard_id]
            name = self._plan.file_attempt(action.attempt_id)
            call = self._actors[action.slot_id].write.remote(action.attempt_id, shard, name)
            self._watch(self._await_part(action.slot_id, call, action.attempt_id))

    def _start_decode(self, action: Decode) -> None:
        if action.decoder_id not in self._actors:
            return
        job = self._plan.decode_job(action.models)
        stream = (
            self._actors[action.decoder_id]
            .decode.options(
                num_returns="streaming", _generator_backpressure_num_objects=_AHEAD_ITEMS
            )
            .remote(self._plan.shards[action.shard_id], job)
        )
        self._streams[action.attempt_id] = (action.decoder_id, stream)
        self._n_chunks[action.attempt_id] = 0

    async def _pull(self, attempt_id: str) -> None:
        if attempt_id not in self._streams:  # given up before this task ran
            return
        decoder_id, stream = self._streams[attempt_id]
        try:
            header = await (await anext(stream))
            if isinstance(header, DecodeStats):
                self._streams.pop(attempt_id, None)
                self._queue.put_nowait(DecodeEnded(attempt_id, header))
                return
            chunk = await anext(stream)
        except rx.TaskCancelledError:
            return
        except rx.RayTaskError as exc:
            self._queue.put_nowait(_attempt_failure(attempt_id, _cause(exc)))
            return
        except INFRASTRUCTURE as exc:
            self._lose(decoder_id, exc)
            return
        if attempt_id in self._streams:
            seq = self._n_chunks[attempt_id]
            self._n_chunks[attempt_id] = seq + 1
            self._chunks[attempt_id, seq] = chunk
            self._queue.put_nowait(Decoded(attempt_id, seq, header.n_bytes, header.front_end))

    async def _await_call(self, worker_id: str, call: Any, event: Event) -> None:
        if await self._result(worker_id, call) is not _LOST:
            self._queue.put_nowait(event)

    async def _await_part(self, worker_id: str, call: Any, attempt_id: str) -> None:
        part = await self._result(worker_id, call)
        if part is not _LOST:
            self._queue.put_nowait(Written(attempt_id, part))

    async def _await_extract(self, worker_id: str, call: Any, attempt_id: str) -> None:
        try:
            part, stats = await call
            self._queue.put_nowait(Written(attempt_id, part, stats))
        except rx.RayTaskError as exc:
            self._queue.put_nowait(_attempt_failure(attempt_id, _cause(exc)))
        except INFRASTRUCTURE as exc:
            self._lose(worker_id, exc)

    async def _result(self, worker_id: str, call: Any) -> Any:
        """Wait for a model worker; `_LOST` when it will not answer."""
        try:
            return await call
        except rx.RayTaskError as exc:
            cause = _cause(exc)
            if isinstance(cause, EmbedlibError):
                raise cause from exc
            _LOG.error("worker=%s failed", worker_id, exc_info=cause)
            self._lose(worker_id, cause)
        except INFRASTRUCTURE as exc:
            self._lose(worker_id, exc)
        return _LOST

    async def _commit(self, action: Commit) -> None:
        self._queue.put_nowait(await asyncio.to_thread(commit, self._plan.out, action))

    def _cancel(self, attempt_id: str) -> None:
        decoder_id, stream = self._streams.pop(attempt_id, ("", None))
        if decoder_id in self._actors:
            ray.cancel(stream)

    def _lose(self, worker_id: str, exc: BaseException) -> None:
        """Report a lost worker once, however many of its calls fail."""
        actor = self._actors.pop(worker_id, None)
        if actor is not None:
            ray.kill(actor)
            self._queue.put_nowait(WorkerLost(worker_id, _line(exc)))

    def _replace(self, worker_id: str) -> None:
        self._spawn(self._places.pop(worker_id))


_LOST = object()

_LOOK = "look at memory and at Ray's logs, then run the same command"


def _run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; in a thread of its own where this one has a loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, work).result()


def _actor_class(cls: type, *, node_id: str, n_cpus: float, n_gpus: float = 0) -> Any:
    """Make an actor class that lives on one node and that Ray does not retry."""
    remote: Any = ray.remote(cls)
    place = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return remote.options(**_ONCE, num_cpus=n_cpus, num_gpus=n_gpus, scheduling_strategy=place)


def _share(share: float) -> float:
    """Round a share down to what Ray counts in, so that all of a node still fit on it."""
    return max(1e-4, math.floor(share * 1e4) / 1e4)


def _cause(exc: rx.RayTaskError) -> Exception:
    """Give what the code in the worker raised, without Ray's wrapping."""
    cause = exc.cause
    return cause if isinstance(cause, Exception) else exc


def _attempt_failure(attempt_id: str, cause: Exception) -> Event | Exception:
    """Our own errors end the run; anything else is a try that failed, with its traceback logged."""
    if isinstance(cause, EmbedlibError):
        return cause
    _LOG.error("attempt=%s failed", attempt_id, exc_info=cause)
    return AttemptFailed(attempt_id, _line(cause))


def _line(exc: BaseException) -> str:
    first = str(exc).strip().splitlines() or [""]
    return f"{type(exc).__name__}: {first[0]}"
