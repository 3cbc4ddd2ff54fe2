"""What a run has not begun, or must begin again: ready, at rest, or under suspicion."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Work:
    """One shard and the models that still need it.

    Attributes
    ----------
    shard_id : str
        The shard.
    models : tuple of str
        Models without committed rows for it.
    """

    shard_id: str
    models: tuple[str, ...]


class Backlog:
    """The (model, shard) pairs that nobody works on, in the order in which they should start.

    A shard that failed rests until the next `wake`: workers that die together are reported one by
    one, and without a rest it would go from one dead worker to the next and use up its tries on a
    single accident. A shard that is held back comes when it is released.

    Parameters
    ----------
    work : iterable of Work
        What is to be done.

    Examples
    --------
    >>> backlog = Backlog([Work("a", ("m",)), Work("b", ("m",))])
    >>> backlog.rest("c", "m")
    >>> [shard_id for shard_id, models in backlog.upcoming(9)]
    ['a', 'b']
    >>> backlog.wake()
    >>> [shard_id for shard_id, models in backlog.upcoming(2)]
    ['c', 'a']
    """

    def __init__(self, work: Iterable[Work]) -> None:
        # One set for all shards of the same models: there may be millions of shards.
        sets: dict[tuple[str, ...], frozenset[str]] = {}
        self._ready = OrderedDict(
            (item.shard_id, sets.setdefault(item.models, frozenset(item.models))) for item in work
        )
        self._resting: dict[str, frozenset[str]] = {}
        self._held: dict[str, frozenset[str]] = {}
        self._n_ready = Counter(self._ready.values())  # shards, by their models

    def __bool__(self) -> bool:
        return bool(self._ready or self._resting or self._held)

    @property
    def is_anything_ready(self) -> bool:
        """Whether a shard could start now."""
        return bool(self._ready)

    def n_shards(self) -> Counter[str]:
        """Count what is left to begin.

        Returns
        -------
        n_shards : Counter of str
            By model; takes no longer for more shards.
        """
        counts: Counter[str] = Counter()
        for models, n_shards in self._n_ready.items():
            counts.update(dict.fromkeys(models, n_shards))
        for waiting in (self._resting, self._held):
            counts.update(model for models in waiting.values() for model in models)
        return counts

    def upcoming(self, n_shards: int) -> list[tuple[str, frozenset[str]]]:
        """Give the shards that should start first.

        Parameters
        ----------
        n_shards : int > 0
            How many to look at.

        Returns
        -------
        shards : list of (str, frozenset of str)
            Those that are ready, each with its models.
        """
        return list(islice(self._ready.items(), n_shards))

    def take(self, shard_id: str) -> None:
        """Let a shard start.

        Parameters
        ----------
        shard_id : str
            One that is ready.
        """
        self._pop_ready(shard_id)

    def rest(self, shard_id: str, model: str) -> None:
        """Put back what failed.

        Parameters
        ----------
        shard_id : str
            The shard; it rests, unless it is held back.
        model : str
            For which it is to be done again.
        """
        waiting = self._held if shard_id in self._held else self._resting
        waiting[shard_id] = waiting.get(shard_id, frozenset()) | {model}

    def wake(self) -> None:
        """Let what has rested start before all others."""
        for shard_id, models in self._resting.items():
            self._put_first(shard_id, models)
        self._resting.clear()

    def hold(self, shard_id: str) -> None:
        """Let nothing of a shard start before it is released.

        Parameters
        ----------
        shard_id : str
            Any.
        """
        ready = self._pop_ready(shard_id)
        self._held[shard_id] = ready | self._resting.pop(shard_id, frozenset())

    def release(self, shard_id: str) -> frozenset[str]:
        """Let a shard start that was held back.

        Parameters
        ----------
        shard_id : str
            Any.

        Returns
        -------
        models : frozenset of str
            For which it was; none where it was not held back.
        """
        models = self._held.pop(shard_id, frozenset())
        if models:
            self._put_first(shard_id, models)
        return models

    def drop(self, shard_id: str, model: str) -> None:
        """Leave out what somebody else has done.

        Parameters
        ----------
        shard_id : str
            Any.
        model : str
            For which it is done.
        """
        if model in self._ready.get(shard_id, ()):
            self._put_ready(shard_id, self._pop_ready(shard_id) - {model})
        for waiting in (self._resting, self._held):
            if left := waiting.get(shard_id, frozenset()) - {model}:
                waiting[shard_id] = left
            else:
                waiting.pop(shard_id, None)

    def _put_first(self, shard_id: str, models: frozenset[str]) -> None:
        self._put_ready(shard_id, self._pop_ready(shard_id) | models)
        self._ready.move_to_end(shard_id, last=False)

    def _put_ready(self, shard_id: str, models: frozenset[str]) -> None:
        if models:
            self._ready[shard_id] = models
            self._n_ready[models] += 1

    def _pop_ready(self, shard_id: str) -> frozenset[str]:
        models = self._ready.pop(shard_id, frozenset())
        if models:
            self._n_ready[models] -= 1
        return models
