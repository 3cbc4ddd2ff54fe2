"""How long attempts take, and which one takes too long. Pure: time comes from outside."""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import median

MAX_PACE = 3.0
"""Times the usual time that an attempt may take: more than cores of one cluster differ by."""

MIN_LATE_S = 30.0
"""Below this an attempt is never late: to do it again takes a start, a decode and a write."""

MIN_PEERS = 3
"""Attempts that must have ended before others are held against them."""

_N_PEERS = 500


class Pace:
    """Seconds per second of audio of the attempts that have ended, by what they were made for.

    Examples
    --------
    >>> pace = Pace()
    >>> for took_s in (40.0, 500.0, 600.0):
    ...     pace.note(frozenset("m"), audio_s=1000.0, took_s=took_s)
    >>> pace.limit_s(frozenset("m"), audio_s=2000.0)
    3000.0
    >>> pace.limit_s(frozenset("n"), audio_s=2000.0)
    inf
    """

    def __init__(self) -> None:
        self._peers: defaultdict[frozenset[str], deque[float]] = defaultdict(
            lambda: deque(maxlen=_N_PEERS)
        )
        self._medians: dict[frozenset[str], float] = {}

    def note(self, models: frozenset[str], *, audio_s: float, took_s: float) -> None:
        """Take an attempt that has ended.

        Parameters
        ----------
        models : frozenset of str
            What it was made for.
        audio_s : float
            Seconds of audio of its shard.
        took_s : float
            Seconds.
        """
        if audio_s > 0.0:
            self._peers[models].append(took_s / audio_s)
            self._medians.pop(models, None)

    def limit_s(self, models: frozenset[str], *, audio_s: float) -> float:
        """Say how long an attempt may take.

        Parameters
        ----------
        models : frozenset of str
            What it is made for.
        audio_s : float
            Seconds of audio of its shard.

        Returns
        -------
        limit_s : float
            `MAX_PACE` times the median of its peers, at least `MIN_LATE_S`; infinite while there
            are too few of them.
        """
        if len(self._peers[models]) < MIN_PEERS:
            return float("inf")
        if models not in self._medians:
            self._medians[models] = median(self._peers[models])
        return max(MIN_LATE_S, MAX_PACE * self._medians[models] * audio_s)
