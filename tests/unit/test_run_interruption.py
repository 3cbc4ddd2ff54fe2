"""Signals as a wish to drain."""

from __future__ import annotations

import signal
import threading

import pytest

from embedlib.run import driver
from embedlib.run.driver import Interruption

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_raises_nothing(number: signal.Signals) -> None:
    with Interruption() as interruption:
        signal.raise_signal(number)
        assert interruption.signal_number == number
        assert not interruption.is_overdue


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_process_with_its_own_exit_code(second: signal.Signals) -> None:
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(second)
    assert ended.value.code == 128 + second


def test_draining_is_overdue_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "DRAIN_S", -1.0)
    with Interruption() as interruption:
        assert not interruption.is_overdue
        signal.raise_signal(signal.SIGTERM)
        assert interruption.is_overdue


@pytest.mark.parametrize("number", SIGNALS)
def test_the_handlers_of_before_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interruption():
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before


def test_handlers_that_somebody_replaced_are_taken_back() -> None:
    with Interruption() as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interruption.arm()
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal_number == signal.SIGTERM


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter() -> None:
        with Interruption() as interruption:
            interruption.arm()
            seen.append((signal.getsignal(signal.SIGTERM), interruption.signal_number))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]


def test_the_exit_by_which_ray_answers_sigterm_counts_as_the_signal() -> None:
    interruption = Interruption()
    with interruption.during_start():
        raise SystemExit(15)
    assert interruption.signal_number == signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_start_at_once_where_nothing_is_in_flight(number: signal.Signals) -> None:
    done = []
    with Interruption() as interruption, interruption.during_start(at_once=True):
        signal.raise_signal(number)
        done.append("more")
    assert (interruption.signal_number, done) == (number, [])


def test_a_signal_after_the_start_is_a_wish_to_drain() -> None:
    done = []
    with Interruption() as interruption, interruption.during_start(at_once=True):
        interruption.arm()
        signal.raise_signal(signal.SIGINT)
        done.append("more")
    assert (interruption.signal_number, done) == (signal.SIGINT, ["more"])


def test_any_other_exit_while_ray_starts_goes_on() -> None:
    with pytest.raises(SystemExit), Interruption().during_start():
        raise SystemExit(1)
