"""Losses that come together, as when a node dies: one accident, not many."""

from __future__ import annotations

from embedlib.run import events as ev
from embedlib.run.scheduler import MAX_ATTEMPTS, Scheduler, Work

N_WORKERS = 8


def scheduler_of(*models: str) -> Scheduler:
    """A run of one shard whose bytes are no concern."""
    return Scheduler(
        [Work("s", models)],
        front_ends=dict.fromkeys(models, "fe"),
        budget_bytes=1000,
        chunk_bytes=10,
    )


def started(actions: list[ev.Action]) -> list[ev.Action]:
    return [action for action in actions if isinstance(action, ev.Decode | ev.Extract)]


def test_decoders_that_die_together_cost_a_shard_one_try() -> None:
    scheduler = scheduler_of("m", "n")
    first = [*scheduler.on(ev.SlotAdded("m0", "m")), *scheduler.on(ev.SlotAdded("n0", "n"))]
    for number in range(N_WORKERS):
        first += scheduler.on(ev.DecoderAdded(f"d{number}"))
    lost = [scheduler.on(ev.WorkerLost(f"d{number}", "node died")) for number in range(N_WORKERS)]
    assert len(started(first)) == 1
    assert not any(isinstance(action, ev.Stop) for actions in lost for action in actions)
    scheduler.on(ev.DecoderAdded("d8"))
    assert len(started(scheduler.on(ev.Tick()))) == 1


def test_workers_of_one_model_that_die_together_cost_a_shard_one_try() -> None:
    scheduler = scheduler_of("m")
    first: list[ev.Action] = []
    for number in range(N_WORKERS):
        first += scheduler.on(ev.SlotAdded(f"m{number}", "m", is_decoder=True))
    lost = [scheduler.on(ev.WorkerLost(f"m{number}", "node died")) for number in range(N_WORKERS)]
    assert len(started(first)) == 1
    assert not any(started(actions) for actions in lost)
    assert not scheduler.is_done
    assert scheduler.n_pending == 1


def test_a_shard_that_kills_its_worker_every_time_stops_the_run() -> None:
    scheduler = scheduler_of("m")
    actions: list[ev.Action] = []
    for number in range(MAX_ATTEMPTS):
        scheduler.on(ev.SlotAdded(f"m{number}", "m", is_decoder=True))
        scheduler.on(ev.Tick())
        actions += scheduler.on(ev.WorkerLost(f"m{number}", "segfault"))
    (stop,) = (action for action in actions if isinstance(action, ev.Stop))
    assert stop.reason == f"shard s of m failed {MAX_ATTEMPTS} times: segfault"
    assert scheduler.is_done


def test_a_shard_that_another_driver_committed_while_it_rested_is_done() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    scheduler.on(ev.WorkerLost("m0", "gone"))
    scheduler.on(ev.Committed("m", ("s",)))
    assert scheduler.is_done


def test_a_resting_shard_does_not_hold_up_a_drain() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    scheduler.on(ev.WorkerLost("m0", "gone"))
    scheduler.on(ev.Drain())
    assert scheduler.is_done
