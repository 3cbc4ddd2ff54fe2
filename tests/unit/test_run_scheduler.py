"""Workers that are lost: by accident, by a track that kills them, or because they have grown."""

from __future__ import annotations

import pytest

from embedlib.records import Crash, PartResult
from embedlib.run import events as ev
from embedlib.run.backlog import Work
from embedlib.run.scheduler import LOSSES_TO_BISECT, MAX_ATTEMPTS, Scheduler

N_WORKERS = 8
CRASH = Crash(3, "SIGSEGV")


def scheduler_of(*models: str) -> Scheduler:
    """A run of one shard whose bytes are no concern."""
    return Scheduler(
        [Work("s", models)],
        front_ends=dict.fromkeys(models, "fe"),
        budget_bytes=1000,
        chunk_bytes=10,
    )


def lose_workers(scheduler: Scheduler, n_workers: int, **how: bool) -> list[ev.Action]:
    """Workers that decode for themselves, lost one after the other over the one shard."""
    actions: list[ev.Action] = []
    for _ in range(n_workers):
        slot_id = f"m{sum(isinstance(action, ev.Replace) for action in actions)}"
        actions += scheduler.on(ev.SlotAdded(slot_id, "m", is_decoder=True))
        actions += scheduler.on(ev.Tick())
        actions += scheduler.on(ev.WorkerLost(slot_id, "segfault", **how))
    return actions


def of_kind(actions: list[ev.Action], kind: type) -> list[ev.Action]:
    return [action for action in actions if isinstance(action, kind)]


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
    lose_workers(scheduler, MAX_ATTEMPTS - 1)
    scheduler.on(ev.Bisected("s"))  # and accuses nobody
    (stop,) = of_kind(lose_workers(scheduler, 1), ev.Stop)
    assert stop == ev.Stop(f"shard s of m failed {MAX_ATTEMPTS} times: segfault")
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


# Poison


def test_a_shard_that_cost_two_workers_is_searched_and_not_started_meanwhile() -> None:
    scheduler = scheduler_of("m")
    actions = lose_workers(scheduler, LOSSES_TO_BISECT)
    assert of_kind(actions, ev.Bisect) == [ev.Bisect("s")]
    actions = [*scheduler.on(ev.SlotAdded("new", "m", is_decoder=True)), *scheduler.on(ev.Tick())]
    assert actions == []
    assert (scheduler.is_done, scheduler.n_pending) == (False, 1)


def test_a_shard_that_cost_two_decoders_is_searched_for_all_its_models() -> None:
    scheduler = scheduler_of("m", "n")
    actions = [*scheduler.on(ev.SlotAdded("m0", "m")), *scheduler.on(ev.SlotAdded("n0", "n"))]
    for number in range(LOSSES_TO_BISECT):
        actions += scheduler.on(ev.DecoderAdded(f"d{number}"))
        actions += scheduler.on(ev.WorkerLost(f"d{number}", "segfault"))
        actions += scheduler.on(ev.Tick())
    assert of_kind(actions, ev.Bisect) == [ev.Bisect("s")]
    scheduler.on(ev.DecoderAdded("new"))
    (decode,) = started(scheduler.on(ev.Bisected("s", (CRASH,))))
    assert decode == ev.Decode("a2", "s", "new", ("m", "n"), (CRASH,))


def test_one_lost_worker_accuses_nobody() -> None:
    actions = lose_workers(scheduler_of("m"), 1)
    assert of_kind(actions, ev.Bisect) == []


def test_workers_that_went_with_their_nodes_accuse_nobody() -> None:
    actions = lose_workers(scheduler_of("m"), LOSSES_TO_BISECT + 1, is_accident=True)
    assert of_kind(actions, ev.Bisect | ev.Stop) == []


def test_a_model_worker_that_does_not_decode_accuses_nobody() -> None:
    scheduler = scheduler_of("m")
    actions = scheduler.on(ev.DecoderAdded("d0"))
    for number in range(LOSSES_TO_BISECT):
        actions += scheduler.on(ev.SlotAdded(f"m{number}", "m"))
        actions += scheduler.on(ev.WorkerLost(f"m{number}", "segfault"))
        actions += scheduler.on(ev.Tick())
    assert of_kind(actions, ev.Bisect) == []


def test_what_was_found_is_skipped_and_the_tries_start_anew() -> None:
    scheduler = scheduler_of("m")
    lose_workers(scheduler, LOSSES_TO_BISECT)
    scheduler.on(ev.Bisected("s", (CRASH,)))
    actions = lose_workers(scheduler, MAX_ATTEMPTS)
    assert [action.skip for action in started(actions)] == [(CRASH,)] * MAX_ATTEMPTS
    assert of_kind(actions, ev.Bisect) == []
    assert len(of_kind(actions, ev.Stop)) == 1


def test_what_an_earlier_run_left_behind_is_skipped_from_the_first_try_on() -> None:
    scheduler = scheduler_of("m")
    assert scheduler.on(ev.Bisected("s", (CRASH,))) == []
    (extract,) = scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    assert extract == ev.Extract("a0", "s", "m", "m0", (CRASH,))


def test_a_search_does_not_hold_up_a_drain() -> None:
    scheduler = scheduler_of("m")
    lose_workers(scheduler, LOSSES_TO_BISECT)
    scheduler.on(ev.Drain())
    assert scheduler.is_done


def test_a_drain_starts_no_search() -> None:
    scheduler = scheduler_of("m")
    lose_workers(scheduler, LOSSES_TO_BISECT - 1)
    scheduler.on(ev.SlotAdded("last", "m", is_decoder=True))
    scheduler.on(ev.Tick())
    scheduler.on(ev.Drain())
    assert scheduler.on(ev.WorkerLost("last", "segfault")) == [ev.Replace("last")]


def test_a_shard_that_another_driver_committed_while_it_was_searched_is_done() -> None:
    scheduler = scheduler_of("m")
    lose_workers(scheduler, LOSSES_TO_BISECT)
    scheduler.on(ev.Committed("m", ("s",)))
    assert scheduler.is_done
    assert scheduler.on(ev.Bisected("s", (CRASH,))) == []


# Workers that have grown


def written(attempt_id: str) -> ev.Written:
    return ev.Written(attempt_id, PartResult("m", "s", "part", 1, 1, 1, 1.0, ()))


def test_a_worker_that_has_grown_is_recycled_when_it_is_through() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    assert scheduler.on(ev.Outgrown("m0")) == []
    actions = scheduler.on(written("a0"))
    assert of_kind(actions, ev.Recycle) == [ev.Recycle("m0")]
    assert of_kind(actions, ev.Replace | ev.Forget) == []


def test_a_worker_that_has_grown_and_is_idle_is_recycled_at_once_and_used_no_more() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.DecoderAdded("d0"))
    assert scheduler.on(ev.Outgrown("d0")) == [ev.Recycle("d0")]
    assert scheduler.on(ev.SlotAdded("m0", "m")) == []
    assert len(started(scheduler.on(ev.DecoderAdded("d1")))) == 1


def test_a_decoder_that_has_grown_gets_no_other_shard() -> None:
    works = [Work("s", ("m",)), Work("t", ("m",))]
    scheduler = Scheduler(works, front_ends={"m": "fe"}, budget_bytes=1000, chunk_bytes=10)
    scheduler.on(ev.DecoderAdded("d0"))
    scheduler.on(ev.SlotAdded("m0", "m"))
    scheduler.on(ev.Outgrown("d0"))
    actions = scheduler.on(ev.DecodeEnded("a0"))
    assert of_kind(actions, ev.Recycle) == [ev.Recycle("d0")]
    assert started(actions) == []
    assert started(scheduler.on(ev.DecoderAdded("d1"))) == [ev.Decode("a1", "t", "d1", ("m",))]


def test_a_worker_that_has_grown_may_still_be_lost() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    scheduler.on(ev.Outgrown("m0"))
    assert scheduler.on(ev.WorkerLost("m0", "killed")) == [ev.Replace("m0")]
    assert scheduler.on(ev.WorkerLost("m0", "killed")) == []


@pytest.mark.parametrize("event", [ev.Outgrown("gone"), ev.Bisected("gone", (CRASH,))])
def test_what_comes_too_late_changes_nothing(event: ev.Event) -> None:
    scheduler = scheduler_of("m")
    assert scheduler.on(event) == []
    assert scheduler.n_pending == 1
