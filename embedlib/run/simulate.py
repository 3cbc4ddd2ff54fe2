"""The scheduler driven by a virtual clock: nodes come and go, shards take their time, files kill.

The scheduler is the one of real runs, and gets every event of every shard. What it costs itself is
real; all else is drawn and counted.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np

from embedlib.errors import RunError
from embedlib.run.agenda import Agenda
from embedlib.run.backlog import Work
from embedlib.run.decoding import CHUNK_BYTES
from embedlib.run.driver import TICK_S
from embedlib.run.events import (
    Action,
    Bisect,
    Bisected,
    Cancel,
    Commit,
    Committed,
    Decode,
    DecoderAdded,
    Embed,
    Embedded,
    Event,
    Extract,
    Pull,
    Recycle,
    Replace,
    SlotAdded,
    Stop,
    Tick,
    WorkerLost,
    Write,
    Written,
)
from embedlib.run.scenario import Scenario, SimulationReport
from embedlib.run.scheduler import Scheduler
from embedlib.run.simulated_catalogue import SimulatedShards, draw_shards
from embedlib.run.simulated_cluster import SimulatedCluster, SimulatedWorker, Task
from embedlib.run.simulated_streams import Stream, stream_of

CALL_S = 0.002
"""A call to a worker and back, through Ray on one machine."""

BISECTION_DECODES = 3.0
"""Decodes of a shard that a search for poison is worth: halves of halves, begun anew."""

STALL_S = 86_400.0
"""Virtual seconds without any event but ticks after which the scheduler is taken for stuck."""


def simulate(scenario: Scenario) -> SimulationReport:
    """Run a scenario to its end.

    Parameters
    ----------
    scenario : Scenario
        What to run.

    Returns
    -------
    report : SimulationReport
        What came of it; the same for equal scenarios, but for real seconds.

    Raises
    ------
    RunError
        If the scheduler is stuck: something is left to do, and nothing happens.

    Examples
    --------
    >>> from embedlib.run.scenario import NodeKind
    >>> report = simulate(Scenario(640, (NodeKind(2, 4),), straggler_share=0.0))
    >>> report.n_shards == report.n_committed, report.stretch < 1.2
    (True, True)
    """
    rng = np.random.default_rng(scenario.seed)
    shards = draw_shards(scenario.n_tracks, poison_share=scenario.poison_share, rng=rng)
    return Simulation(scenario, shards).run()


class Simulation:
    """One run of a scenario over given shards.

    Parameters
    ----------
    scenario : Scenario
        Where, and what happens.
    shards : SimulatedShards
        What is to be done, in the order in which it should start.
    """

    def __init__(self, scenario: Scenario, shards: SimulatedShards) -> None:
        self._scenario = scenario
        self._shards = shards
        self._cluster = SimulatedCluster(scenario)
        self._chance = random.Random(scenario.seed)
        self._is_one_model = len(scenario.models) == 1
        names = tuple(scenario.models)
        self._scheduler = Scheduler(
            (Work(shard_id, names) for shard_id in shards.ids()),
            front_ends={name: model.front_end for name, model in scenario.models.items()},
            budget_bytes=scenario.budget_bytes,
            chunk_bytes=CHUNK_BYTES,
            audio_s=lambda shard_id: float(shards.audio_s[shards.number(shard_id)]),
        )
        self._agenda = Agenda()
        self._moved_s = 0.0
        self._streams: dict[str, Stream] = {}
        self._crashed: dict[str, SimulatedWorker] = {}
        self._away: set[str] = set()
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._n_events: Counter[str] = Counter()
        self._n_actions: Counter[str] = Counter()
        self._n_committed = self._n_nodes_lost = self._n_crashes = self._peak_bytes = 0
        self._scheduler_s = 0.0
        self._stop_reason = ""

    def run(self) -> SimulationReport:
        """Let virtual time pass until nothing is left to do.

        Returns
        -------
        report : SimulationReport
            What came of it.

        Raises
        ------
        RunError
            If the scheduler is stuck.
        """
        for node_id in self._cluster.node_ids:
            self._join(node_id)
        self._agenda.later(TICK_S, self._tick)
        while not self._scheduler.is_done:
            worker_id, happen = self._agenda.next()
            # What a worker was about to do dies with it.
            if not worker_id or worker_id in self._cluster.workers:
                happen()
        return self._report()

    def _report(self) -> SimulationReport:
        present_core_s = self._cluster.present_core_s(self._agenda.now_s)
        return SimulationReport(
            n_shards=len(self._shards),
            n_committed=self._n_committed,
            stop_reason=self._stop_reason,
            makespan_s=self._agenda.now_s,
            bound_s=self._cluster.bound_s(self._work_core_s()),
            utilisation={
                stage: spent / present_core_s for stage, spent in sorted(self._spent.items())
            },
            n_events=dict(self._n_events),
            n_actions=dict(self._n_actions),
            n_nodes_lost=self._n_nodes_lost,
            n_crashes=self._n_crashes,
            peak_bytes=self._peak_bytes,
            scheduler_s=self._scheduler_s,
        )

    def _work_core_s(self) -> float:
        """Give what there is to do if every shard is decoded and embedded once."""
        models_core_s = sum(model.core_s for model in self._scenario.models.values())
        return float(self._shards.audio_s.sum()) * (self._scenario.decode_core_s + models_core_s)

    # Time

    def _tick(self) -> None:
        if self._agenda.now_s - self._moved_s > STALL_S:
            raise RunError(
                f"{self._scheduler.n_pending} pairs are left and nothing happens",
                fix="this is a bug of the scheduler",
            )
        self._feed(Tick(self._agenda.now_s if self._scenario.has_twins else 0.0))
        self._agenda.later(TICK_S, self._tick)

    def _feed(self, event: Event) -> None:
        if not isinstance(event, Tick):
            self._moved_s = self._agenda.now_s
        started = time.perf_counter()
        actions = self._scheduler.on(event)
        self._scheduler_s += time.perf_counter() - started
        self._n_events[type(event).__name__] += 1
        for action in actions:
            self._n_actions[type(action).__name__] += 1
            self._perform(action)
        self._peak_bytes = max(self._peak_bytes, self._scheduler.in_flight_bytes)

    # Nodes and workers

    def _join(self, node_id: str) -> None:
        self._away.discard(node_id)
        for worker in self._cluster.join(node_id, now_s=self._agenda.now_s):
            self._start(worker)
        if self._scenario.preempted_per_hour:
            hours = self._chance.expovariate(self._scenario.preempted_per_hour)
            self._agenda.later(3_600.0 * hours, partial(self._preempt, node_id))

    def _start(self, worker: SimulatedWorker) -> None:
        event: Event = DecoderAdded(worker.worker_id, worker.node_id)
        if worker.model:
            event = SlotAdded(
                worker.worker_id, worker.model, self._is_one_model, node_id=worker.node_id
            )
        self._agenda.later(
            self._scenario.start_s, partial(self._feed, event), owner=worker.worker_id
        )

    def _preempt(self, node_id: str) -> None:
        self._n_nodes_lost += 1
        self._away.add(node_id)
        for worker in self._cluster.leave(node_id, now_s=self._agenda.now_s):
            self._count_lost(worker)
            lost = WorkerLost(worker.worker_id, "its node was preempted", is_accident=True)
            self._agenda.later(self._scenario.detection_s, partial(self._feed, lost))
        self._agenda.later(self._scenario.away_s, partial(self._join, node_id))

    def _crash(self, worker_id: str) -> None:
        self._n_crashes += 1
        self._crashed[worker_id] = self._cluster.workers[worker_id]
        self._count_lost(self._cluster.workers[worker_id])
        self._begin(self._cluster.end(worker_id, now_s=self._agenda.now_s))
        self._agenda.later(CALL_S, partial(self._feed, WorkerLost(worker_id, "killed by a file")))

    def _count_lost(self, worker: SimulatedWorker) -> None:
        if worker.since_s is not None:
            self._spent["lost"] += (self._agenda.now_s - worker.since_s) * worker.speed

    def _replace(self, worker_id: str) -> None:
        """Start another worker for one that crashed; a node that comes back brings its own."""
        crashed = self._crashed.pop(worker_id, None)
        if crashed and crashed.node_id not in self._away:
            self._start(self._cluster.start(crashed.node_id, crashed.model))

    def _recycle(self, worker_id: str) -> None:
        """End a worker over whose shard another one was faster, and start one in its place."""
        worker = self._cluster.workers.get(worker_id)
        if worker:
            self._count_lost(worker)
            self._begin(self._cluster.end(worker_id, now_s=self._agenda.now_s))
            self._start(self._cluster.start(worker.node_id, worker.model))

    # Actions

    def _perform(self, action: Action) -> None:
        match action:
            case Extract():
                self._extract(action)
            case Pull(attempt_id):
                self._pull(attempt_id)
            case Embed():
                self._embed(action)
            case Decode():
                self._decode(action)
            case Write():
                self._write(action)
            case Commit():
                self._commit(action)
            case Cancel(attempt_id):
                self._streams.pop(attempt_id, None)
            case Replace(worker_id):
                self._replace(worker_id)
            case Recycle(worker_id):
                self._recycle(worker_id)
            case Bisect(shard_id):
                self._bisect(shard_id)
            case Stop(reason):
                self._stop_reason = reason

    def _slowness(self) -> float:
        is_straggler = self._chance.random() < self._scenario.straggler_share
        return self._scenario.straggler_factor if is_straggler else 1.0

    def _give(
        self, worker_id: str, core_s: float, happen: Callable[[], None], **stages: float
    ) -> None:
        task = Task(core_s, stages, happen)
        self._begin(self._cluster.give(worker_id, task, now_s=self._agenda.now_s))

    def _begin(self, workers: list[SimulatedWorker]) -> None:
        for worker in workers:
            after_s = worker.tasks[0].core_s / worker.speed + CALL_S
            self._agenda.later(after_s, partial(self._finish, worker), owner=worker.worker_id)

    def _finish(self, worker: SimulatedWorker) -> None:
        task = worker.tasks[0]
        for stage, core_s in task.stages.items():
            self._spent[stage] += core_s
        self._begin(self._cluster.finish(worker.worker_id, now_s=self._agenda.now_s))
        task.happen()

    def _extract(self, action: Extract) -> None:
        shard = self._shards.number(action.shard_id)
        audio_s = float(self._shards.audio_s[shard]) * self._slowness()
        embed_core_s = audio_s * self._scenario.models[action.model].core_s
        decode_core_s = audio_s * self._scenario.decode_core_s
        core_s = decode_core_s + embed_core_s
        if self._shards.n_poison[shard] and not action.skip:
            core_s *= self._chance.random()
            self._give(action.slot_id, core_s, partial(self._crash, action.slot_id), lost=core_s)
            return
        part = self._shards.part(action.model, action.shard_id, action.attempt_id)
        written = partial(self._feed, Written(action.attempt_id, part))
        self._give(action.slot_id, core_s, written, decode=decode_core_s, embed=embed_core_s)

    def _decode(self, action: Decode) -> None:
        shard = self._shards.number(action.shard_id)
        is_deadly = bool(self._shards.n_poison[shard]) and not action.skip
        self._streams[action.attempt_id] = stream_of(
            [self._scenario.models[model] for model in action.models],
            audio_s=float(self._shards.audio_s[shard]),
            decoder_id=action.decoder_id,
            slowness=self._slowness(),
            dies_at=self._chance.random() if is_deadly else None,
        )

    def _pull(self, attempt_id: str) -> None:
        stream = self._streams[attempt_id]
        span_s, event = stream.advance(attempt_id)
        happen = partial(self._feed, event) if event else partial(self._crash, stream.decoder_id)
        core_s = span_s * self._scenario.decode_core_s * stream.slowness
        self._give(stream.decoder_id, core_s, happen, decode=core_s)

    def _embed(self, action: Embed) -> None:
        model = self._scenario.models[action.model]
        core_s = self._streams[action.attempt_id].chunk_s(action.seq) * model.core_s
        embedded = Embedded(action.attempt_id, action.seq, action.model)
        self._give(action.slot_id, core_s, partial(self._feed, embedded), embed=core_s)

    def _write(self, action: Write) -> None:
        self._streams.pop(action.attempt_id, None)
        part = self._shards.part(action.model, action.shard_id, action.attempt_id)
        written = partial(self._feed, Written(action.attempt_id, part))
        self._give(action.slot_id, 0.0, written)

    def _commit(self, action: Commit) -> None:
        shard_ids = tuple(part.shard_id for part in action.parts)
        self._n_committed += len(shard_ids)
        after_s = self._scenario.commit_s + self._scenario.commit_part_s * len(shard_ids)
        self._agenda.later(after_s, partial(self._feed, Committed(action.model, shard_ids)))

    def _bisect(self, shard_id: str) -> None:
        shard = self._shards.number(shard_id)
        crashed = self._shards.crashes(shard_id)
        after_s = (
            float(self._shards.audio_s[shard]) * self._scenario.decode_core_s * BISECTION_DECODES
        )
        self._agenda.later(after_s, partial(self._feed, Bisected(shard_id, crashed)))
