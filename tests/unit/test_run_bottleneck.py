"""What a run waits for, told from states of the scheduler as runs have them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import pytest

from embedlib.records import PartResult
from embedlib.run import events as ev
from embedlib.run.backlog import Work
from embedlib.run.bottleneck import N_MOMENTS, Bottleneck, Moment, in_words
from embedlib.run.scheduler import Scheduler
from embedlib.run.staff import Load

CHUNK_BYTES = 1 << 20


class World:
    """A scheduler with workers that answer at once, but for those that are stuck."""

    def __init__(
        self, slots: dict[str, int], *, n_shards: int = 9, stuck: Collection[str] = ()
    ) -> None:
        self.scheduler = Scheduler(
            [Work(f"s{number}", tuple(slots)) for number in range(n_shards)],
            front_ends=dict.fromkeys(slots, "f"),
            budget_bytes=100 * CHUNK_BYTES,
            chunk_bytes=CHUNK_BYTES,
        )
        self.bottleneck = Bottleneck()
        self._stuck = stuck
        self._n_chunks: dict[str, int] = {}
        self.feed(ev.DecoderAdded("d", "node"))
        for model, n_slots in slots.items():
            for number in range(n_slots):
                self.feed(ev.SlotAdded(f"{model}{number}", model, node_id="node"))

    def feed(self, event: ev.Event) -> None:
        """Take an event, and all that follows from it."""
        waiting = deque([event])
        while waiting:
            event = waiting.popleft()
            actions = self.scheduler.on(event)
            self.bottleneck.observe(event, self.scheduler, now_s=0.0)
            waiting += [answer for action in actions if (answer := self._answer(action))]

    def _answer(self, action: ev.Action) -> ev.Event | None:
        match action:
            case ev.Pull(attempt_id) if "decode" not in self._stuck:
                return self._chunk(attempt_id)
            case ev.Embed(attempt_id, seq, model) if model not in self._stuck:
                return ev.Embedded(attempt_id, seq, model)
            case ev.Write(attempt_id, shard_id, model) if "write" not in self._stuck:
                part = PartResult(model, shard_id, attempt_id, 1, 1, 1, 1.0, ())
                return ev.Written(attempt_id, part)
            case ev.Commit(model, parts):
                return ev.Committed(model, tuple(part.shard_id for part in parts))
        return None

    def _chunk(self, attempt_id: str) -> ev.Event:
        seq = self._n_chunks.get(attempt_id, 0)
        self._n_chunks[attempt_id] = seq + 1
        if seq == 6:
            return ev.DecodeEnded(attempt_id)
        return ev.Decoded(attempt_id, seq, CHUNK_BYTES, "f")


def test_a_dear_model_binds_though_the_cheap_ones_are_idle() -> None:
    world = World({"cheap": 1, "light": 1, "openl3": 1}, stuck={"openl3"})
    world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == "bound by openl3: 1 of 1 workers busy, 3 chunks wait"


def test_decoding_binds_while_models_wait_for_chunks() -> None:
    world = World({"cheap": 1, "dear": 2}, stuck={"decode"})
    world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == "decode-bound: 3 of 3 model workers idle"


def test_a_store_binds_where_workers_write() -> None:
    world = World({"m": 1}, stuck={"write"})
    world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == "store-bound: 1 of 1 workers of m write"


def test_the_last_shard_is_no_fault_of_a_stage() -> None:
    world = World({"m": 3}, n_shards=1, stuck={"m"})
    world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == (
        "the last shards: 2 of 3 model workers idle, nothing is left to begin"
    )


def test_before_there_are_workers_they_are_what_is_waited_for() -> None:
    world = World({})
    world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == "starting workers"
    assert str(Bottleneck()) == "starting workers"


def test_the_start_of_the_workers_does_not_count() -> None:
    world = World({"m": 1, "late": 0}, stuck={"m"})
    for _ in range(20):
        world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == "starting workers"
    world.feed(ev.SlotAdded("late0", "late", node_id="node"))
    world.feed(ev.Tick(1.0))
    assert str(world.bottleneck) == "bound by m: 1 of 1 workers busy, 3 chunks wait"


def test_only_the_last_half_minute_counts() -> None:
    world = World({"m": 1}, stuck={"decode"})
    for _ in range(N_MOMENTS):
        world.feed(ev.Tick(1.0))
    assert str(world.bottleneck).startswith("decode-bound")
    world._stuck = {"m"}
    world.feed(world._chunk("a0"))
    for _ in range(N_MOMENTS):
        world.feed(ev.Tick(1.0))
    assert str(world.bottleneck).startswith("bound by m: 1 of 1 workers busy")


def test_the_mean_of_the_moments_is_told() -> None:
    busy = Moment({"m": Load(2, 2, 8)}, Load(1, 0))
    half = Moment({"m": Load(2, 1, 4)}, Load(1, 1))
    assert in_words([busy, busy, half, half]) == "bound by m: 2 of 2 workers busy, 4 chunks wait"


@pytest.mark.parametrize("slow", ["decode", "m"])
def test_in_one_process_the_stage_that_takes_most_of_the_time_binds(slow: str) -> None:
    bottleneck, scheduler = Bottleneck(), World({}).scheduler
    took_s = {"decode": 1.0, "m": 1.0} | {slow: 2.0}
    now_s = 100.0
    bottleneck.observe(ev.DecoderAdded("local"), scheduler, now_s=now_s)
    for event, stage in ((ev.Decoded("a0", 0, 1, "f"), "decode"), (ev.Embedded("a0", 0, "m"), "m")):
        now_s += took_s[stage]
        bottleneck.observe(event, scheduler, now_s=now_s)
    assert str(bottleneck) == f"bound by {slow}: 67 % of the time"


@pytest.mark.parametrize("stage", ["decode", "embed"])
def test_the_longest_stage_of_parts_that_one_worker_made_alone_binds(stage: str) -> None:
    bottleneck, scheduler = Bottleneck(), World({}).scheduler
    stage_s = {"decode": 1.0, "embed": 1.0} | {stage: 3.0}
    part = PartResult("m", "s", "f", 1, 1, 1, 1.0, (), tuple(stage_s.items()))
    bottleneck.observe(ev.Written("a0", part), scheduler, now_s=1.0)
    assert str(bottleneck) == f"bound by {stage}: 75 % of the time"


def test_what_was_long_ago_counts_less_and_less() -> None:
    bottleneck, scheduler = Bottleneck(), World({}).scheduler
    for stage, n_parts in (("decode", 20), ("embed", 4)):
        stage_s = {"decode": 1.0, "embed": 1.0} | {stage: 99.0}
        part = PartResult("m", "s", "f", 1, 1, 1, 1.0, (), tuple(stage_s.items()))
        for _ in range(n_parts):
            bottleneck.observe(ev.Written("a0", part), scheduler, now_s=1.0)
    assert str(bottleneck).startswith("bound by embed")
