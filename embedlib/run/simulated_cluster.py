"""Nodes and workers that exist as numbers only, and the capacity that was there over time.

A core does one task at a time, and a task that finds no core free waits for its turn on its node.
Tasks are chunks, well below a second, so that this is close to what an operating system does; a
worker that decodes for itself has a core of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from embedlib.run.scenario import Scenario
from embedlib.run.slots import Node, plan_decoders, plan_slots


@dataclass(frozen=True, slots=True)
class Task:
    """Something for a worker to do.

    Attributes
    ----------
    core_s : float
        Seconds of the core that costs were measured on.
    stages : dict of str to float
        What these are spent on.
    happen : callable
        Called when it is done.
    """

    core_s: float
    stages: dict[str, float]
    happen: Callable[[], None]


@dataclass(slots=True)
class SimulatedWorker:
    """A worker on a node.

    Attributes
    ----------
    worker_id, node_id : str
        Which, and where.
    model : str
        What it serves; empty for a decode worker.
    speed : float
        Of the cores of its node.
    tasks : deque of Task
        What it was given; the first one is under way, or waits for a core.
    since_s : float or None
        When it got its core; None when it has none.
    """

    worker_id: str
    node_id: str
    model: str
    speed: float
    tasks: deque[Task] = field(default_factory=deque)
    since_s: float | None = None


@dataclass(slots=True)
class _Node:
    models: tuple[str, ...]
    n_cores: int
    speed: float
    n_free: int = 0
    waiting: deque[str] = field(default_factory=deque)
    workers: set[str] = field(default_factory=set)


class SimulatedCluster:
    """The nodes of a scenario, with workers as a run would have them.

    Parameters
    ----------
    scenario : Scenario
        Which nodes and models.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.workers: dict[str, SimulatedWorker] = {}
        self._nodes: dict[str, _Node] = {}
        self._power = 0.0
        self._powers: list[tuple[float, float]] = []
        self._n_workers = 0
        core_s = {name: model.core_s for name, model in scenario.models.items()}
        for kind_number, kind in enumerate(scenario.nodes):
            models = _models_on(Node("", kind.n_cores), core_s)
            for number in range(kind.n_nodes):
                self._nodes[f"{kind_number}.{number}"] = _Node(models, kind.n_cores, kind.speed)

    @property
    def node_ids(self) -> list[str]:
        """All nodes, also those that are away."""
        return list(self._nodes)

    # Coming and going

    def join(self, node_id: str, *, now_s: float) -> list[SimulatedWorker]:
        """Let a node come, and start its workers.

        Parameters
        ----------
        node_id : str
            Which.
        now_s : float
            Virtual time.

        Returns
        -------
        workers : list of SimulatedWorker
            Those that start on it.
        """
        node = self._nodes[node_id]
        node.n_free = node.n_cores
        self._count_power(node.n_cores * node.speed, now_s)
        return [self.start(node_id, model) for model in node.models]

    def leave(self, node_id: str, *, now_s: float) -> list[SimulatedWorker]:
        """Let a node go, with all that it holds.

        Parameters
        ----------
        node_id : str
            Which.
        now_s : float
            Virtual time.

        Returns
        -------
        workers : list of SimulatedWorker
            Those that died with it.
        """
        node = self._nodes[node_id]
        self._count_power(-node.n_cores * node.speed, now_s)
        dead = [self.workers.pop(worker_id) for worker_id in sorted(node.workers)]
        node.workers.clear()
        node.waiting.clear()
        return dead

    def start(self, node_id: str, model: str) -> SimulatedWorker:
        """Start a worker on a node that is there.

        Parameters
        ----------
        node_id : str
            Where.
        model : str
            What it serves; empty for a decode worker.

        Returns
        -------
        worker : SimulatedWorker
            The new one.
        """
        self._n_workers += 1
        node = self._nodes[node_id]
        worker = SimulatedWorker(f"w{self._n_workers}", node_id, model, node.speed)
        self.workers[worker.worker_id] = worker
        node.workers.add(worker.worker_id)
        return worker

    def end(self, worker_id: str, *, now_s: float) -> list[SimulatedWorker]:
        """End one worker, whatever it is at.

        Parameters
        ----------
        worker_id : str
            Which.
        now_s : float
            Virtual time.

        Returns
        -------
        begun : list of SimulatedWorker
            Who gets its core.
        """
        worker = self.workers.pop(worker_id)
        node = self._nodes[worker.node_id]
        node.workers.discard(worker_id)
        if worker.since_s is not None:
            return self._give_core(node, now_s)
        if worker_id in node.waiting:
            node.waiting.remove(worker_id)
        return []

    # Tasks and cores

    def give(self, worker_id: str, task: Task, *, now_s: float) -> list[SimulatedWorker]:
        """Give a worker something to do after what it has.

        Parameters
        ----------
        worker_id : str
            Who; one that is gone never does it.
        task : Task
            What.
        now_s : float
            Virtual time.

        Returns
        -------
        begun : list of SimulatedWorker
            The worker, if it begins now.
        """
        worker = self.workers.get(worker_id)
        if worker is None:
            return []
        worker.tasks.append(task)
        if len(worker.tasks) > 1:
            return []
        return self._want_core(worker, now_s)

    def finish(self, worker_id: str, *, now_s: float) -> list[SimulatedWorker]:
        """Take the task off a worker that is through with it.

        Parameters
        ----------
        worker_id : str
            Who.
        now_s : float
            Virtual time.

        Returns
        -------
        begun : list of SimulatedWorker
            Who begins with a task on the core that is free now.
        """
        worker = self.workers[worker_id]
        node = self._nodes[worker.node_id]
        worker.tasks.popleft()
        worker.since_s = None
        if worker.tasks:
            node.waiting.append(worker_id)
        return self._give_core(node, now_s)

    def _want_core(self, worker: SimulatedWorker, now_s: float) -> list[SimulatedWorker]:
        node = self._nodes[worker.node_id]
        if not node.n_free:
            node.waiting.append(worker.worker_id)
            return []
        node.n_free -= 1
        worker.since_s = now_s
        return [worker]

    def _give_core(self, node: _Node, now_s: float) -> list[SimulatedWorker]:
        node.n_free += 1
        if not node.waiting:
            return []
        return self._want_core(self.workers[node.waiting.popleft()], now_s)

    # Capacity

    def present_core_s(self, until_s: float) -> float:
        """Add up what could have been done.

        Parameters
        ----------
        until_s : float
            Virtual time.

        Returns
        -------
        core_s : float
            Core seconds that were there, in those of the core that costs were measured on.
        """
        return sum(
            power * (end_s - start_s)
            for (start_s, power), (end_s, _) in pairwise([*self._powers, (until_s, 0.0)])
        )

    def bound_s(self, core_s: float) -> float:
        """Say when so much work would be done if no core had ever been idle.

        Parameters
        ----------
        core_s : float
            Work, in seconds of the core that costs were measured on.

        Returns
        -------
        bound_s : float
            Virtual time; infinite where there are too few cores.
        """
        for (start_s, power), (end_s, _) in pairwise([*self._powers, (float("inf"), 0.0)]):
            if power and core_s <= power * (end_s - start_s):
                return start_s + core_s / power
            core_s -= power * (end_s - start_s) if power else 0.0
        return float("inf")

    def _count_power(self, change: float, now_s: float) -> None:
        self._power += change
        self._powers.append((now_s, self._power))


def _models_on(node: Node, core_s: Mapping[str, float]) -> tuple[str, ...]:
    """Give the model of each worker of a node; a decode worker has none."""
    slots = plan_slots([node], core_s=core_s)
    n_decoders = len(plan_decoders([node], core_s=core_s)) if len(core_s) > 1 else 0
    return (*(slot.model for slot in slots), *[""] * n_decoders)
