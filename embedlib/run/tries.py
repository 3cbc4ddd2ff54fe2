"""How often each (model, shard) was tried, what it cost, and what is known to kill its decoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from embedlib.records import Crash
from embedlib.run.events import AttemptFailed, WorkerLost

MAX_ATTEMPTS = 3
"""Tries per (model, shard) before the run stops: two accidents are bad luck, three are a cause.

They are counted anew, once, when the cause was found in the shard and is left out."""

MAX_ACCIDENTS = 20
"""Tries per (model, shard) that nodes may take along before they count: a node that leaves is no
fault of the shard, unless the shard is what fells it."""

LOSSES_TO_BISECT = 2
"""Workers that decoding a shard may cost before its tracks are searched for the cause."""

Loss = WorkerLost | AttemptFailed


class Tries:
    """The record of one run.

    Examples
    --------
    >>> tries = Tries()
    >>> tries.begin("s", ["m"])
    >>> tries.may_try_again("s", "m", WorkerLost("w", "killed"))
    True
    """

    def __init__(self) -> None:
        self._n_tries: dict[tuple[str, str], int] = {}
        self._n_accidents: Counter[tuple[str, str]] = Counter()
        self._n_losses: Counter[str] = Counter()  # workers, by the shard that they decoded
        self._skips: dict[str, tuple[Crash, ...]] = {}

    def begin(self, shard_id: str, models: Iterable[str]) -> None:
        """Count a try.

        Parameters
        ----------
        shard_id : str
            The shard.
        models : iterable of str
            The models.
        """
        for model in models:
            self._n_tries[model, shard_id] = self._n_tries.get((model, shard_id), 0) + 1

    def is_wanted(self, shard_id: str, model: str) -> bool:
        """Say whether a pair that was begun is not in the table yet.

        Parameters
        ----------
        shard_id : str
            The shard.
        model : str
            The model.

        Returns
        -------
        is_wanted : bool
            False where another driver has committed it meanwhile.
        """
        return (model, shard_id) in self._n_tries

    def settle(self, shard_id: str, model: str) -> None:
        """Forget a pair that is in the table.

        Parameters
        ----------
        shard_id : str
            The shard.
        model : str
            The model.
        """
        self._n_tries.pop((model, shard_id), None)

    def may_try_again(self, shard_id: str, model: str, loss: Loss) -> bool:
        """Judge a try that failed.

        Parameters
        ----------
        shard_id : str
            The shard.
        model : str
            The model; the pair is wanted.
        loss : WorkerLost or AttemptFailed
            How it failed. An accident is taken off again, up to `MAX_ACCIDENTS`.

        Returns
        -------
        may_try_again : bool
            False when it was the last try.
        """
        pair = model, shard_id
        if loss.is_accident and self._n_accidents[pair] < MAX_ACCIDENTS:
            self._n_accidents[pair] += 1
            self._n_tries[pair] -= 1
            return True
        return self._n_tries[pair] < MAX_ATTEMPTS

    def is_suspect(self, shard_id: str) -> bool:
        """Count a worker that was lost over a shard.

        Parameters
        ----------
        shard_id : str
            What it was decoding.

        Returns
        -------
        is_suspect : bool
            Whether the shard is to be searched now; that is so once.
        """
        self._n_losses[shard_id] += 1
        return self._n_losses[shard_id] == LOSSES_TO_BISECT

    def accuse(self, shard_id: str, crashed: tuple[Crash, ...], *, models: Iterable[str]) -> None:
        """Take what a search found; with the cause left out, tries start anew.

        Parameters
        ----------
        shard_id : str
            The shard.
        crashed : tuple of Crash
            Tracks that are left out from now on; none where nobody is to blame.
        models : iterable of str
            For which the shard waits.
        """
        if crashed:
            self._skips[shard_id] = crashed
            for model in models:
                self.settle(shard_id, model)

    def skip(self, shard_id: str) -> tuple[Crash, ...]:
        """Say what is to be left out of a shard.

        Parameters
        ----------
        shard_id : str
            The shard.

        Returns
        -------
        crashed : tuple of Crash
            Its tracks that kill their decoder, as far as known.
        """
        return self._skips.get(shard_id, ())
