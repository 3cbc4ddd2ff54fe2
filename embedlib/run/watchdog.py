"""Notices attempts that do not move, so that people can be told. Pure: time comes from outside."""

from __future__ import annotations

from collections.abc import Mapping

from embedlib.run.events import Decoded, DecodeEnded, Embedded, Event, Written

STALL_S = 300.0
"""A chunk is some tens of seconds of audio: no stage takes minutes for one."""


class Watchdog:
    """The last move of each attempt.

    Examples
    --------
    >>> dog = Watchdog()
    >>> dog.stalled({"a0": 300.0}, now_s=0.0)
    []
    >>> dog.stalled({"a0": 300.0}, now_s=301.0)
    ['a0']
    >>> dog.stalled({"a0": 300.0}, now_s=302.0)
    []
    """

    def __init__(self) -> None:
        self._moved_s: dict[str, float] = {}
        self._told: set[str] = set()

    def saw(self, event: Event, *, now_s: float) -> None:
        """Note that an attempt moves.

        Parameters
        ----------
        event : Event
            What happened; only what carries an attempt forward counts.
        now_s : float
            Time of a clock that only goes forward.
        """
        match event:
            case Decoded(attempt_id) | DecodeEnded(attempt_id) | Embedded(attempt_id):
                self._move(attempt_id, now_s)
            case Written(attempt_id):
                self._move(attempt_id, now_s)

    def _move(self, attempt_id: str, now_s: float) -> None:
        self._moved_s[attempt_id] = now_s
        self._told.discard(attempt_id)

    def stalled(self, patience_s: Mapping[str, float], *, now_s: float) -> list[str]:
        """List the attempts that have not moved for too long, each once per stall.

        Parameters
        ----------
        patience_s : mapping of str to float
            How long each attempt that is under way may stand still; all others are forgotten.
        now_s : float
            Time of the same clock.

        Returns
        -------
        attempt_ids : list of str
            Stalled since the last call.
        """
        self._moved_s = {name: self._moved_s.get(name, now_s) for name in patience_s}
        self._told &= patience_s.keys()
        found = [
            name
            for name, limit_s in patience_s.items()
            if name not in self._told and now_s - self._moved_s[name] > limit_s
        ]
        self._told.update(found)
        return found
