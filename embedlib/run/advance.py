"""How a run advances: its events counted, for people who look on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from embedlib.features.front_end import front_end
from embedlib.records import KEPT, PartResult
from embedlib.run.bottleneck import Bottleneck
from embedlib.run.driver import RunPlan
from embedlib.run.events import Decoded, Embedded, Event, SlotAdded, Written
from embedlib.run.scheduler import Scheduler
from embedlib.run.staff import Load
from embedlib.run.standing import PoolStanding, Standing


class Advance:
    """Counts over the events of one plan.

    Parameters
    ----------
    plan : RunPlan
        What is to be done.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._n_rows = 0
        self._planned_s = 0.0
        for shard_id, size in plan.sizes.items():
            self._n_rows += size.n_tracks * len(plan.models[shard_id])
            self._planned_s += size.audio_s * len(plan.models[shard_id])
        self._statuses: Counter[str] = Counter()
        self._n_done = 0
        self._done_s = 0.0
        self._audio = _AudioCount(plan.models)
        self._bottleneck = Bottleneck()
        self._started_s = time.monotonic()
        self._is_started = False
        self._scheduler: Scheduler | None = None

    def observe(self, event: Event, scheduler: Scheduler) -> None:
        """Count what has happened.

        Parameters
        ----------
        event : Event
            What.
        scheduler : Scheduler
            Its state after the event.
        """
        now_s = time.monotonic()
        self._scheduler = scheduler
        self._bottleneck.observe(event, scheduler, now_s=now_s)
        self._audio.count(event)
        match event:
            case SlotAdded() if not self._is_started:
                self._is_started = True
                self._started_s = now_s  # speed and time left leave the start out
            case Written(_, part):
                self._count_rows(part)

    def standing(self) -> Standing:
        """Say where the run is.

        Returns
        -------
        standing : Standing
            At this moment.
        """
        elapsed_s = time.monotonic() - self._started_s
        loads = self._scheduler.loads() if self._scheduler else {}
        decoders = self._scheduler.decoder_load if self._scheduler else Load()
        return Standing(
            n_rows=self._n_rows,
            n_done=self._n_done,
            n_failed=sum(n for status, n in self._statuses.items() if status not in KEPT),
            statuses=dict(sorted(self._statuses.items())),
            planned_s=self._planned_s,
            audio_s=self._audio.total_s,
            elapsed_s=elapsed_s,
            left_s=self._left_s(elapsed_s),
            bottleneck=str(self._bottleneck),
            in_flight_bytes=self._scheduler.in_flight_bytes if self._scheduler else 0,
            budget_bytes=self._plan.budget_bytes,
            n_decoders=decoders.n_workers,
            n_decoding=decoders.n_busy,
            pools=tuple(_pool(model, load) for model, load in sorted(loads.items())),
        )

    def _count_rows(self, part: PartResult) -> None:
        self._n_done += part.n_rows
        self._statuses.update(dict(part.statuses))
        self._done_s += self._plan.sizes[part.shard_id].audio_s

    def _left_s(self, elapsed_s: float) -> float | None:
        """Time left, from the audio of shards that are done against what was planned."""
        if not self._done_s:
            return None
        return elapsed_s * max(self._planned_s - self._done_s, 0.0) / self._done_s


def _pool(model: str, load: Load) -> PoolStanding:
    return PoolStanding(model, load.n_workers, load.n_workers - load.n_busy, load.n_chunks)


class _AudioCount:
    """Seconds of audio embedded, counted per model, chunk by chunk.

    A chunk's length is kept until every model of its shard has written its part.
    """

    def __init__(self, models: Mapping[str, tuple[str, ...]]) -> None:
        self._models = models
        self._written_s = 0.0
        self._n_left: dict[str, int] = {}
        self._chunk_s: dict[str, dict[int, float]] = {}
        self._open_s: dict[tuple[str, str], float] = {}

    @property
    def total_s(self) -> float:
        return self._written_s + sum(self._open_s.values())

    def count(self, event: Event) -> None:
        match event:
            case Decoded(attempt_id, seq, n_bytes, name):
                fe = front_end(name)
                n_frames = n_bytes / (4 * fe.n_bands)
                of_attempt = self._chunk_s.setdefault(attempt_id, {})
                of_attempt[seq] = n_frames * fe.hop_samples / fe.sr_hz
            case Embedded(attempt_id, seq, model):
                so_far_s = self._open_s.get((attempt_id, model), 0.0)
                chunk_s = self._chunk_s.get(attempt_id, {}).get(seq, 0.0)
                self._open_s[attempt_id, model] = so_far_s + chunk_s
            case Written(attempt_id, part):
                self._written_s += part.audio_s
                self._open_s.pop((attempt_id, part.model), None)
                n_models = len(self._models[part.shard_id])
                self._n_left[attempt_id] = self._n_left.get(attempt_id, n_models) - 1
                if not self._n_left[attempt_id]:
                    del self._n_left[attempt_id]
                    self._chunk_s.pop(attempt_id, None)
            case _:
                pass
