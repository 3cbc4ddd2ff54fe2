"""Properties of the scheduler under random orders of events and random losses of workers."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedlib.records import Crash, PartResult
from embedlib.run import events as ev
from embedlib.run.backlog import Work
from embedlib.run.pace import MIN_LATE_S, MIN_PEERS
from embedlib.run.scheduler import Scheduler
from embedlib.run.tries import MAX_ATTEMPTS

CHUNK_BYTES = 100

PATIENCE_TICKS = 2
"""Ticks without a call outstanding that the scheduler may need: one wakes what rests."""

LATE_TICKS = 10_000
"""The same where one worker is frozen: time must pass before that is noticed."""

POISON = (Crash(0, "killed its decoder"),)


@dataclass(frozen=True)
class Death:
    """Instead of an answer: the attempt kills its worker."""

    attempt_id: str


@dataclass
class World:
    """Workers, shards and a table that answer the scheduler in random order.

    Accidents happen at random moments: `n_losses` workers die, of themselves or because their node
    does (`n_accidents`, counted here), `n_failures` attempts fail, `n_outgrown` workers grow,
    `n_foreign` shards are committed by somebody else. Decoding a shard of `poison` kills the
    worker, unless the track is left out, which a search finds unless it `is_hidden`. With
    `has_late_events`, what a dead worker had to say may still come. With `drains`, the run is asked
    to end. Ticks tell the time if it `has_clock`, so that attempts may be late; with `freezes`, one
    worker that has something to do never answers. `n_moved` workers get another place.
    """

    rng: random.Random
    models: tuple[str, ...]
    n_shards: int
    budget_bytes: int
    n_decoders: int = 2
    n_slots: int = 2
    is_self_decoding: bool = False
    n_losses: int = 0
    n_failures: int = 0
    n_outgrown: int = 0
    n_moved: int = 0
    n_foreign: int = 0
    poison: frozenset[str] = frozenset()
    is_hidden: bool = False
    has_late_events: bool = False
    drains: bool = False
    has_clock: bool = False
    freezes: bool = False
    pending: list[tuple[str, ev.Event | Death]] = field(default_factory=list)
    issued: Counter[ev.Action] = field(default_factory=Counter)
    committed: Counter[tuple[str, str]] = field(default_factory=Counter)
    foreign: set[tuple[str, str]] = field(default_factory=set)
    skipped: dict[tuple[str, str], tuple[Crash, ...]] = field(default_factory=dict)
    live_bytes: dict[tuple[str, int], int] = field(default_factory=dict)
    pulling: set[str] = field(default_factory=set)
    peak_bytes: int = 0
    stop_reason: str = ""
    started_after_drain: int = 0
    dead: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.n_chunks = {f"s{i}": self.rng.randint(1, 6) for i in range(self.n_shards)}
        self.everything = {(model, shard) for model in self.models for shard in self.n_chunks}
        self.attempts: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        self.decoding: dict[str, str] = {}
        self.skips: dict[str, tuple[Crash, ...]] = {}
        self.produced: dict[str, int] = defaultdict(int)
        self.workers: dict[str, str] = {}
        self.is_draining = False
        self.now_s = 0.0
        self.frozen = ""
        self.files: set[tuple[str, str]] = set()
        self.discarded: set[tuple[str, str]] = set()
        self.n_idle_ticks = self.n_accidents = 0
        self.n_written: Counter[str] = Counter()
        self.scheduler = Scheduler(
            [Work(shard, self.models) for shard in self.n_chunks],
            front_ends={model: f"fe{i % 2}" for i, model in enumerate(self.models)},
            budget_bytes=self.budget_bytes,
            chunk_bytes=CHUNK_BYTES,
        )

    def run(self) -> World:
        for number in range(self.n_decoders):
            self._join(f"d{number}", "")
        for model in self.models:
            for number in range(self.n_slots):
                self._join(f"{model}/{number}", model)
        while not self.scheduler.is_done:
            self._step()
        return self

    def _step(self) -> None:
        self._freeze()
        awake = [worker for worker, _ in self.pending if worker != self.frozen]
        if self.rng.random() < 0.05:
            self._have_an_accident()
        elif awake and self.rng.random() < 0.9:
            self._deliver(self.rng.choice(awake))
        else:
            self._wait(is_idle=not awake)

    def _freeze(self) -> None:
        """Stop a worker for good when enough attempts are through to know how long one takes."""
        n_through = sum(n == len(self.attempts[name][2]) for name, n in self.n_written.items())
        if self.freezes and not self.frozen and n_through >= MIN_PEERS:
            busy = {worker for worker, event in self.pending if _is_work(event)}
            self.frozen = self.rng.choice([*sorted(busy), ""])

    def _deliver(self, worker: str) -> None:
        """Let something happen: any order between workers, but the order of calls within one."""
        self.n_idle_ticks = 0
        first = next(i for i, (name, _) in enumerate(self.pending) if name == worker)
        event = self.pending.pop(first)[1]
        if isinstance(event, Death):
            self._kill(worker)
        else:
            self._feed(event)

    def _wait(self, *, is_idle: bool) -> None:
        self.n_idle_ticks += is_idle
        if self.n_idle_ticks > (LATE_TICKS if self.frozen else PATIENCE_TICKS):
            pytest.fail("nothing is outstanding, something is left to do, and nothing happens")
        self.now_s += self.rng.uniform(0.0, 2.0 * MIN_LATE_S) * self.has_clock
        self._feed(ev.Tick(self.now_s))

    def _have_an_accident(self) -> None:
        model, shard = self.rng.choice(sorted(self.everything)) if self.everything else ("", "")
        match self.rng.randrange(6):
            case 0 if self.n_losses and self.workers:
                self.n_losses -= 1
                is_accident = self.rng.random() < 0.5
                self.n_accidents += is_accident
                self._kill(self.rng.choice(sorted(self.workers)), is_accident=is_accident)
            case 1 if self.n_failures and self.decoding.keys() & self.workers.keys():
                self.n_failures -= 1
                self._fail(self.rng.choice(sorted(self.decoding.keys() & self.workers.keys())))
            case 2 if self.n_outgrown and self.workers:
                self.n_outgrown -= 1
                self._feed(ev.Outgrown(self.rng.choice(sorted(self.workers))))
            case 3 if self.n_foreign and model:
                self.n_foreign -= 1
                self.foreign.add((model, shard))
                self._feed(ev.Committed(model, (shard,)))
            case 4 if self.drains and not self.is_draining:
                self._feed(ev.Drain())
                self.is_draining = True
            case 5 if self.n_moved and self.workers:
                self.n_moved -= 1
                worker = self.rng.choice(sorted(self.workers))
                self._join(f"{worker}'{self.n_moved}", self.workers[worker])
                self._feed(ev.Superfluous(worker))

    def _fail(self, worker: str) -> None:
        """Let what a worker was to say about its shard be that it cannot."""
        attempt_id = self.decoding[worker]
        self.pending = [
            (name, event)
            for name, event in self.pending
            if name != worker or getattr(event, "attempt_id", "") != attempt_id
        ]
        self.pulling.discard(attempt_id)
        self._feed(ev.AttemptFailed(attempt_id, "a store is away"))

    def _join(self, worker: str, model: str) -> None:
        self.workers[worker] = model
        slot = ev.SlotAdded(worker, model, is_decoder=self.is_self_decoding)
        joined = slot if model else ev.DecoderAdded(worker)
        self.pending.append((worker, joined))

    def _kill(self, worker: str, *, is_accident: bool = False) -> None:
        model = self.dead[worker] = self.workers.pop(worker)
        if any(isinstance(event, ev.SlotAdded | ev.DecoderAdded) for event in self._said(worker)):
            self._silence(worker, is_new=True)
            self._join(f"{worker}+", model)
            return
        self._silence(worker)
        self._feed(ev.WorkerLost(worker, "killed", is_accident))

    def _said(self, worker: str) -> list[ev.Event | Death]:
        return [event for name, event in self.pending if name == worker]

    def _silence(self, worker: str, *, is_new: bool = False) -> None:
        """Let what a worker was to say die with it, but for what is on its way."""
        said = [event for event in self._said(worker) if not isinstance(event, Death)]
        self.pending = [(name, event) for name, event in self.pending if name != worker]
        if self.has_late_events and not is_new:
            self.pending += [(f"late {worker}", event) for event in said if self.rng.random() < 0.7]

    def _feed(self, event: ev.Event) -> None:
        if isinstance(event, ev.Decoded | ev.DecodeEnded):
            self.pulling.discard(event.attempt_id)
        if isinstance(event, ev.Written):
            self.n_written[event.attempt_id] += 1
        if isinstance(event, ev.Decoded):
            self.live_bytes[event.attempt_id, event.seq] = event.n_bytes
        for action in self.scheduler.on(event):
            self._perform(action)
        self.peak_bytes = max(self.peak_bytes, self._bytes_in_flight())

    def _bytes_in_flight(self) -> int:
        return sum(self.live_bytes.values()) + CHUNK_BYTES * len(self.pulling)

    def _perform(self, action: ev.Action) -> None:
        if not isinstance(action, ev.Pull | ev.Commit):
            self.issued[action] += 1
        match action:
            case ev.Decode(attempt_id, shard_id, decoder_id, models, skip):
                self._begin(attempt_id, shard_id, decoder_id, models, skip)
            case ev.Extract(attempt_id, shard_id, model, slot_id, skip):
                self._begin(attempt_id, shard_id, slot_id, (model,), skip)
                is_deadly = self._is_deadly(attempt_id)
                self._answer(slot_id, Death(attempt_id) if is_deadly else self._part(action))
            case ev.Pull(attempt_id):
                assert attempt_id not in self.pulling
                self.pulling.add(attempt_id)
                self._answer(self.attempts[attempt_id][1], self._next_chunk(attempt_id))
            case ev.Embed(attempt_id, seq, model, slot_id):
                self._answer(slot_id, ev.Embedded(attempt_id, seq, model))
            case ev.Release(attempt_id, seq):
                del self.live_bytes[attempt_id, seq]
            case ev.Write(slot_id=slot_id):
                self._answer(slot_id, self._part(action))
            case ev.Commit(model, parts):
                shards = tuple(part.shard_id for part in parts)
                self.committed.update((model, shard) for shard in shards)
                names = {(model, part.shard_id): part.file_name for part in parts}
                self.files |= {(model, name) for name in names.values()}
                self.skipped |= {pair: self.skips[name] for pair, name in names.items()}
                self.pending.append(("table", ev.Committed(model, shards)))
            case ev.Cancel(attempt_id):
                self.pulling.discard(attempt_id)
            case ev.Replace(worker):
                self._join(f"{worker}+", self.dead[worker])
            case ev.Recycle(worker):
                self._silence(worker)
                self._join(f"{worker}+", self.workers.pop(worker))
            case ev.Dismiss(worker):
                self._silence(worker)
                del self.workers[worker]
            case ev.Discard(part):
                self.discarded.add((part.model, part.file_name))
            case ev.Bisect(shard_id):
                is_found = shard_id in self.poison and not self.is_hidden
                crashed = POISON if is_found else ()
                self.pending.append(("bisection", ev.Bisected(shard_id, crashed)))
            case ev.Stop(reason):
                self.stop_reason = reason

    def _begin(
        self,
        attempt_id: str,
        shard_id: str,
        worker: str,
        models: tuple[str, ...],
        skip: tuple[Crash, ...],
    ) -> None:
        self.attempts[attempt_id] = (shard_id, worker, models)
        self.decoding[worker] = attempt_id
        self.skips[attempt_id] = skip
        self.started_after_drain += self.is_draining

    def _is_deadly(self, attempt_id: str) -> bool:
        return self.attempts[attempt_id][0] in self.poison and not self.skips[attempt_id]

    def _answer(self, worker: str, event: ev.Event | Death) -> None:
        if worker in self.workers:
            self.pending.append((worker, event))

    @staticmethod
    def _part(action: ev.Extract | ev.Write) -> ev.Written:
        part = PartResult(action.model, action.shard_id, action.attempt_id, 1, 1, 1, 1.0, ())
        return ev.Written(action.attempt_id, part)

    def _next_chunk(self, attempt_id: str) -> ev.Event | Death:
        shard_id, _, _ = self.attempts[attempt_id]
        seq = self.produced[attempt_id]
        self.produced[attempt_id] += 1
        n_front_ends = min(2, len(self.models))
        if seq == self.n_chunks[shard_id] and self._is_deadly(attempt_id):
            return Death(attempt_id)
        if seq == self.n_chunks[shard_id] * n_front_ends:
            return ev.DecodeEnded(attempt_id)
        size = self.rng.randint(1, CHUNK_BYTES)
        return ev.Decoded(attempt_id, seq, size, f"fe{seq % n_front_ends}")


def _is_work(event: ev.Event | Death) -> bool:
    return not isinstance(event, ev.SlotAdded | ev.DecoderAdded | ev.Committed | ev.Bisected)


peaceful = st.builds(
    World,
    rng=st.integers(0, 2**32).map(random.Random),
    models=st.sampled_from([("m",), ("m", "n"), ("m", "n", "o")]),
    n_shards=st.integers(0, 12),
    budget_bytes=st.integers(1, 12 * CHUNK_BYTES),
    n_decoders=st.integers(1, 3),
    n_slots=st.integers(1, 3),
    is_self_decoding=st.booleans(),
)

poisoned = st.builds(
    lambda world, shards: replace(world, poison=frozenset(f"s{number}" for number in shards)),
    peaceful,
    st.sets(st.integers(0, 11)),
)

dangerous = st.builds(
    replace,
    poisoned,
    n_losses=st.integers(0, 6),
    n_failures=st.integers(0, 3),
    n_outgrown=st.integers(0, 3),
    n_moved=st.integers(0, 3),
    has_clock=st.booleans(),
    has_late_events=st.booleans(),
)

timed = st.builds(replace, peaceful, n_shards=st.integers(6, 12), has_clock=st.just(True))

# There are more decoders than a frozen worker can hold up.
freezing = st.builds(
    replace,
    timed,
    n_decoders=st.integers(6, 7),
    n_slots=st.integers(2, 3),
    budget_bytes=st.just(20 * CHUNK_BYTES),
    has_late_events=st.booleans(),
    freezes=st.just(True),
)

shared = st.builds(replace, dangerous, n_foreign=st.integers(0, 6))

many = settings(max_examples=300, deadline=None)
some = settings(max_examples=150, deadline=None)


@many
@given(peaceful)
def test_every_shard_of_every_model_is_committed_exactly_once(world: World) -> None:
    world.run()
    assert world.committed == Counter(world.everything)
    assert world.scheduler.n_pending == 0


@many
@given(dangerous)
def test_whatever_dies_all_is_committed_once_or_the_run_stops_with_a_reason(world: World) -> None:
    world.run()
    assert set(world.committed) == world.everything or "failed" in world.stop_reason
    assert set(world.committed.values()) <= {1}


@many
@given(shared)
def test_what_another_driver_commits_is_not_waited_for(world: World) -> None:
    world.run()
    assert set(world.committed) | world.foreign == world.everything or world.stop_reason
    assert set(world.committed.values()) <= {1}


@many
@given(st.builds(replace, shared, drains=st.just(True)))
def test_a_drain_starts_nothing_new_and_ends_with_what_was_in_flight(world: World) -> None:
    world.run()
    assert world.started_after_drain == 0
    assert set(world.committed.values()) <= {1}
    assert world.stop_reason or (not world.live_bytes and world.scheduler.in_flight_bytes == 0)


@some
@given(poisoned)
def test_poison_is_left_out_and_nothing_else_whatever_the_order(world: World) -> None:
    world.run()
    guilty = {pair for pair, skip in world.skipped.items() if skip}
    assert world.committed == Counter(world.everything)
    assert guilty == {pair for pair in world.everything if pair[1] in world.poison}


@some
@given(poisoned, st.integers(0, 2**32))
def test_the_result_does_not_depend_on_the_order_of_events(world: World, seed: int) -> None:
    other = replace(
        world, rng=random.Random(seed), **{name: type(getattr(world, name))() for name in _STATE}
    )
    assert world.run().skipped == other.run().skipped


_STATE = ("pending", "issued", "committed", "foreign", "skipped", "live_bytes", "pulling", "dead")


@some
@given(peaceful, st.booleans())
def test_a_cause_that_is_not_found_stops_the_run_after_three_tries(
    world: World, has_late_events: bool
) -> None:
    world = replace(
        world, poison=frozenset({"s0"}), is_hidden=True, has_late_events=has_late_events
    ).run()
    tries = Counter(shard for shard, _, _ in world.attempts.values())
    assert tries["s0"] == (MAX_ATTEMPTS if world.n_shards else 0)
    assert bool(world.stop_reason) == bool(world.n_shards)


@many
@given(shared)
def test_bytes_in_flight_stay_within_the_budget(world: World) -> None:
    world.run()
    assert world.peak_bytes <= max(world.budget_bytes, CHUNK_BYTES)


@many
@given(shared)
def test_no_action_is_given_twice_for_one_attempt(world: World) -> None:
    world.run()
    assert all(count == 1 for count in world.issued.values())


@some
@given(shared)
def test_all_chunks_are_released_when_the_run_has_ended(world: World) -> None:
    world.run()
    assert world.stop_reason or (not world.live_bytes and world.scheduler.in_flight_bytes == 0)


@some
@given(dangerous)
def test_attempts_per_model_and_shard_are_bounded(world: World) -> None:
    world.run()
    tries = Counter(
        (model, shard) for shard, _, models in world.attempts.values() for model in models
    )
    # Those of a shard in which a cause was found are counted anew, once; accidents are not counted,
    # nor is the one twin.
    limits = {
        shard: MAX_ATTEMPTS * (1 + (shard in world.poison)) + world.n_accidents + world.has_clock
        for shard in world.n_chunks
    }
    assert all(count <= limits[shard] for (_, shard), count in tries.items())


@some
@given(freezing)
def test_a_worker_that_never_answers_does_not_hold_up_the_run(world: World) -> None:
    world.run()
    assert world.committed == Counter(world.everything)
    assert world.scheduler.in_flight_bytes == 0


@many
@given(st.one_of(freezing, st.builds(replace, shared, has_clock=st.just(True))))
def test_of_twins_one_counts_and_its_file_stays(world: World) -> None:
    world.run()
    assert set(world.committed.values()) <= {1}
    assert not world.discarded & world.files


def test_one_slot_of_a_cheap_model_serves_all_slots_of_a_dear_one() -> None:
    n_slots = 8
    scheduler = Scheduler(
        [Work(f"s{number}", ("cheap", "dear")) for number in range(n_slots)],
        front_ends={"cheap": "fe", "dear": "fe"},
        budget_bytes=n_slots * CHUNK_BYTES,
        chunk_bytes=CHUNK_BYTES,
    )
    actions = scheduler.on(ev.SlotAdded("c", "cheap"))
    for number in range(n_slots):
        actions += scheduler.on(ev.SlotAdded(f"d{number}", "dear"))
        actions += scheduler.on(ev.DecoderAdded(f"w{number}"))
    assert sum(isinstance(action, ev.Decode) for action in actions) == n_slots
