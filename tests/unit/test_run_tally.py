"""The tally of a run: its time at work is counted from the first worker to the last commit."""

from __future__ import annotations

import pytest

from embedlib.run import tally as module
from embedlib.run.events import Committed, Event, SlotAdded, Tick
from embedlib.run.tally import Tally

READY, LATE, COMMITTED = SlotAdded("w", "m"), SlotAdded("late", "m"), Committed("m", ("s0",))


class Clock:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.mark.parametrize(
    ("events", "worked_s"),
    [
        ([READY, COMMITTED], 1.0),
        ([READY, LATE, COMMITTED, Tick(), COMMITTED], 2.0),
        ([READY, Tick()], 0.0),
        ([COMMITTED], 0.0),
    ],
)
def test_work_lasts_from_the_first_worker_to_the_last_commit(
    events: list[Event], worked_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", Clock())
    tally = Tally({})
    for event in events:
        tally.observe(event)
    assert tally.worked_s == worked_s


def test_the_work_of_plans_that_follow_each_other_adds_up() -> None:
    first, second = Tally({}), Tally({})
    first.worked_s, second.worked_s = 2.0, 3.0
    first.add(second)
    assert first.worked_s == 5.0
