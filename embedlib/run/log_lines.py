"""What the log says of a run: events as lines of ``key=value``. Pure, but for the time.

A line names run and shard, and model, attempt, worker and node where there are such. What failed
always gets a line; what went well gets one per shard and model, and one per track at debug.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from embedlib.records import KEPT, PartResult, TrackNote
from embedlib.run.events import (
    AttemptFailed,
    Bisected,
    DecodeEnded,
    DecoderAdded,
    Event,
    SlotAdded,
    WorkerLost,
    Written,
)
from embedlib.run.flow import Attempt
from embedlib.run.run_log import key_values
from embedlib.run.scheduler import Scheduler

ID_LETTERS: Final = 8
"""Of the id of a node: as many as other messages have, and enough to tell thousands apart."""

TrackIds = Callable[[str], Iterable[str]]
"""Names the tracks of a shard."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log.

    Attributes
    ----------
    level : int
        As `logging` counts them.
    text : str
        What happened.
    is_needed : bool
        Whether it is kept whatever the level of the log.
    """

    level: int
    text: str
    is_needed: bool = False


@dataclass(slots=True)
class _Begun:
    """What is to be remembered of an attempt until it ends."""

    shard_id: str
    slots: dict[str, str]
    decoder_id: str
    started_s: float
    decode_s: float = 0.0
    noted: set[TrackNote] = field(default_factory=set)

    @property
    def worker_ids(self) -> frozenset[str]:
        return frozenset(self.slots.values()) | {self.decoder_id}


class LogLines:
    """Turns the events of one run into lines.

    Parameters
    ----------
    run_id : str
        The run.
    host : str
        Where workers are that are on no node: the driver's machine.
    track_ids : callable, optional
        Names the tracks of a shard: with it, those that went well get a line too.
    """

    def __init__(self, run_id: str, *, host: str, track_ids: TrackIds | None = None) -> None:
        self._run_id = run_id
        self._host = host
        self._track_ids = track_ids
        self._nodes: dict[str, str] = {}
        self._begun: dict[str, _Begun] = {}

    def of(self, event: Event, scheduler: Scheduler, *, now_s: float) -> list[Line]:
        """Say what has happened.

        Parameters
        ----------
        event : Event
            What.
        scheduler : Scheduler
            Its state after the event.
        now_s : float
            When, by a clock that is not set back.

        Returns
        -------
        lines : list of Line
            Most events have none.
        """
        lines = [*self._lines(event, now_s=now_s), *self._beginnings(scheduler, now_s=now_s)]
        match event:
            case Written() | AttemptFailed() | WorkerLost():
                gone = self._begun.keys() - scheduler.attempts.keys()
                for attempt_id in gone:
                    del self._begun[attempt_id]
        return lines

    def _beginnings(self, scheduler: Scheduler, *, now_s: float) -> list[Line]:
        """Take note of attempts that are new: the last ones, for they are in order."""
        lines: list[Line] = []
        for attempt_id in reversed(scheduler.attempts.keys()):  # type: ignore[call-overload]
            if attempt_id in self._begun:
                break
            lines.append(self._begin(scheduler.attempts[attempt_id], now_s=now_s))
        return lines[::-1]

    def _begin(self, attempt: Attempt, *, now_s: float) -> Line:
        slots, decoder_id = dict(attempt.slots), attempt.decoder_id
        self._begun[attempt.attempt_id] = _Begun(attempt.shard_id, slots, decoder_id, now_s)
        facts = self._facts(attempt.attempt_id, worker_id=decoder_id or next(iter(slots.values())))
        return Line(logging.DEBUG, f"{facts} begun models={','.join(sorted(slots))}")

    def _lines(self, event: Event, *, now_s: float) -> Iterator[Line]:
        match event:
            case DecoderAdded(worker_id, node_id) | SlotAdded(worker_id, node_id=node_id):
                self._nodes[worker_id] = node_id
            case DecodeEnded(attempt_id, stats) if attempt_id in self._begun:
                self._begun[attempt_id].decode_s = stats.decode_s
            case Written(attempt_id, part):
                yield from self._written(attempt_id, part, now_s=now_s)
            case AttemptFailed(attempt_id, reason, is_accident) if attempt_id in self._begun:
                facts = self._facts(attempt_id, accident=is_accident or None, reason=reason)
                yield Line(logging.WARNING, f"{facts} failed")
            case WorkerLost(worker_id, reason, is_accident):
                yield from self._lost(worker_id, accident=is_accident or None, reason=reason)
            case Bisected(shard_id, crashed):
                facts = key_values(run=self._run_id, shard=shard_id, crashed=len(crashed))
                yield Line(logging.WARNING, f"{facts} searched")

    def _written(self, attempt_id: str, part: PartResult, *, now_s: float) -> Iterator[Line]:
        begun = self._begun.get(attempt_id)
        stage_s = dict(part.stage_s)
        facts = self._facts(
            attempt_id,
            shard=part.shard_id,
            model=part.model,
            worker_id=begun.slots.get(part.model, "") if begun else "",
            tracks=part.n_rows,
            failed=sum(note.status not in KEPT for note in part.notes),
            audio_s=part.audio_s,
            decode_s=stage_s.get("decode", begun.decode_s if begun else None),
            embed_s=stage_s.get("embed"),
            write_s=stage_s.get("write"),
            wall_s=now_s - begun.started_s if begun else None,
        )
        yield Line(logging.INFO, f"{facts} written")
        yield from self._tracks(attempt_id, part, begun)

    def _tracks(self, attempt_id: str, part: PartResult, begun: _Begun | None) -> Iterator[Line]:
        """Say how tracks ended; what several models of an attempt have in common, once."""
        told = begun.noted if begun else set()
        for note in part.notes:
            if note not in told:
                told.add(note)
                facts = self._track_facts(attempt_id, part, note)
                yield Line(logging.DEBUG, facts, is_needed=note.status not in KEPT)
        if self._track_ids:
            noted = {note.track_id for note in part.notes}
            for track_id in self._track_ids(part.shard_id):
                if track_id not in noted:
                    good = TrackNote(track_id, "ok", "")
                    yield Line(logging.DEBUG, self._track_facts(attempt_id, part, good))

    def _track_facts(self, attempt_id: str, part: PartResult, note: TrackNote) -> str:
        return key_values(
            run=self._run_id,
            shard=part.shard_id,
            model=part.model,
            attempt=attempt_id,
            track=note.track_id,
            status=note.status,
            error=note.error,
        )

    def _lost(self, worker_id: str, **facts: Any) -> Iterator[Line]:
        """Say that a worker is gone, for each attempt that it held."""
        held = [name for name, each in self._begun.items() if worker_id in each.worker_ids]
        for attempt_id in held:
            text = self._facts(attempt_id, worker_id=worker_id, **facts)
            yield Line(logging.WARNING, f"{text} lost")
        if not held:
            text = key_values(run=self._run_id, **self._place(worker_id), **facts)
            yield Line(logging.WARNING, f"{text} lost")

    def _facts(self, attempt_id: str, *, worker_id: str = "", **facts: Any) -> str:
        """Write the facts of an attempt, those that name it first."""
        begun = self._begun.get(attempt_id)
        ids = {"shard": facts.pop("shard", begun.shard_id if begun else "")}
        ids |= {"model": facts.pop("model", "")}
        return key_values(
            run=self._run_id, **ids, attempt=attempt_id, **self._place(worker_id), **facts
        )

    def _place(self, worker_id: str) -> dict[str, str]:
        if not worker_id:
            return {}
        return {
            "worker": worker_id,
            "node": self._nodes.get(worker_id, "")[:ID_LETTERS] or self._host,
        }
