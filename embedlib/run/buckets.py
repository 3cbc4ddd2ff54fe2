"""Names in order of a small number: what lets the scheduler choose among thousands in no time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator


class BucketQueue:
    """Names with a level each; the first is the one that has waited longest at the lowest level.

    All it does takes a time that depends on the number of levels, not on that of names.

    Examples
    --------
    >>> queue = BucketQueue()
    >>> for name, level in [("a", 1), ("b", 0), ("c", 0)]:
    ...     queue.put(name, level=level)
    >>> queue.first()
    'b'
    >>> queue.put("b", level=2)
    >>> queue.first()
    'c'
    """

    def __init__(self) -> None:
        self._buckets: list[OrderedDict[str, None]] = []
        self._levels: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._levels)

    def __iter__(self) -> Iterator[str]:
        return (name for bucket in self._buckets for name in bucket)

    def put(self, name: str, *, level: int) -> None:
        """Let a name wait at a level, behind those that are there.

        Parameters
        ----------
        name : str
            Moved when it waits already.
        level : int >= 0
            Small: there is a bucket for each.
        """
        self.discard(name)
        while len(self._buckets) <= level:
            self._buckets.append(OrderedDict())
        self._buckets[level][name] = None
        self._levels[name] = level

    def discard(self, name: str) -> None:
        """Let a name wait no more, if it does.

        Parameters
        ----------
        name : str
            Any.
        """
        level = self._levels.pop(name, None)
        if level is not None:
            del self._buckets[level][name]

    def first(self) -> str | None:
        """Give the name whose turn it is; it goes on waiting.

        Returns
        -------
        name : str or None
            None when no name waits.
        """
        return next((next(iter(bucket)) for bucket in self._buckets if bucket), None)
