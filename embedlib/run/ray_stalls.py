"""Says in one line what a run waits for, when an attempt has not moved for minutes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from ray import exceptions as rx

from embedlib.records import Shard
from embedlib.run.background import Background
from embedlib.run.driver import RunPlan
from embedlib.run.events import Event, Tick
from embedlib.run.flow import UnderWay
from embedlib.run.proof import open_files
from embedlib.run.ray_errors import INFRASTRUCTURE
from embedlib.run.ray_nodes import ask
from embedlib.run.ray_workers import Workers
from embedlib.run.scheduler import Scheduler
from embedlib.run.watchdog import STALL_S, Watchdog

_LOG = logging.getLogger("embedlib")

_ANSWER_S = 30.0


class StallWatch:
    """Looks at the events of a run, and at its workers when there are none.

    Parameters
    ----------
    plan : RunPlan
        What is being done.
    background : Background
        Where nodes are asked.
    workers : Workers
        Who does it.
    """

    def __init__(self, plan: RunPlan, *, background: Background, workers: Workers) -> None:
        self._plan = plan
        self._background = background
        self._workers = workers
        self._watchdog = Watchdog()

    def saw(self, event: Event, scheduler: Scheduler) -> None:
        """Take an event; each tick is an occasion to look for stalls.

        Parameters
        ----------
        event : Event
            What happened.
        scheduler : Scheduler
            Its state after the event.
        """
        now_s = time.monotonic()
        if not isinstance(event, Tick):
            self._watchdog.saw(event, now_s=now_s)
            return
        attempts = {attempt.attempt_id: attempt for attempt in scheduler.under_way()}
        patience_s = {name: self._patience_s(attempt) for name, attempt in attempts.items()}
        for name in self._watchdog.stalled(patience_s, now_s=now_s):
            self._background.start(self._say(attempts[name], patience_s[name]))

    def _patience_s(self, attempt: UnderWay) -> float:
        """Give a worker that takes a shard the whole way, unheard, as long as the audio lasts."""
        is_silent = attempt.stage == "extract"
        return STALL_S + self._plan.sizes[attempt.shard_id].audio_s * is_silent

    async def _say(self, attempt: UnderWay, patience_s: float) -> None:
        shard = self._plan.shards[attempt.shard_id]
        where, file = "gone", "unknown"
        if attempt.worker_id in self._workers:
            node_id, pid = self._workers.where(attempt.worker_id)
            where, file = f"{node_id[:8]}:{pid}", await _open_file(node_id, pid, shard)
        _LOG.warning(
            "shard=%s has not moved for %.0f s: stage=%s worker=%s process=%s file=%s tracks=%d",
            attempt.shard_id,
            patience_s,
            attempt.stage,
            attempt.worker_id,
            where,
            file,
            len(shard.tracks),
        )


async def _open_file(node_id: str, pid: int, shard: Shard) -> str:
    """Find the file that a worker is at, without asking the worker, which may never answer."""
    try:
        paths = await asyncio.wait_for(ask(node_id, open_files, pid), _ANSWER_S)
    except (TimeoutError, rx.RayTaskError, *INFRASTRUCTURE):
        return "unknown"
    return _planned_among(paths, shard)


def _planned_among(paths: Sequence[str], shard: Shard) -> str:
    planned = {track.uri for track in shard.tracks}
    return next((path for path in paths if path in planned), "unknown")
