"""Which shard starts next, and with whom: the scheduler's choice of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from embedlib.run.backlog import Backlog
from embedlib.run.events import Decode, Extract
from embedlib.run.flow import Attempt, Flow
from embedlib.run.pace import Pace
from embedlib.run.staff import Staff
from embedlib.run.tries import Tries

LOOKAHEAD = 64
"""Shards looked at for one that fits the free slots: bounds the cost of an event."""


class Starts:
    """Opens the attempts of one run.

    Parameters
    ----------
    backlog : Backlog
        What is to start.
    staff : Staff
        Who is free.
    flow : Flow
        What is under way.
    tries : Tries
        Counts each try.
    audio_s : callable
        Seconds of audio of a shard, by its id.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        staff: Staff,
        flow: Flow,
        tries: Tries,
        audio_s: Callable[[str], float],
    ) -> None:
        self._backlog = backlog
        self._staff = staff
        self._flow = flow
        self._tries = tries
        self._audio_s = audio_s
        self._pace = Pace()
        self._twinned: set[str] = set()  # shards that were begun twice at a time
        self._n_started = 0
        self.now_s = 0.0

    def start(self) -> list[Decode | Extract]:
        """Begin what can begin, in the order of the backlog.

        Returns
        -------
        actions : list of Decode or Extract
            One per attempt.
        """
        actions: list[Decode | Extract] = []
        refused: set[frozenset[str]] = set()
        upcoming = self._backlog.upcoming(LOOKAHEAD) if self._staff.can_start else []
        for shard_id, models in upcoming:
            if models in refused:
                continue
            if not self._staff.can_start:
                break
            attempt = self._find_workers(shard_id, models)
            if attempt is None:
                refused.add(models)
                continue
            self._backlog.take(shard_id)
            self._tries.begin(shard_id, models)
            actions.append(self._open(attempt))
        return actions

    def start_twins(self) -> list[Decode | Extract]:
        """Begin once more what is late, when there is nothing else to begin.

        Returns
        -------
        actions : list of Decode or Extract
            One per twin; a shard gets one in a run.
        """
        if self._backlog.is_anything_ready or not self._staff.can_start:
            return []
        late = [attempt for attempt in self._flow.attempts.values() if self._is_late(attempt)]
        return [action for attempt in late for action in self._start_twin(attempt)]

    def end(self, attempt: Attempt) -> None:
        """Learn how long an attempt took that has come to its end.

        Parameters
        ----------
        attempt : Attempt
            One whose last part was written.
        """
        audio_s, took_s = self._audio_s(attempt.shard_id), self.now_s - attempt.started_s
        self._pace.note(attempt.models, audio_s=audio_s, took_s=took_s)

    def _find_workers(
        self, shard_id: str, models: Iterable[str], *, apart_from: frozenset[str] = frozenset()
    ) -> Attempt | None:
        """Make an attempt with workers that have room for it, if there are such."""
        slots = self._staff.choose_slots(models, apart_from=apart_from)
        if not slots:
            return None
        decoder_id = ""
        if not self._staff.decodes_itself(slots.values()):
            decoder_id = self._staff.choose_decoder(apart_from=apart_from) or ""
            if not decoder_id:
                return None
        name, models = f"a{self._n_started}", frozenset(slots)
        return Attempt(name, shard_id, slots, models, self.now_s, decoder_id=decoder_id)

    def _open(self, attempt: Attempt) -> Decode | Extract:
        self._n_started += 1
        attempt_id, shard_id = attempt.attempt_id, attempt.shard_id
        attempt.is_decoding = bool(attempt.decoder_id)
        self._flow.open(attempt)
        self._staff.assign(attempt)
        skip = self._tries.skip(shard_id)
        if attempt.decoder_id:
            return Decode(attempt_id, shard_id, attempt.decoder_id, tuple(attempt.slots), skip)
        ((model, slot_id),) = attempt.slots.items()
        return Extract(attempt_id, shard_id, model, slot_id, skip)

    def _is_late(self, attempt: Attempt) -> bool:
        if attempt.shard_id in self._twinned:
            return False
        limit_s = self._pace.limit_s(attempt.models, audio_s=self._audio_s(attempt.shard_id))
        return self.now_s - attempt.started_s > limit_s

    def _start_twin(self, attempt: Attempt) -> list[Decode | Extract]:
        shard_id = attempt.shard_id
        twin = self._find_workers(shard_id, attempt.slots, apart_from=attempt.awaited)
        if twin is None or shard_id in self._twinned:
            return []
        self._twinned.add(shard_id)
        attempt.twin_id, twin.twin_id = twin.attempt_id, attempt.attempt_id
        return [self._open(twin)]
