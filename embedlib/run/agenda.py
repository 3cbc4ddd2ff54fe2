"""A virtual clock: what happens when, taken in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Agenda:
    """What is going to happen; the clock jumps to it.

    Examples
    --------
    >>> agenda = Agenda()
    >>> agenda.later(2.0, lambda: print("world"))
    >>> agenda.later(1.0, lambda: print("hello"), owner="w1")
    >>> owner, happen = agenda.next()
    >>> happen()
    hello
    >>> agenda.now_s, owner
    (1.0, 'w1')
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._numbers = count()
        self._heap: list[tuple[float, int, str, Callable[[], None]]] = []

    def later(self, after_s: float, happen: Callable[[], None], *, owner: str = "") -> None:
        """Let something happen.

        Parameters
        ----------
        after_s : float >= 0
            Virtual seconds from now.
        happen : callable
            What; things of one moment happen in the order in which they were noted.
        owner : str
            Who does it; empty when nobody in particular.
        """
        heapq.heappush(self._heap, (self.now_s + after_s, next(self._numbers), owner, happen))

    def next(self) -> tuple[str, Callable[[], None]]:
        """Let time pass until something happens.

        Returns
        -------
        owner : str
            Who does it.
        happen : callable
            What, not yet done.

        Raises
        ------
        IndexError
            If nothing is noted.
        """
        self.now_s, _, owner, happen = heapq.heappop(self._heap)
        return owner, happen
