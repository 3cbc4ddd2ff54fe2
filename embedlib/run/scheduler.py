"""The scheduler: a state machine without I/O that turns events into actions.

It knows neither Ray nor files nor clocks. Drivers (`local`, `ray_backend`, `simulate`) feed it what
happened and carry out what it answers; see `events` for the vocabulary. What it guarantees,
whatever the order of events:

* every (model, shard) of the work ends committed once, or the run ends with a `Stop` that says why;
* the bytes in flight between workers (chunks that exist, plus the bound of each chunk asked for)
  stay within the budget, but for one chunk that may be admitted alone; a worker that decodes for
  itself holds one chunk at a time and sends none;
* no action is given twice for one attempt, and attempts per (model, shard) are bounded.

A worker that is lost accuses no track of its shard. When decoding a shard has cost two of them,
the shard is searched (`Bisect`), and what is found guilty is left out from then on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from embedlib.records import Crash, PartResult
from embedlib.run.backlog import Backlog, Work
from embedlib.run.buckets import BucketQueue
from embedlib.run.events import (
    Action,
    AttemptFailed,
    Bisect,
    Bisected,
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
    Outgrown,
    Pull,
    Recycle,
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
"""Tries per (model, shard) before the run stops: two accidents are bad luck, three are a cause.

They are counted anew, once, when the cause was found in the shard and is left out."""

MAX_ACCIDENTS = 20
"""Tries per (model, shard) that nodes may take along before they count: a node that leaves is no
fault of the shard, unless the shard is what fells it."""

LOSSES_TO_BISECT = 2
"""Workers that decoding a shard may cost before its tracks are searched for the cause."""

ATTEMPTS_PER_SLOT = 2
"""One shard being embedded and one being decoded ahead, so that a model never waits for a start."""

CHUNKS_PER_ATTEMPT = 4
"""Chunks of one attempt in flight: enough to hide a round trip, few enough to feed all slots."""

LOOKAHEAD = 64
"""Shards looked at for one that fits the free slots: bounds the cost of an event."""


_Loss = WorkerLost | AttemptFailed


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An attempt as people want to know it.

    Attributes
    ----------
    attempt_id, shard_id : str
        Which.
    stage : {'extract', 'decode', 'embed', 'write'}
        What it waits for; ``extract`` where one worker does all of it.
    worker_id : str
        Who is to do that.
    """

    attempt_id: str
    shard_id: str
    stage: str
    worker_id: str


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
    work : iterable of Work
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
        work: Iterable[Work],
        *,
        front_ends: Mapping[str, str],
        budget_bytes: int,
        chunk_bytes: int,
    ) -> None:
        self._backlog = Backlog(work)
        self._front_ends = dict(front_ends)
        self._budget_bytes = budget_bytes
        self._chunk_bytes = chunk_bytes
        self._decoders: dict[str, str | None] = {}
        self._slots: dict[str, str] = {}
        self._self_decoding: set[str] = set()
        self._attempts: dict[str, _Attempt] = {}
        self._idle = BucketQueue()  # decoders without an attempt
        self._held: dict[str, dict[str, None]] = {}  # attempts by slot, in order
        self._free: defaultdict[str, BucketQueue] = defaultdict(BucketQueue)  # slots by model
        self._hungry = BucketQueue()  # attempts that could do with a chunk
        self._retiring: set[str] = set()
        self._tries: dict[tuple[str, str], int] = {}
        self._n_accidents: Counter[tuple[str, str]] = Counter()
        self._n_losses: Counter[str] = Counter()  # workers, by the shard that they decoded
        self._skips: dict[str, tuple[Crash, ...]] = {}
        self._ready: dict[str, list[PartResult]] = {}
        self._committing: dict[str, tuple[PartResult, ...]] = {}
        self._n_started = 0
        self._is_draining = False
        self._stopped = ""
        self.in_flight_bytes = 0

    @property
    def is_done(self) -> bool:
        """Whether no event is needed any more."""
        nothing_left = self._is_draining or not self._backlog
        busy = self._attempts or self._ready or self._committing
        return bool(self._stopped) or (nothing_left and not busy)

    @property
    def n_pending(self) -> int:
        """Number of (model, shard) pairs that are not committed."""
        running = sum(len(attempt.slots) for attempt in self._attempts.values())
        ready = sum(map(len, self._ready.values())) + sum(map(len, self._committing.values()))
        return self._backlog.n_pairs + running + ready

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

    def under_way(self) -> list[UnderWay]:
        """List the attempts, and what each of them waits for.

        Returns
        -------
        attempts : list of UnderWay
            In the order in which they began.
        """
        return [
            UnderWay(attempt.attempt_id, attempt.shard_id, *self._stage(attempt))
            for attempt in self._attempts.values()
        ]

    def _stage(self, attempt: _Attempt) -> tuple[str, str]:
        for chunk in attempt.chunks.values():
            return "embed", attempt.slots[min(chunk.waiting)]
        if attempt.is_decoding:
            return "decode", attempt.decoder_id
        slot_id = next(iter(attempt.slots.values()))
        return ("extract" if slot_id in self._self_decoding else "write"), slot_id

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
            actions += self._recycle() + self._start() + self._pull() + self._commit(event)
        return actions

    def _apply(self, event: Event) -> list[Action]:
        match event:
            case DecoderAdded(decoder_id):
                self._decoders[decoder_id] = None
                self._idle.put(decoder_id, level=0)
            case SlotAdded():
                self._add_slot(event)
            case WorkerLost():
                return self._lose(event)
            case AttemptFailed(attempt_id):
                return self._fail(attempt_id, event)
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
            case Bisected(shard_id, crashed):
                self._on_bisected(shard_id, crashed)
            case Outgrown(worker_id):
                self._retire(worker_id)
            case Drain():
                self._is_draining = True
            case Tick():
                self._backlog.wake()
        return []

    # Starting and feeding attempts

    def _start(self) -> list[Action]:
        actions: list[Action] = []
        refused: set[frozenset[str]] = set()
        upcoming = self._backlog.upcoming(LOOKAHEAD) if self._can_start() else []
        for shard_id, models in upcoming:
            if models in refused:
                continue
            if not self._can_start():
                break
            slots = self._choose_slots(models)
            if len(slots) == 1 and self._self_decoding.issuperset(slots.values()):
                actions.append(self._open_extract(shard_id, slots))
            elif slots and (decoder_id := self._idle.first()):
                actions.append(self._open_decode(shard_id, decoder_id, slots))
            else:
                refused.add(models)
        return actions

    def _can_start(self) -> bool:
        can_decode = bool(self._idle or self._self_decoding)
        return can_decode and not self._is_draining and any(self._free.values())

    def _choose_slots(self, models: frozenset[str]) -> dict[str, str]:
        """Choose the least loaded slot of each model; none where a model has none or all are full.

        Room for one is enough: a cheap model has one slot where a dear one has ten, and what the
        ten can do passes through the one.
        """
        chosen = {}
        for model in sorted(models):
            slot_id = self._free[model].first()
            if slot_id is None:
                return {}
            chosen[model] = slot_id
        least = min(len(self._held[slot_id]) for slot_id in chosen.values())
        return chosen if least < ATTEMPTS_PER_SLOT else {}

    def _add_slot(self, event: SlotAdded) -> None:
        self._slots[event.slot_id] = event.model
        self._held[event.slot_id] = {}
        if event.is_decoder:
            self._self_decoding.add(event.slot_id)
        self._rank_slot(event.slot_id)

    def _rank_slot(self, slot_id: str) -> None:
        """Let the slot wait for work at the level of what it holds."""
        free, n_held = self._free[self._slots[slot_id]], len(self._held[slot_id])
        # What queues behind a worker that decodes for itself would be late at the end.
        is_full = n_held and slot_id in self._self_decoding
        if is_full or slot_id in self._retiring:
            free.discard(slot_id)
        else:
            free.put(slot_id, level=n_held)

    def _leave(self, attempt: _Attempt, model: str) -> None:
        """Take one model out of an attempt, and the attempt out of its slot."""
        slot_id = attempt.slots.pop(model)
        if slot_id in self._slots:
            del self._held[slot_id][attempt.attempt_id]
            self._rank_slot(slot_id)

    def _open_extract(self, shard_id: str, slots: dict[str, str]) -> Extract:
        attempt = self._open_attempt(shard_id, slots)
        ((model, slot_id),) = slots.items()
        skip = self._skips.get(shard_id, ())
        return Extract(attempt.attempt_id, shard_id, model, slot_id, skip)

    def _open_decode(self, shard_id: str, decoder_id: str, slots: dict[str, str]) -> Decode:
        attempt = self._open_attempt(shard_id, slots)
        attempt.decoder_id = decoder_id
        attempt.is_decoding = True
        self._decoders[decoder_id] = attempt.attempt_id
        self._idle.discard(decoder_id)
        self._rank_hunger(attempt)
        skip = self._skips.get(shard_id, ())
        return Decode(attempt.attempt_id, shard_id, decoder_id, tuple(slots), skip)

    def _open_attempt(self, shard_id: str, slots: dict[str, str]) -> _Attempt:
        self._backlog.take(shard_id)
        attempt = _Attempt(f"a{self._n_started}", shard_id, slots)
        self._n_started += 1
        for model, slot_id in slots.items():
            self._tries[model, shard_id] = self._tries.get((model, shard_id), 0) + 1
            self._held[slot_id][attempt.attempt_id] = None
            self._rank_slot(slot_id)
        self._attempts[attempt.attempt_id] = attempt
        return attempt

    def _pull(self) -> list[Action]:
        """Ask for chunks while they fit, those of the hungriest attempts first."""
        actions: list[Action] = []
        while attempt_id := self._hungry.first():
            after = self.in_flight_bytes + self._chunk_bytes
            if self.in_flight_bytes and after > self._budget_bytes:
                break
            self.in_flight_bytes = after
            self._attempts[attempt_id].is_pulling = True
            self._hungry.discard(attempt_id)
            actions.append(Pull(attempt_id))
        return actions

    def _rank_hunger(self, attempt: _Attempt) -> None:
        """Let the attempt wait for a chunk at the level of those it has, if it may have more."""
        n_chunks = len(attempt.chunks)
        if attempt.is_decoding and not attempt.is_pulling and n_chunks < CHUNKS_PER_ATTEMPT:
            self._hungry.put(attempt.attempt_id, level=n_chunks)
        else:
            self._hungry.discard(attempt.attempt_id)

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
        self._rank_hunger(attempt)
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
        self._rank_hunger(attempt)
        return [Release(attempt.attempt_id, seq)]

    def _on_part(self, attempt_id: str, part: PartResult) -> None:
        attempt = self._attempts.get(attempt_id)
        if attempt is None or part.model not in attempt.slots:
            return
        self._leave(attempt, part.model)
        self._ready.setdefault(part.model, []).append(part)
        if not attempt.slots:
            del self._attempts[attempt_id]

    def _free_decoder(self, attempt: _Attempt) -> None:
        attempt.is_decoding = False
        self._rank_hunger(attempt)
        if self._decoders.get(attempt.decoder_id) == attempt.attempt_id:
            self._decoders[attempt.decoder_id] = None
            if attempt.decoder_id not in self._retiring:
                self._idle.put(attempt.decoder_id, level=0)

    # Commits

    def _commit(self, event: Event) -> list[Action]:
        """Commit what is ready at each tick, and at once when nothing else is under way."""
        is_last = not self._attempts and (self._is_draining or not self._backlog.is_anything_ready)
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
            self._tries.pop((model, shard_id), None)
            self._backlog.drop(shard_id, model)

    # Losses

    def _lose(self, loss: WorkerLost) -> list[Action]:
        worker_id = loss.worker_id
        self._retiring.discard(worker_id)
        if worker_id in self._decoders:
            attempt_id = self._decoders.pop(worker_id) or ""
            self._idle.discard(worker_id)
            actions = self._suspect(attempt_id, loss) + self._fail(attempt_id, loss)
        elif worker_id in self._slots:
            actions = self._lose_slot(loss)
        else:
            return []
        return [*actions, Replace(worker_id)]

    def _lose_slot(self, loss: WorkerLost) -> list[Action]:
        slot_id = loss.worker_id
        actions: list[Action] = []
        if slot_id in self._self_decoding:
            actions = [each for held in self._held[slot_id] for each in self._suspect(held, loss)]
        model = self._slots.pop(slot_id)
        self._free[model].discard(slot_id)
        self._self_decoding.discard(slot_id)
        for attempt in map(self._attempts.__getitem__, self._held.pop(slot_id)):
            self._leave(attempt, model)
            actions += self._again(attempt.shard_id, model, loss)
            for seq in list(attempt.chunks):
                actions += self._done_with(attempt.attempt_id, seq, model)
            if not attempt.slots:
                actions += self._close(attempt)
        return actions

    def _fail(self, attempt_id: str, loss: _Loss) -> list[Action]:
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return []
        actions: list[Action] = []
        for model, slot_id in list(attempt.slots.items()):
            self._leave(attempt, model)
            actions.append(Forget(attempt_id, slot_id))
            actions += self._again(attempt.shard_id, model, loss)
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

    def _again(self, shard_id: str, model: str, loss: _Loss) -> list[Action]:
        """Put a (model, shard) back, to rest, or stop the run at the limit."""
        n_tries = self._tries.get((model, shard_id))
        if n_tries is None:  # another driver has committed it meanwhile
            return []
        if loss.is_accident and self._n_accidents[model, shard_id] < MAX_ACCIDENTS:
            self._n_accidents[model, shard_id] += 1
            self._tries[model, shard_id] -= 1
        elif n_tries >= MAX_ATTEMPTS:
            self._stopped = f"shard {shard_id} of {model} failed {n_tries} times: {loss.reason}"
            return [Stop(self._stopped)]
        self._backlog.rest(shard_id, model)
        return []

    # Poison

    def _suspect(self, attempt_id: str, loss: WorkerLost) -> list[Action]:
        """Count a worker that was lost over a shard, and have the shard searched in time."""
        attempt = self._attempts.get(attempt_id)
        if attempt is None or loss.is_accident:
            return []
        self._n_losses[attempt.shard_id] += 1
        if self._is_draining or self._n_losses[attempt.shard_id] != LOSSES_TO_BISECT:
            return []
        self._backlog.hold(attempt.shard_id)
        return [Bisect(attempt.shard_id)]

    def _on_bisected(self, shard_id: str, crashed: tuple[Crash, ...]) -> None:
        models = self._backlog.release(shard_id)
        if crashed:
            self._skips[shard_id] = crashed
            for model in models:
                self._tries.pop((model, shard_id), None)

    # Workers that have grown

    def _retire(self, worker_id: str) -> None:
        """Give a worker nothing more to do."""
        if worker_id in self._decoders:
            self._retiring.add(worker_id)
            self._idle.discard(worker_id)
        elif worker_id in self._slots:
            self._retiring.add(worker_id)
            self._rank_slot(worker_id)

    def _recycle(self) -> list[Action]:
        """Replace the workers that were to retire and hold nothing any more."""
        free = [
            worker_id
            for worker_id in sorted(self._retiring)
            if not (self._decoders.get(worker_id) or self._held.get(worker_id))
        ]
        return [] if self._is_draining else list(map(self._remove, free))

    def _remove(self, worker_id: str) -> Recycle:
        self._retiring.discard(worker_id)
        self._decoders.pop(worker_id, None)
        self._self_decoding.discard(worker_id)
        self._held.pop(worker_id, None)
        self._slots.pop(worker_id, None)
        return Recycle(worker_id)
