"""What a run tells a monitoring system: its events and the state of its scheduler as measurements.

Names follow the conventions of Prometheus: base units, ``_total`` for what only grows. Tags have
few values: no track, shard, attempt or worker is named. Nothing in here knows Ray or a clock;
counters come with the events that they count, gauges with each tick, which is once a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from embedlib.records import KEPT, PartResult
from embedlib.run.events import (
    AttemptFailed,
    Committed,
    DecodeEnded,
    DecoderAdded,
    Event,
    Outgrown,
    SlotAdded,
    Tick,
    WorkerLost,
    Written,
)
from embedlib.run.scheduler import Scheduler
from embedlib.run.staff import Load

SHARED: Final = "shared"
"""Value of the tag ``model`` for what serves all models of a run: its decode workers."""


class Kind(StrEnum):
    """What may become of the value of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a run.

    Attributes
    ----------
    kind : Kind
        A counter only grows.
    name : str
        As Prometheus has it, but for the prefix ``ray_``.
    help : str
        One sentence.
    tag_keys : tuple of str
        What its measurements are told apart by.
    """

    kind: Kind
    name: str
    help: str
    tag_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of a metric.

    Attributes
    ----------
    metric : Metric
        Which.
    value : float
        What a counter grows by, more than 0; what a gauge is.
    tags : tuple of str
        Values, in the order of the metric's keys.
    """

    metric: Metric
    value: float
    tags: tuple[str, ...] = ()


TRACKS = Metric(
    Kind.COUNTER, "embedlib_tracks_total", "Rows written, by how they ended.", ("model", "status")
)
FAILED_TRACKS = Metric(
    Kind.COUNTER,
    "embedlib_failed_tracks_total",
    "Rows written without an embedding, by the reason.",
    ("model", "reason"),
)
AUDIO = Metric(
    Kind.COUNTER,
    "embedlib_audio_seconds_total",
    "Audio behind the rows, counted per model.",
    ("model",),
)
STAGES = Metric(
    Kind.COUNTER,
    "embedlib_stage_seconds_total",
    "Time that workers spent in each stage of shards that came to its end.",
    ("model", "stage"),
)
COMMITS = Metric(Kind.COUNTER, "embedlib_commits_total", "Commits that are settled.", ("model",))
FAILED_ATTEMPTS = Metric(
    Kind.COUNTER,
    "embedlib_failed_attempts_total",
    "Tries of a shard that failed while its worker lived.",
    ("cause",),
)
LOST_WORKERS = Metric(
    Kind.COUNTER, "embedlib_lost_workers_total", "Workers that died.", ("model", "cause")
)
RESTARTS = Metric(
    Kind.COUNTER,
    "embedlib_worker_restarts_total",
    "Workers that took the place of one that died or had outgrown its memory.",
    ("model",),
)
WORKERS = Metric(
    Kind.GAUGE, "embedlib_workers", "Workers that are ready, busy and idle.", ("model", "state")
)
CHUNKS = Metric(
    Kind.GAUGE, "embedlib_queued_chunks", "Chunks that a model is not through with.", ("model",)
)
SHARDS = Metric(
    Kind.GAUGE, "embedlib_pending_shards", "Shards that are not written yet.", ("model",)
)
IN_FLIGHT = Metric(
    Kind.GAUGE, "embedlib_in_flight_bytes", "Chunks that exist, and the bound of those asked for."
)
BUDGET = Metric(Kind.GAUGE, "embedlib_budget_bytes", "Limit for the bytes in flight.")

METRICS: Final = (
    TRACKS,
    FAILED_TRACKS,
    AUDIO,
    STAGES,
    COMMITS,
    FAILED_ATTEMPTS,
    LOST_WORKERS,
    RESTARTS,
    WORKERS,
    CHUNKS,
    SHARDS,
    IN_FLIGHT,
    BUDGET,
)
"""All of them, in the order in which they are documented."""


class Meters:
    """Turns what happens in one run into measurements.

    Examples
    --------
    >>> from embedlib.run.backlog import Work
    >>> work = [Work("s", ("m",))]
    >>> scheduler = Scheduler(work, front_ends={"m": "f"}, budget_bytes=9, chunk_bytes=1)
    >>> for each in Meters().measure(Committed("m", ("s",)), scheduler):
    ...     print(each.metric.name, each.tags, each.value)
    embedlib_commits_total ('m',) 1
    """

    def __init__(self) -> None:
        self._models: dict[str, str] = {}  # by worker
        self._missing: Counter[str] = Counter()  # workers that are gone, by model

    def measure(self, event: Event, scheduler: Scheduler) -> list[Measurement]:
        """Measure what an event tells.

        Parameters
        ----------
        event : Event
            What has happened.
        scheduler : Scheduler
            Its state after the event.

        Returns
        -------
        measurements : list of Measurement
            None for most events; gauges at ticks, and when the run is done.
        """
        counted = [each for each in self._count(event) if each.value > 0]
        # Chunks come hundreds of times a second, and gauges are read every few seconds.
        is_due = isinstance(event, Tick) or scheduler.is_done
        return [*counted, *_gauges(scheduler)] if is_due else counted

    def _count(self, event: Event) -> Iterator[Measurement]:
        match event:
            case Written(_, part):
                yield from _of_part(part)
            case DecodeEnded(_, stats):
                yield Measurement(STAGES, stats.decode_s, (SHARED, "decode"))
            case Committed(model):
                yield Measurement(COMMITS, 1, (model,))
            case AttemptFailed(is_accident=is_accident):
                yield Measurement(FAILED_ATTEMPTS, 1, (_cause(is_accident),))
            case SlotAdded(worker_id, model):
                yield from self._added(worker_id, model)
            case DecoderAdded(worker_id):
                yield from self._added(worker_id, SHARED)
            case WorkerLost(worker_id, is_accident=is_accident):
                if model := self._miss(worker_id):
                    yield Measurement(LOST_WORKERS, 1, (model, _cause(is_accident)))
            case Outgrown(worker_id):
                self._miss(worker_id)

    def _added(self, worker_id: str, model: str) -> Iterator[Measurement]:
        self._models[worker_id] = model
        if self._missing[model]:
            self._missing[model] -= 1
            yield Measurement(RESTARTS, 1, (model,))

    def _miss(self, worker_id: str) -> str:
        """Expect another worker in the place of this one; give its model, once."""
        model = self._models.pop(worker_id, "")
        if model:
            self._missing[model] += 1
        return model


def _of_part(part: PartResult) -> Iterator[Measurement]:
    model = part.model
    for status, n_tracks in part.statuses:
        yield Measurement(TRACKS, n_tracks, (model, str(status)))
        if status not in KEPT:
            yield Measurement(FAILED_TRACKS, n_tracks, (model, str(status)))
    yield Measurement(AUDIO, part.audio_s, (model,))
    for stage, spent_s in part.stage_s:
        yield Measurement(STAGES, spent_s, (model, stage))


def _gauges(scheduler: Scheduler) -> Iterator[Measurement]:
    n_pending = scheduler.to_embed()
    for model, load in scheduler.loads().items():
        yield from _workers(model, load)
        yield Measurement(CHUNKS, load.n_chunks, (model,))
        yield Measurement(SHARDS, n_pending[model], (model,))
    yield from _workers(SHARED, scheduler.decoder_load)
    yield Measurement(IN_FLIGHT, scheduler.in_flight_bytes)
    yield Measurement(BUDGET, scheduler.budget_bytes)


def _workers(model: str, load: Load) -> Iterator[Measurement]:
    yield Measurement(WORKERS, load.n_busy, (model, "busy"))
    yield Measurement(WORKERS, load.n_workers - load.n_busy, (model, "idle"))


def _cause(is_accident: bool) -> str:
    """Say who is to blame: a node that went, or the worker and what it was at."""
    return "node" if is_accident else "worker"
