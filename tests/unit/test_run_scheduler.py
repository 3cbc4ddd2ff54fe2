"""Workers that are lost: by accident, by a track that kills them, or because they have grown."""

from __future__ import annotations

import pytest

from embedlib.records import Crash, PartResult
from embedlib.run import events as ev
from embedlib.run.backlog import Work
from embedlib.run.pace import MIN_LATE_S, MIN_PEERS
from embedlib.run.scheduler import Scheduler
from embedlib.run.tries import LOSSES_TO_BISECT, MAX_ATTEMPTS

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


def written(attempt_id: str, shard_id: str = "s") -> ev.Written:
    return ev.Written(attempt_id, PartResult("m", shard_id, attempt_id, 1, 1, 1, 1.0, ()))


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


# Workers that have no place any more


def test_a_superfluous_worker_ends_when_it_is_through_and_none_takes_its_place() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    assert scheduler.on(ev.Superfluous("m0")) == []
    actions = scheduler.on(written("a0"))
    assert of_kind(actions, ev.Dismiss | ev.Recycle | ev.Replace) == [ev.Dismiss("m0")]


def test_a_superfluous_worker_that_is_lost_is_not_replaced() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    scheduler.on(ev.Superfluous("m0"))
    scheduler.on(ev.Outgrown("m0"))
    assert of_kind(scheduler.on(ev.WorkerLost("m0", "killed")), ev.Replace) == []
    assert scheduler.to_embed() == {"m": 1}


# Attempts that take too long


def late_run() -> tuple[Scheduler, list[ev.Action]]:
    """Four shards on two nodes, three of them through in 10 s, the last one late on node x."""
    scheduler = Scheduler(
        [Work(f"s{number}", ("m",)) for number in range(MIN_PEERS + 1)],
        front_ends={"m": "fe"},
        budget_bytes=1000,
        chunk_bytes=10,
    )
    scheduler.on(ev.SlotAdded("m0", "m", True, "x"))
    for number in range(MIN_PEERS):
        scheduler.on(ev.Tick(10.0 * (number + 1)))
        scheduler.on(written(f"a{number}", f"s{number}"))
        scheduler.on(ev.Tick(10.0 * (number + 1)))
        scheduler.on(ev.Committed("m", (f"s{number}",)))
    for slot_id, node_id in [("m1", "x"), ("m2", "y")]:
        scheduler.on(ev.SlotAdded(slot_id, "m", True, node_id))
    now_s = 10.0 * MIN_PEERS
    assert started(scheduler.on(ev.Tick(now_s + MIN_LATE_S))) == []
    return scheduler, scheduler.on(ev.Tick(now_s + MIN_LATE_S + 1.0))


def test_what_takes_too_long_is_begun_once_more_on_another_node_and_only_once() -> None:
    scheduler, actions = late_run()
    assert actions == [ev.Extract("a4", "s3", "m", "m2")]
    assert scheduler.on(ev.Tick(1e6)) == []


def test_of_twins_the_first_part_counts_and_the_other_worker_is_made_anew() -> None:
    scheduler, _ = late_run()
    actions = scheduler.on(written("a4", "s3"))
    assert [part.file_name for part in of_kind(actions, ev.Commit)[0].parts] == ["a4"]
    assert of_kind(actions, ev.Forget | ev.Recycle) == [ev.Forget("a3", "m0"), ev.Recycle("m0")]
    (discard,) = scheduler.on(written("a3", "s3"))
    assert discard == ev.Discard(written("a3", "s3").part)


def test_the_twin_of_an_attempt_that_is_through_is_given_up() -> None:
    scheduler, _ = late_run()
    actions = scheduler.on(written("a3", "s3"))
    assert of_kind(actions, ev.Recycle) == [ev.Recycle("m2")]
    scheduler.on(ev.Committed("m", ("s3",)))
    assert scheduler.is_done


def test_a_shard_whose_twin_lives_is_not_put_back() -> None:
    scheduler, _ = late_run()
    assert scheduler.on(ev.WorkerLost("m0", "killed")) == [ev.Replace("m0")]
    assert started(scheduler.on(ev.Tick(1e6))) == []
    assert scheduler.n_pending == 1
    scheduler.on(ev.WorkerLost("m2", "killed", is_accident=True))
    assert len(started(scheduler.on(ev.Tick(1e6)))) == 1


def test_a_drain_begins_nothing_once_more() -> None:
    scheduler = scheduler_of("m")
    scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True))
    scheduler.on(ev.Drain())
    assert started(scheduler.on(ev.Tick(1e6))) == []


# Late news


@pytest.mark.parametrize(
    "event", [ev.Outgrown("gone"), ev.Superfluous("gone"), ev.Bisected("gone", (CRASH,))]
)
def test_what_comes_too_late_changes_nothing(event: ev.Event) -> None:
    scheduler = scheduler_of("m")
    assert scheduler.on(event) == []
    assert scheduler.n_pending == 1


# Commits


def test_the_first_part_is_committed_at_once_and_others_wait_for_the_clock() -> None:
    scheduler = Scheduler(
        [Work(name, ("m",)) for name in "stuv"],
        front_ends={"m": "fe"},
        budget_bytes=1000,
        chunk_bytes=10,
    )
    (extract,) = started(scheduler.on(ev.SlotAdded("m0", "m", is_decoder=True)))
    first = scheduler.on(written(extract.attempt_id, "s"))
    (commit,) = of_kind(first, ev.Commit)
    assert [part.shard_id for part in commit.parts] == ["s"]
    (extract,) = started(first)
    scheduler.on(ev.Committed("m", ("s",)))
    second = scheduler.on(written(extract.attempt_id, "t"))
    assert of_kind(second, ev.Commit) == []
    assert of_kind(scheduler.on(ev.Tick()), ev.Commit) != []
