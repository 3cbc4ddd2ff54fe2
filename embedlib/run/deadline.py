"""The last resort against decoding that never returns: the kernel ends the process.

The deadline of `embedlib.audio.decode` is looked at between packets, which a decoder that loops or
sleeps inside one never gives. Timers of the kernel need neither the interpreter nor its lock, and
their default action ends the process, whatever it is doing. So only a process that may be lost
runs under them: a worker that Ray started, or one that searches for poison.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

CPU_SHARE = 2.0
"""CPU seconds that one step may take, as a multiple of the deadline: whoever can keep the deadline
by himself has done so by then."""

WALL_SHARE = 10.0
"""Seconds that one step may take by the clock, as a multiple of the deadline: a machine that is so
much shared does not finish anyhow."""

MEANINGS = {
    signal.SIGPROF: "decoding went on for twice its deadline of CPU time without a result",
    signal.SIGALRM: "decoding went on for ten times its deadline without a result",
}
"""What it says of a process that it was ended by one of the timers."""


def bounded(steps: Iterable[T], *, deadline_s: float, is_by_clock: bool) -> Iterator[T]:
    """Let the kernel end this process when a step never comes.

    Time between steps, when the caller works or waits, does not count.

    Parameters
    ----------
    steps : iterable
        What may get stuck.
    deadline_s : float > 0
        The deadline of the whole, in CPU seconds, which `steps` keeps as far as it can.
    is_by_clock : bool
        Whether time counts in which the process waits; not where it waits for a store.

    Yields
    ------
    step : Any
        Each step.
    """
    remaining = iter(steps)
    wall_s = WALL_SHARE * deadline_s if is_by_clock else 0.0
    while True:
        _arm(cpu_s=CPU_SHARE * deadline_s, wall_s=wall_s)
        try:
            step = next(remaining)
        except StopIteration:
            return
        finally:
            _arm(cpu_s=0.0, wall_s=0.0)
        yield step


def _arm(*, cpu_s: float, wall_s: float) -> None:
    """Set both timers; zero means never."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)
