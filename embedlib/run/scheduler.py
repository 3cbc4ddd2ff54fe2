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
the shard is searched (`Bisect`), and what is found guilty is left out from then on. An attempt that
takes several times as long as its peers gets a twin on other workers, once, when these would have
nothing else to do; of each model the first part counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from embedlib.records import PartResult
from embedlib.run.backlog import Backlog, Work
from embedlib.run.events import (
    Action,
    AttemptFailed,
    Bisected,
    Commit,
    Committed,
    Decoded,
    DecodeEnded,
    DecoderAdded,
    Discard,
    Dismiss,
    Drain,
    Embed,
    Embedded,
    Event,
    Outgrown,
    Recycle,
    Release,
    SlotAdded,
    Stop,
    Superfluous,
    Tick,
    WorkerLost,
    Write,
    Written,
)
from embedlib.run.flow import Attempt, Flow, UnderWay
from embedlib.run.losses import Losses
from embedlib.run.outbox import Outbox
from embedlib.run.staff import Load, Staff
from embedlib.run.starts import Starts
from embedlib.run.tries import Tries


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
    audio_s : callable
        Seconds of audio of a shard, by its id; all are alike where none is given.
    """

    def __init__(
        self,
        work: Iterable[Work],
        *,
        front_ends: Mapping[str, str],
        budget_bytes: int,
        chunk_bytes: int,
        audio_s: Callable[[str], float] = lambda _: 1.0,
    ) -> None:
        self._front_ends = dict(front_ends)
        self._backlog = Backlog(work)
        self._staff = Staff()
        self._flow = Flow(budget_bytes=budget_bytes, chunk_bytes=chunk_bytes)
        self._tries = Tries()
        self._outbox = Outbox()
        self._starts = Starts(
            backlog=self._backlog,
            staff=self._staff,
            flow=self._flow,
            tries=self._tries,
            audio_s=audio_s,
        )
        self._losses = Losses(
            backlog=self._backlog, staff=self._staff, flow=self._flow, tries=self._tries
        )
        self._is_draining = False
        self._has_committed = False
        self._stopped = ""

    # What people and drivers may know

    @property
    def is_done(self) -> bool:
        """Whether no event is needed any more."""
        nothing_left = self._is_draining or not self._backlog
        return bool(self._stopped) or (nothing_left and not (self._flow.attempts or self._outbox))

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of the chunks that exist, and the bound of each that was asked for."""
        return self._flow.in_flight_bytes

    @property
    def n_pending(self) -> int:
        """Number of (model, shard) pairs that are not committed."""
        running = {
            (model, attempt.shard_id)
            for attempt in self._flow.attempts.values()
            for model in attempt.slots
        }
        return self._backlog.n_shards().total() + len(running) + len(self._outbox)

    def to_embed(self) -> Counter[str]:
        """Count the shards that need a worker.

        Returns
        -------
        n_shards : Counter of str
            By model, those under way included; takes no longer for more shards. When the run is
            asked to end, these alone.
        """
        waiting = Counter[str]() if self._is_draining else self._backlog.n_shards()
        return waiting + Counter(self._staff.n_held())

    @property
    def budget_bytes(self) -> int:
        """Limit for `in_flight_bytes`."""
        return self._flow.budget_bytes

    def loads(self) -> dict[str, Load]:
        """Say how much the model workers have to do at this moment.

        Returns
        -------
        loads : dict of str to Load
            Of each model of the run.
        """
        return dict.fromkeys(self._front_ends, Load()) | self._staff.loads(self._flow.n_waiting)

    @property
    def decoder_load(self) -> Load:
        """How much the decode workers have to do: one is busy while a chunk is asked of it."""
        return Load(self._staff.n_decoders, self._flow.n_pulling)

    @property
    def attempts(self) -> Mapping[str, Attempt]:
        """What is under way, in the order in which it began; only to be looked at."""
        return self._flow.attempts

    @property
    def is_anything_left(self) -> bool:
        """Whether a shard has not begun, or is to begin again."""
        return bool(self._backlog) and not self._is_draining

    def n_writing(self) -> Counter[str]:
        """Count the workers that write a part at this moment.

        Returns
        -------
        n_writing : Counter of str
            By model; none where workers decode for themselves.
        """
        slots: dict[str, str] = {}
        for attempt in self._flow.attempts.values():
            slots |= attempt.writing
        return Counter(slots.values())

    def under_way(self) -> list[UnderWay]:
        """List the attempts, and what each of them waits for.

        Returns
        -------
        attempts : list of UnderWay
            In the order in which they began.
        """
        return [
            UnderWay(attempt.attempt_id, attempt.shard_id, *attempt.stage)
            for attempt in self._flow.attempts.values()
        ]

    # Events

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
        self._stopped = next((each.reason for each in actions if isinstance(each, Stop)), "")
        if self._stopped:
            return actions
        if not self._is_draining:
            actions += [*self._staff.let_go(), *self._starts.start()]
            actions += self._starts.start_twins() if isinstance(event, Tick) else []
        return [*actions, *self._flow.pull(), *self._commit(event)]

    def _apply(self, event: Event) -> list[Action]:
        match event:
            case DecoderAdded():
                self._staff.add_decoder(event)
            case SlotAdded():
                self._staff.add_slot(event)
            case WorkerLost():
                return self._losses.lose(event, may_search=not self._is_draining)
            case AttemptFailed(attempt_id):
                return self._losses.fail(attempt_id, event)
            case Decoded():
                return self._on_chunk(event)
            case DecodeEnded(attempt_id):
                return self._on_decode_end(attempt_id)
            case Embedded(attempt_id, seq, model):
                attempt = self._flow.attempts.get(attempt_id)
                return [*self._flow.done_with(attempt, seq, model)] if attempt else []
            case Written(attempt_id, part):
                return self._on_part(attempt_id, part)
            case Committed(model, shard_ids):
                self._on_commit(model, shard_ids)
            case Bisected(shard_id, crashed):
                self._tries.accuse(shard_id, crashed, models=self._backlog.release(shard_id))
            case Outgrown(worker_id):
                self._staff.retire(worker_id, Recycle)
            case Superfluous(worker_id):
                self._staff.retire(worker_id, Dismiss)
            case Drain():
                self._is_draining = True
            case Tick(now_s):
                self._starts.now_s = now_s
                self._backlog.wake()
        return []

    # What attempts report

    def _on_chunk(self, event: Decoded) -> list[Action]:
        attempt = self._flow.attempts.get(event.attempt_id)
        if attempt is None:
            return [Release(event.attempt_id, event.seq)]
        waiting = {
            model: slot_id
            for model, slot_id in attempt.slots.items()
            if self._front_ends[model] == event.front_end
        }
        embeds = [
            Embed(event.attempt_id, event.seq, model, slot_id) for model, slot_id in waiting.items()
        ]
        unwanted = self._flow.add(attempt, event.seq, n_bytes=event.n_bytes, waiting=waiting)
        return [*embeds, *unwanted]

    def _on_decode_end(self, attempt_id: str) -> list[Action]:
        attempt = self._flow.attempts.get(attempt_id)
        if attempt is None:
            return []
        self._flow.end_decode(attempt)
        self._staff.end_decode(attempt)
        return [
            Write(attempt_id, attempt.shard_id, model, slot_id)
            for model, slot_id in attempt.slots.items()
        ]

    def _on_part(self, attempt_id: str, part: PartResult) -> list[Action]:
        if self._losses.was_beaten(attempt_id, part.model):
            return [Discard(part)]
        attempt = self._flow.attempts.get(attempt_id)
        if attempt is None or part.model not in attempt.slots:
            return []
        self._staff.leave(attempt, part.model)
        self._outbox.put(part)
        actions = self._losses.beat(attempt.twin_id, part.model)
        if not attempt.slots:
            self._starts.end(attempt)
            actions += self._flow.close(attempt)
        return actions

    # Commits

    def _commit(self, event: Event) -> list[Commit]:
        """Commit what is ready at each tick; at once the first of all, and the last."""
        is_idle = self._is_draining or not self._backlog.is_anything_ready
        is_last = is_idle and not self._flow.attempts
        is_time = isinstance(event, Tick) or is_last or not self._has_committed
        return self._outbox.commit() if is_time else []

    def _on_commit(self, model: str, shard_ids: tuple[str, ...]) -> None:
        """Also drops shards that another driver has committed meanwhile."""
        self._has_committed = True
        self._outbox.settle(model)
        for shard_id in shard_ids:
            self._tries.settle(shard_id, model)
            self._backlog.drop(shard_id, model)
