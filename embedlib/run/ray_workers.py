"""The actors of a run: started where a slot or a decoder was planned, watched, let go.

Ray retries nothing here. A worker that dies is reported once, as lost by accident when its node
went with it, and is made anew only where its node still lives.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as rx
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from embedlib.errors import RunError
from embedlib.run.background import Background
from embedlib.run.calibrate import fitted
from embedlib.run.cluster import is_gone
from embedlib.run.driver import RunPlan
from embedlib.run.events import DecoderAdded, Event, Outgrown, SlotAdded, WorkerLost
from embedlib.run.nodes import Membership
from embedlib.run.ray_errors import INFRASTRUCTURE, LOOK, cause, line
from embedlib.run.slots import Slot

_LOG = logging.getLogger("embedlib")

MAX_STARTS = 3
"""Workers of one kind that may die before they are ready, one after the other."""

VERDICT_S = 15.0
"""How long a worker that Ray calls unavailable is not yet called lost: with Ray's own settings a
killed node is known to be dead after 14.5 s, its workers are missed after 4."""

MEMORY_EVERY_S = 30.0
"""Between looks at the memory of a worker: a leak of a few MiB per file takes longer to hurt."""

_ONCE = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1}


@dataclass(slots=True)
class _Worker:
    actor: Any
    place: Slot | str
    pid: int = 0

    @property
    def node_id(self) -> str:
        return self.place.node_id if isinstance(self.place, Slot) else self.place


class Workers:
    """The model workers and decode workers of one run.

    Parameters
    ----------
    plan : RunPlan
        What they work for.
    background : Background
        Told when one is ready or lost.
    members : Membership
        The nodes that may carry one.
    model_class, decode_class : type
        What runs in their processes.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        background: Background,
        members: Membership,
        model_class: type,
        decode_class: type,
    ) -> None:
        self._plan = plan
        self._background = background
        self._members = members
        self._model_class = model_class
        self._decode_class = decode_class
        self._workers: dict[str, _Worker] = {}
        self._lost: dict[str, _Worker] = {}
        self._graphs: dict[str, Any] = {}
        self._n_started = 0
        self._n_failed_starts = 0
        self._has_said_unpinned = False

    def __contains__(self, worker_id: object) -> bool:
        return worker_id in self._workers

    def __getitem__(self, worker_id: str) -> Any:
        return self._workers[worker_id].actor

    @property
    def are_ready(self) -> bool:
        """Whether none is starting, or about to be made anew."""
        return not self._lost and all(worker.pid for worker in self._workers.values())

    def slots(self) -> dict[str, Slot]:
        """Give the place of each model worker.

        Returns
        -------
        slots : dict of str to Slot
            By worker, those that are starting included.
        """
        places = {worker_id: worker.place for worker_id, worker in self._workers.items()}
        return {name: place for name, place in places.items() if isinstance(place, Slot)}

    def n_decoders(self, node_id: str) -> int:
        """Count the decode workers of a node.

        Parameters
        ----------
        node_id : str
            The node.

        Returns
        -------
        n_decoders : int
            Those that are starting included.
        """
        return sum(worker.place == node_id for worker in self._workers.values())

    def where(self, worker_id: str) -> tuple[str, int]:
        """Say where a worker runs.

        Parameters
        ----------
        worker_id : str
            One that is there.

        Returns
        -------
        node_id : str
            Its node.
        pid : int
            Its process there; 0 before it was ready.
        """
        worker = self._workers[worker_id]
        return worker.node_id, worker.pid

    def graph(self, model: str, node_id: str) -> Any:
        """Give a worker its graph: the path where it sits beside the driver, else the bytes.

        Parameters
        ----------
        model : str
            Name of its table.
        node_id : str
            Where the worker is.

        Returns
        -------
        graph : str or ray.ObjectRef
            An argument for a call.
        """
        path = self._plan.graphs[model]
        if node_id == ray.get_runtime_context().get_node_id():
            return str(path.absolute())
        if model not in self._graphs:
            self._graphs[model] = ray.put(path.read_bytes())
        return self._graphs[model]

    def start(self, place: Slot | str) -> None:
        """Start a worker: a model worker in a slot, or a decode worker on a node.

        Parameters
        ----------
        place : Slot or str
            The slot, or the id of the node.
        """
        self._n_started += 1
        worker_id = f"w{self._n_started}"
        self._workers[worker_id] = _Worker(self._new_actor(place), place)
        self._background.start(self._await_ready(worker_id))

    def _new_actor(self, place: Slot | str) -> Any:
        if not isinstance(place, Slot):
            return actor_class(self._decode_class, node_id=place, n_cpus=0).remote()
        on_cpu = place.device == "cpu"
        model_class = actor_class(
            self._model_class,
            node_id=place.node_id,
            n_cpus=_share(place.share) if on_cpu else 0,
            n_gpus=0 if on_cpu else _share(place.share),
        )
        n_cores = int(on_cpu and place.share == 1)
        job = fitted(self._plan.jobs[place.model])
        return model_class.remote(job, n_cores, gives_way=place.gives_way)

    async def _await_ready(self, worker_id: str) -> None:
        worker = self._workers[worker_id]
        try:
            event = await self._load(worker_id, worker)
            worker.pid = await worker.actor.__ray_call__.remote(_pid)
        except rx.RayTaskError as exc:
            raise cause(exc) from exc
        except INFRASTRUCTURE as exc:
            await self._restart(worker_id, exc)
            return
        self._n_failed_starts = 0
        if worker_id in self:
            self._background.report(event)
            self._background.start(self._watch_memory(worker_id))

    async def _watch_memory(self, worker_id: str) -> None:
        """Report a worker that has outgrown its share; it answers between its calls."""
        n_bytes = 0
        while n_bytes <= self._plan.worker_memory_bytes:
            await asyncio.sleep(MEMORY_EVERY_S)
            if worker_id not in self:
                return
            try:
                n_bytes = await self[worker_id].private_bytes.remote()
            except INFRASTRUCTURE as exc:
                self.lose(worker_id, exc)
                return
        _LOG.warning("worker=%s holds %d MiB, more than its share", worker_id, n_bytes >> 20)
        self._background.report(Outgrown(worker_id))

    async def _load(self, worker_id: str, worker: _Worker) -> Event:
        place = worker.place
        if not isinstance(place, Slot):
            await worker.actor.load.remote()
            return DecoderAdded(worker_id, worker.node_id)
        is_pinned = await worker.actor.load.remote(self.graph(place.model, place.node_id))
        self._say_unpinned(is_pinned)
        is_decoder = self._plan.is_one_model
        return SlotAdded(worker_id, place.model, is_decoder, worker.node_id)

    async def _restart(self, worker_id: str, exc: BaseException) -> None:
        """Make a worker anew that died before it was ready, unless its node is the reason."""
        worker = self._workers.pop(worker_id, None)
        if worker is None or await self._is_accident(worker, exc):
            return
        self._n_failed_starts += 1
        if self._n_failed_starts > MAX_STARTS:
            raise RunError(
                f"{MAX_STARTS} workers died before they were ready: {line(exc)}", fix=LOOK
            ) from exc
        self.start(worker.place)

    def _say_unpinned(self, is_pinned: bool) -> None:
        """Say once that workers share cores with another run."""
        if not is_pinned and not self._has_said_unpinned:
            self._has_said_unpinned = True
            _LOG.warning("no core is free for a model worker of its own: workers share cores")

    def lose(self, worker_id: str, exc: BaseException) -> None:
        """Report a lost worker once, however many of its calls fail.

        Parameters
        ----------
        worker_id : str
            The worker; one that was reported before is left out.
        exc : BaseException
            By what it was noticed.
        """
        worker = self._workers.pop(worker_id, None)
        if worker is not None:
            ray.kill(worker.actor)
            self._background.start(self._report_loss(worker_id, worker, exc))

    async def _report_loss(self, worker_id: str, worker: _Worker, exc: BaseException) -> None:
        is_accident = await self._is_accident(worker, exc)
        if not is_accident:
            self._lost[worker_id] = worker
        self._background.report(WorkerLost(worker_id, line(exc), is_accident))

    async def _is_accident(self, worker: _Worker, exc: BaseException) -> bool:
        """Whether the node is the reason; waited for where Ray itself does not know yet."""
        if not self._members.is_usable(worker.node_id):
            return True
        is_open = isinstance(exc, rx.ActorUnavailableError)
        return await is_gone(worker.node_id, patience_s=VERDICT_S if is_open else 0.0)

    def replace(self, worker_id: str) -> None:
        """Start a worker in the place of another one, if its node may carry it.

        Parameters
        ----------
        worker_id : str
            One that was lost; one that still lives is ended.
        """
        worker = self._lost.pop(worker_id, None) or self._workers.pop(worker_id, None)
        if worker is not None and self._members.is_usable(worker.node_id):
            ray.kill(worker.actor)
            self.start(worker.place)

    def end(self, worker_id: str) -> None:
        """End a worker, and start none in its place.

        Parameters
        ----------
        worker_id : str
            One that holds nothing; one that is gone is left out.
        """
        worker = self._workers.pop(worker_id, None)
        if worker is not None:
            ray.kill(worker.actor)

    def drop_node(self, node_id: str, reason: str) -> None:
        """Report all workers of a node as lost; none of them is made anew.

        Parameters
        ----------
        node_id : str
            A node that has left, or was refused.
        reason : str
            For the report.
        """
        there = {name: one for name, one in self._workers.items() if one.node_id == node_id}
        for worker_id, worker in there.items():
            del self._workers[worker_id]
            ray.kill(worker.actor)
            self._background.report(WorkerLost(worker_id, reason, is_accident=True))


def actor_class(cls: type, *, node_id: str, n_cpus: float, n_gpus: float = 0) -> Any:
    """Make an actor class that lives on one node and that Ray does not retry.

    Parameters
    ----------
    cls : type
        A plain class.
    node_id : str
        The node.
    n_cpus, n_gpus : float >= 0
        What Ray reserves there.

    Returns
    -------
    actor_class : ray.actor.ActorClass
        To be called by ``.remote(...)``.
    """
    remote: Any = ray.remote(cls)
    place = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return remote.options(**_ONCE, num_cpus=n_cpus, num_gpus=n_gpus, scheduling_strategy=place)


def _share(share: float) -> float:
    """Round a share down to what Ray counts in, so that all of a node still fit on it."""
    return max(1e-4, math.floor(share * 1e4) / 1e4)


def _pid(_: object) -> int:
    return os.getpid()
