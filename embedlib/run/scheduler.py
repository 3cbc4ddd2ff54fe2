"""The scheduler: a state machine without I/O that turns events into actions.

It knows neither Ray nor files nor clocks. Drivers (`local`, `ray_backend`) feed it what happened
and carry out what it answers; see `events` for the vocabulary. What it guarantees, whatever the
order of events:

* every (model, shard) of the work ends committed once, or the run ends with a `Stop` that says why;
* the bytes in flight between workers (chunks that exist, plus the bound of each chunk asked for)
  stay within the budget, but for one chunk that may be admitted alone; a worker that decodes for
  itself holds one chunk at a time and sends none;
* no action is given twice for one attempt, and attempts per (model, shard) are bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from embedlib.records import PartResult
from embedlib.run.events import (
    Action,
    AttemptFailed,
    Cancel,
    Commit,
    Committed,
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

MAX_ATTEMPTS = 3
"""Tries per (model, shard) before the run stops: two accidents are bad luck, three are a cause."""

ATTEMPTS_PER_SLOT = 2
"""One shard being embedded and one being decoded ahead, so that a model never waits for a start."""

CHUNKS_PER_ATTEMPT = 4
"""Chunks of one attempt in flight: enough to hide a round trip, few enough to feed all slots."""

LOOKAHEAD = 64
"""Shards looked at for one that fits the free slots: bounds the cost of an event."""


@dataclass(frozen=True, slots=True)
class Work:
    """One shard and the models that still need it.

    Attributes
    ----------
    shard_id : str
        The shard.
    models : tuple of str
        Models without committed rows for it.
    """

    shard_id: str
    models: tuple[str, ...]


@dataclass(slots=True)
class _Chunk:
    n_bytes: int
    waiting: set[str]


@dataclass(slots=True)
class _Attempt:
    attempt_id: str
    shard_id: str
    slots: dict[str, str]
    chunks: dict[int, _Chunk] = field(default_factory=dict)
    decoder_id: str = ""
    is_decoding: bool = False
    is_pulling: bool = False


class Scheduler:
    """The state of one run.

    Parameters
    ----------
    work : sequence of Work
        What is to be done, in the order in which it should start.
    front_ends : mapping of str to str
        Front end of each model.
    budget_bytes : int > 0
        Limit for chunks in flight.
    chunk_bytes : int > 0
        Bound on one chunk.
    """

    def __init__(
        self,
        work: Sequence[Work],
        *,
        front_ends: Mapping[str, str],
        budget_bytes: int,
        chunk_bytes: int,
    ) -> None:
        self._todo = OrderedDict((item.shard_id, set(item.models)) for item in work)
        self._resting: dict[str, set[str]] = {}
        self._front_ends = dict(front_ends)
        self._budget_bytes = budget_bytes
        self._chunk_bytes = chunk_bytes
        self._decoders: dict[str, str | None] = {}
        self._slots: dict[str, str] = {}
        self._self_decoding: set[str] = set()
        self._attempts: dict[str, _Attempt] = {}
        self._tries: dict[tuple[str, str], int] = {}
        self._ready: dict[str, list[PartResult]] = {}
        self._committing: dict[str, tuple[PartResult, ...]] = {}
        self._n_started = 0
        self._is_draining = False
        self._stopped = ""
        self.in_flight_bytes = 0

    @property
    def is_done(self) -> bool:
        """Whether no event is needed any more."""
        nothing_left = self._is_draining or not (self._todo or self._resting)
        busy = self._attempts or self._ready or self._committing
        return bool(self._stopped) or (nothing_left and not busy)

    @property
    def n_pending(self) -> int:
        """Number of (model, shard) pairs that are not committed."""
        running = sum(len(attempt.slots) for attempt in self._attempts.values())
        ready = sum(map(len, self._ready.values())) + sum(map(len, self._committing.values()))
        waiting = sum(map(len, (*self._todo.values(), *self._resting.values())))
        return waiting + running + ready

    @property
    def bottleneck(self) -> str:
        """Which stage the others wait for at this moment.

        Returns
        -------
        stage : str
            ``embed`` when every model worker has a chunk to work on, ``decode`` when one waits
            for chunks, ``start`` before there are workers for both.
        """
        if not self._slots or not (self._decoders or self._self_decoding):
            return "start"
        busy = {
            attempt.slots[model]
            for attempt in self._attempts.values()
            for chunk in attempt.chunks.values()
            for model in chunk.waiting
        }
        return "embed" if len(busy) == len(self._slots) else "decode"

    def on(self, event: Event) -> list[Action]:
        """Take one event and say what is to be done.

        Parameters
        ----------
        event : Event
            What happened. Events of attempts that were given up are ignored.

        Returns
        -------
        actions : list of Action
            To be carried out in this order.
        """
        if self._stopped:
            return []
        actions = self._apply(event)
        if not self._stopped:
            actions += self._start() + self._pull() + self._commit(event)
        return actions

    def _apply(self, event: Event) -> list[Action]:
        match event:
            case DecoderAdded(decoder_id):
                self._decoders[decoder_id] = None
            case SlotAdded(slot_id, model, is_decoder):
                self._slots[slot_id] = model
                if is_decoder:
                    self._self_decoding.add(slot_id)
            case WorkerLost(worker_id, reason):
                return self._lose(worker_id, reason)
            case AttemptFailed(attempt_id, reason):
                return self._fail(attempt_id, reason)
            case Decoded():
                return self._on_chunk(event)
            case DecodeEnded(attempt_id):
                return self._on_decode_end(attempt_id)
            case Embedded(attempt_id, seq, model):
                return self._done_with(attempt_id, seq, model)
            case Written(attempt_id, part):
                self._on_part(attempt_id, part)
            case Committed(model, shard_ids):
                self._on_commit(model, shard_ids)
            case Drain():
                self._is_draining = True
            case Tick():
                self._wake()
        return []

    # Starting and feeding attempts

    def _start(self) -> list[Action]:
        if self._is_draining:
            return []
        actions: list[Action] = []
        idle = [name for name, attempt in self._decoders.items() if attempt is None]
        for shard_id in list(islice(self._todo, LOOKAHEAD)):
            if not (idle or self._self_decoding):
                break
            slots = self._choose_slots(self._todo[shard_id])
            if len(slots) == 1 and self._self_decoding.issuperset(slots.values()):
                actions.append(self._open_extract(shard_id, slots))
            elif slots and idle:
                actions.append(self._open_decode(shard_id, idle.pop(0), slots))
        return actions

    def _choose_slots(self, models: set[str]) -> dict[str, str]:
        """One slot with room for each model, the least loaded; empty when a model has none."""
        load = {slot_id: 0 for slot_id in self._slots}
        for attempt in self._attempts.values():
            for slot_id in attempt.slots.values():
                load[slot_id] += 1
        chosen = {}
        for model in sorted(models):
            free = [
                (load[slot_id], slot_id)
                for slot_id, of_model in self._slots.items()
                if of_model == model and load[slot_id] < self._room(slot_id)
            ]
            if not free:
                return {}
            chosen[model] = min(free)[1]
        return chosen

    def _room(self, slot_id: str) -> int:
        """Say how many attempts a slot may hold: one that queues would be late at the end."""
        return 1 if slot_id in self._self_decoding else ATTEMPTS_PER_SLOT

    def _open_extract(self, shard_id: str, slots: dict[str, str]) -> Extract:
        attempt = self._open_attempt(shard_id, slots)
        ((model, slot_id),) = slots.items()
        return Extract(attempt.attempt_id, shard_id, model, slot_id)

    def _open_decode(self, shard_id: str, decoder_id: str, slots: dict[str, str]) -> Decode:
        attempt = self._open_attempt(shard_id, slots)
        attempt.decoder_id = decoder_id
        attempt.is_decoding = True
        self._decoders[decoder_id] = attempt.attempt_id
        return Decode(attempt.attempt_id, shard_id, decoder_id, tuple(slots))

    def _open_attempt(self, shard_id: str, slots: dict[str, str]) -> _Attempt:
        del self._todo[shard_id]
        attempt = _Attempt(f"a{self._n_started}", shard_id, slots)
        self._n_started += 1
        for model in slots:
            self._tries[model, shard_id] = self._tries.get((model, shard_id), 0) + 1
        self._attempts[attempt.attempt_id] = attempt
        return attempt

    def _pull(self) -> list[Action]:
        """Ask for chunks while they fit, those of the hungriest attempts first."""
        hungry = [
            attempt
            for attempt in self._attempts.values()
            if attempt.is_decoding
            and not attempt.is_pulling
            and len(attempt.chunks) < CHUNKS_PER_ATTEMPT
        ]
        actions: list[Action] = []
        for attempt in sorted(hungry, key=lambda attempt: len(attempt.chunks)):
            after = self.in_flight_bytes + self._chunk_bytes
            if self.in_flight_bytes and after > self._budget_bytes:
                break
            self.in_flight_bytes = after
            attempt.is_pulling = True
            actions.append(Pull(attempt.attempt_id))
        return actions

    def _settle_pull(self, attempt: _Attempt, n_bytes: int) -> None:
        """Replace the reservation of a pull by what came."""
        if attempt.is_pulling:
            attempt.is_pulling = False
            self.in_flight_bytes += n_bytes - self._chunk_bytes

    # What attempts report

    def _on_chunk(self, event: Decoded) -> list[Action]:
        attempt = self._attempts.get(event.attempt_id)
        if attempt is None:
            return [Release(event.attempt_id, event.seq)]
        self._settle_pull(attempt, event.n_bytes)
        wanting = {
            model: slot_id
            for model, slot_id in attempt.slots.items()
            if self._front_ends[model] == event.front_end
        }
        attempt.chunks[event.seq] = _Chunk(event.n_bytes, set(wanting))
        if not wanting:
            return self._release(attempt, event.seq)
        return [
            Embed(event.attempt_id, event.seq, model, slot_id) for model, slot_id in wanting.items()
        ]

    def _on_decode_end(self, attempt_id: str) -> list[Action]:
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return []
        self._settle_pull(attempt, 0)
        self._free_decoder(attempt)
        return [
            Write(attempt_id, attempt.shard_id, model, slot_id)
            for model, slot_id in attempt.slots.items()
        ]

    def _done_with(self, attempt_id: str, seq: int, model: str) -> list[Action]:
        attempt = self._attempts.get(attempt_id)
        if attempt is None or seq not in attempt.chunks:
            return []
        attempt.chunks[seq].waiting.discard(model)
        return [] if attempt.chunks[seq].waiting else self._release(attempt, seq)

    def _release(self, attempt: _Attempt, seq: int) -> list[Action]:
        self.in_flight_bytes -= attempt.chunks.pop(seq).n_bytes
        return [Release(attempt.attempt_id, seq)]

    def _on_part(self, attempt_id: str, part: PartResult) -> None:
        attempt = self._attempts.get(attempt_id)
        if attempt is None or attempt.slots.pop(part.model, None) is None:
            return
        self._ready.setdefault(part.model, []).append(part)
        if not attempt.slots:
            del self._attempts[attempt_id]

    def _free_decoder(self, attempt: _Attempt) -> None:
        attempt.is_decoding = False
        if self._decoders.get(attempt.decoder_id) == attempt.attempt_id:
            self._decoders[attempt.decoder_id] = None

    # Commits

    def _commit(self, event: Event) -> list[Action]:
        """Commit what is ready at each tick, and at once when nothing else is under way."""
        is_last = not self._attempts and (self._is_draining or not self._todo)
        if not (isinstance(event, Tick) or is_last):
            return []
        actions: list[Action] = []
        for model in [model for model in self._ready if model not in self._committing]:
            self._committing[model] = tuple(self._ready.pop(model))
            actions.append(Commit(model, self._committing[model]))
        return actions

    def _on_commit(self, model: str, shard_ids: tuple[str, ...]) -> None:
        """Also drops shards that another driver has committed meanwhile."""
        self._committing.pop(model, None)
        for shard_id in shard_ids:
            self._drop_todo(shard_id, model)

    def _drop_todo(self, shard_id: str, model: str) -> None:
        for waiting in (self._todo, self._resting):
            models = waiting.get(shard_id, set())
            models.discard(model)
            if not models:
                waiting.pop(shard_id, None)

    # Losses

    def _lose(self, worker_id: str, reason: str) -> list[Action]:
        if worker_id in self._decoders:
            attempt_id = self._decoders.pop(worker_id)
            actions = self._fail(attempt_id, reason) if attempt_id else []
        elif worker_id in self._slots:
            del self._slots[worker_id]
            self._self_decoding.discard(worker_id)
            actions = self._lose_slot(worker_id, reason)
        else:
            return []
        return [*actions, Replace(worker_id)]

    def _lose_slot(self, slot_id: str, reason: str) -> list[Action]:
        actions: list[Action] = []
        for attempt in list(self._attempts.values()):
            lost = [model for model, of_slot in attempt.slots.items() if of_slot == slot_id]
            for model in lost:
                del attempt.slots[model]
                actions += self._again(attempt.shard_id, model, reason)
                for seq in list(attempt.chunks):
                    actions += self._done_with(attempt.attempt_id, seq, model)
            if lost and not attempt.slots:
                actions += self._close(attempt)
        return actions

    def _fail(self, attempt_id: str, reason: str) -> list[Action]:
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return []
        actions: list[Action] = []
        for model, slot_id in attempt.slots.items():
            actions.append(Forget(attempt_id, slot_id))
            actions += self._again(attempt.shard_id, model, reason)
        return actions + self._close(attempt)

    def _close(self, attempt: _Attempt) -> list[Action]:
        """Give up an attempt, with all that it holds."""
        actions: list[Action] = [Cancel(attempt.attempt_id)] if attempt.is_decoding else []
        self._settle_pull(attempt, 0)
        for seq in list(attempt.chunks):
            actions += self._release(attempt, seq)
        self._free_decoder(attempt)
        del self._attempts[attempt.attempt_id]
        return actions

    def _again(self, shard_id: str, model: str, reason: str) -> list[Action]:
        """Put a (model, shard) back, to rest, or stop the run at the limit."""
        if self._tries[model, shard_id] >= MAX_ATTEMPTS:
            self._stopped = f"shard {shard_id} of {model} failed {MAX_ATTEMPTS} times: {reason}"
            return [Stop(self._stopped)]
        self._resting.setdefault(shard_id, set()).add(model)
        return []

    def _wake(self) -> None:
        """Let what has rested start before all others.

        Workers that die together are reported one by one; without a rest a shard would go from
        one dead worker to the next and use up its tries on a single accident.
        """
        for shard_id, models in self._resting.items():
            self._todo.setdefault(shard_id, set()).update(models)
            self._todo.move_to_end(shard_id, last=False)
        self._resting.clear()
