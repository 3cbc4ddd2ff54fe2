"""The watchdog: who has not moved for too long is named, once per stall."""

from __future__ import annotations

import pytest

from embedlib.records import PartResult
from embedlib.run.events import Decoded, DecodeEnded, Embedded, Event, Tick, Written
from embedlib.run.watchdog import Watchdog

PART = PartResult("m", "s", "part-s.parquet", 1, 1, 1, 1.0, ())
MOVES = [Decoded("a", 0, 8, "mel"), DecodeEnded("a"), Embedded("a", 0, "m"), Written("a", PART)]


@pytest.fixture
def dog() -> Watchdog:
    """Has seen one attempt begin, at 0 s."""
    made = Watchdog()
    made.stalled({"a": 10.0}, now_s=0.0)
    return made


@pytest.mark.parametrize("move", MOVES, ids=lambda move: type(move).__name__)
def test_whatever_carries_an_attempt_forward_is_a_move(dog: Watchdog, move: Event) -> None:
    dog.saw(move, now_s=9.0)
    assert dog.stalled({"a": 10.0}, now_s=18.0) == []
    assert dog.stalled({"a": 10.0}, now_s=20.0) == ["a"]


def test_the_passing_of_time_is_no_move(dog: Watchdog) -> None:
    dog.saw(Tick(), now_s=9.0)
    assert dog.stalled({"a": 10.0}, now_s=11.0) == ["a"]


def test_a_stall_is_told_once_and_the_next_one_again(dog: Watchdog) -> None:
    told = [dog.stalled({"a": 10.0}, now_s=now_s) for now_s in (11.0, 12.0)]
    dog.saw(Embedded("a", 0, "m"), now_s=13.0)
    told += [dog.stalled({"a": 10.0}, now_s=now_s) for now_s in (14.0, 24.0)]
    assert told == [["a"], [], [], ["a"]]


def test_each_attempt_has_a_patience_of_its_own(dog: Watchdog) -> None:
    dog.stalled({"a": 10.0, "b": 60.0}, now_s=0.0)
    assert dog.stalled({"a": 10.0, "b": 60.0}, now_s=30.0) == ["a"]
    assert dog.stalled({"a": 10.0, "b": 60.0}, now_s=61.0) == ["b"]


def test_an_attempt_that_is_over_is_forgotten(dog: Watchdog) -> None:
    dog.stalled({}, now_s=5.0)
    assert dog.stalled({"a": 10.0}, now_s=14.0) == []
