"""Properties of the scheduler under random orders of events and random losses of workers."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedlib.records import PartResult
from embedlib.run import events as ev
from embedlib.run.scheduler import MAX_ATTEMPTS, Scheduler, Work

CHUNK_BYTES = 100


@dataclass
class World:
    """Workers, shards and a table that answer the scheduler in random order.

    `n_losses` workers die at random moments; `bytes_of` gives each chunk a size up to the bound.
    """

    rng: random.Random
    models: tuple[str, ...]
    n_shards: int
    budget_bytes: int
    n_losses: int = 0
    n_decoders: int = 2
    n_slots: int = 2
    is_self_decoding: bool = False
    pending: list[tuple[str, ev.Event]] = field(default_factory=list)
    issued: Counter[ev.Action] = field(default_factory=Counter)
    committed: Counter[tuple[str, str]] = field(default_factory=Counter)
    live_bytes: dict[tuple[str, int], int] = field(default_factory=dict)
    pulling: set[str] = field(default_factory=set)
    peak_bytes: int = 0
    stop_reason: str = ""
    dead: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.n_chunks = {self._shard(i): self.rng.randint(1, 6) for i in range(self.n_shards)}
        self.attempts: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        self.produced: dict[str, int] = defaultdict(int)
        self.workers: dict[str, str] = {}
        self.scheduler = Scheduler(
            [Work(shard, self.models) for shard in self.n_chunks],
            front_ends={model: f"fe{i % 2}" for i, model in enumerate(self.models)},
            budget_bytes=self.budget_bytes,
            chunk_bytes=CHUNK_BYTES,
        )

    @staticmethod
    def _shard(number: int) -> str:
        return f"s{number}"

    def run(self) -> None:
        for number in range(self.n_decoders):
            self._join(f"d{number}", "")
        for model in self.models:
            for number in range(self.n_slots):
                self._join(f"{model}/{number}", model)
        for _ in range(100_000):
            if self.scheduler.is_done:
                return
            self._step()
        pytest.fail("no progress in a hundred thousand steps")

    def _step(self) -> None:
        if self.n_losses and self.rng.random() < 0.02:
            self._kill(self.rng.choice(sorted(self.workers)))
        elif self.pending and self.rng.random() < 0.9:
            # Any order between workers, but the order of calls within one.
            position = self.rng.randrange(len(self.pending))
            worker = self.pending[position][0]
            first = next(i for i, (name, _) in enumerate(self.pending) if name == worker)
            self._feed(self.pending.pop(first)[1])
        else:
            self._feed(ev.Tick())

    def _join(self, worker: str, model: str) -> None:
        self.workers[worker] = model
        slot = ev.SlotAdded(worker, model, is_decoder=self.is_self_decoding)
        joined = slot if model else ev.DecoderAdded(worker)
        self.pending.append((worker, joined))

    def _kill(self, worker: str) -> None:
        self.n_losses -= 1
        model = self.workers.pop(worker)
        was_known = not any(
            isinstance(event, ev.SlotAdded | ev.DecoderAdded) and name == worker
            for name, event in self.pending
        )
        self.pending = [(name, event) for name, event in self.pending if name != worker]
        self.dead[worker] = model
        if was_known:
            self._feed(ev.WorkerLost(worker, "killed"))
        else:
            self._join(f"{worker}+", model)

    def _feed(self, event: ev.Event) -> None:
        if isinstance(event, ev.Decoded | ev.DecodeEnded):
            self.pulling.discard(event.attempt_id)
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
            case ev.Decode(attempt_id, shard_id, decoder_id, models):
                self.attempts[attempt_id] = (shard_id, decoder_id, models)
            case ev.Extract(attempt_id, shard_id, model, slot_id):
                self.attempts[attempt_id] = (shard_id, slot_id, (model,))
                part = PartResult(model, shard_id, attempt_id, 1, 1, 1, 1.0, ())
                self._answer(slot_id, ev.Written(attempt_id, part))
            case ev.Pull(attempt_id):
                assert attempt_id not in self.pulling
                self.pulling.add(attempt_id)
                self._answer(self.attempts[attempt_id][1], self._next_chunk(attempt_id))
            case ev.Embed(attempt_id, seq, model, slot_id):
                self._answer(slot_id, ev.Embedded(attempt_id, seq, model))
            case ev.Release(attempt_id, seq):
                del self.live_bytes[attempt_id, seq]
            case ev.Write(attempt_id, shard_id, model, slot_id):
                part = PartResult(model, shard_id, attempt_id, 1, 1, 1, 1.0, ())
                self._answer(slot_id, ev.Written(attempt_id, part))
            case ev.Commit(model, parts):
                shards = tuple(part.shard_id for part in parts)
                self.committed.update((model, shard) for shard in shards)
                self.pending.append(("table", ev.Committed(model, shards)))
            case ev.Cancel(attempt_id):
                self.pulling.discard(attempt_id)
            case ev.Replace(worker):
                self._join(f"{worker}+", self.dead[worker])
            case ev.Stop(reason):
                self.stop_reason = reason

    def _answer(self, worker: str, event: ev.Event) -> None:
        if worker in self.workers:
            self.pending.append((worker, event))

    def _next_chunk(self, attempt_id: str) -> ev.Event:
        shard_id, _, _ = self.attempts[attempt_id]
        seq = self.produced[attempt_id]
        self.produced[attempt_id] += 1
        n_front_ends = min(2, len(self.models))
        if seq == self.n_chunks[shard_id] * n_front_ends:
            return ev.DecodeEnded(attempt_id)
        size = self.rng.randint(1, CHUNK_BYTES)
        return ev.Decoded(attempt_id, seq, size, f"fe{seq % n_front_ends}")


worlds = st.builds(
    World,
    rng=st.integers(0, 2**32).map(random.Random),
    models=st.sampled_from([("m",), ("m", "n"), ("m", "n", "o")]),
    n_shards=st.integers(0, 12),
    budget_bytes=st.integers(1, 12 * CHUNK_BYTES),
    n_decoders=st.integers(1, 3),
    n_slots=st.integers(1, 3),
    is_self_decoding=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(worlds)
def test_every_shard_of_every_model_is_committed_exactly_once(world: World) -> None:
    world.run()
    everything = {(model, shard) for model in world.models for shard in world.n_chunks}
    assert world.committed == Counter(everything)
    assert world.scheduler.n_pending == 0


@settings(max_examples=300, deadline=None)
@given(worlds, st.integers(1, 6))
def test_lost_workers_lose_no_shard_or_stop_the_run_with_a_reason(
    world: World, n_losses: int
) -> None:
    world.n_losses = n_losses
    world.run()
    everything = {(model, shard) for model in world.models for shard in world.n_chunks}
    assert set(world.committed) == everything or "killed" in world.stop_reason
    assert set(world.committed.values()) <= {1}


@settings(max_examples=300, deadline=None)
@given(worlds, st.integers(0, 6))
def test_bytes_in_flight_stay_within_the_budget(world: World, n_losses: int) -> None:
    world.n_losses = n_losses
    world.run()
    assert world.peak_bytes <= max(world.budget_bytes, CHUNK_BYTES)


@settings(max_examples=300, deadline=None)
@given(worlds, st.integers(0, 6))
def test_no_action_is_given_twice_for_one_attempt(world: World, n_losses: int) -> None:
    world.n_losses = n_losses
    world.run()
    assert all(count == 1 for count in world.issued.values())


@settings(max_examples=300, deadline=None)
@given(worlds, st.integers(0, 6))
def test_all_chunks_are_released_when_the_run_has_ended(world: World, n_losses: int) -> None:
    world.n_losses = n_losses
    world.run()
    assert world.stop_reason or (not world.live_bytes and world.scheduler.in_flight_bytes == 0)


@settings(max_examples=100, deadline=None)
@given(worlds, st.integers(0, 6))
def test_attempts_per_model_and_shard_are_bounded(world: World, n_losses: int) -> None:
    world.n_losses = n_losses
    world.run()
    tries = Counter(
        (model, shard) for shard, _, models in world.attempts.values() for model in models
    )
    assert max(tries.values(), default=0) <= MAX_ATTEMPTS
