"""Parts that are written but not yet in a table."""

from __future__ import annotations

from embedlib.records import PartResult
from embedlib.run.events import Commit


class Outbox:
    """The parts of each model; one commit per model is under way at a time."""

    def __init__(self) -> None:
        self._ready: dict[str, list[PartResult]] = {}
        self._committing: dict[str, tuple[PartResult, ...]] = {}

    def __len__(self) -> int:
        return sum(map(len, (*self._ready.values(), *self._committing.values())))

    def put(self, part: PartResult) -> None:
        """Take a part that was written.

        Parameters
        ----------
        part : PartResult
            The first of its shard and model.
        """
        self._ready.setdefault(part.model, []).append(part)

    def commit(self) -> list[Commit]:
        """Commit what is there, all parts of a model at once.

        Returns
        -------
        actions : list of Commit
            None for models whose last commit is not settled.
        """
        models = [model for model in self._ready if model not in self._committing]
        for model in models:
            self._committing[model] = tuple(self._ready.pop(model))
        return [Commit(model, self._committing[model]) for model in models]

    def settle(self, model: str) -> None:
        """Learn that the commit of a model is settled.

        Parameters
        ----------
        model : str
            Any; another driver may have committed as well.
        """
        self._committing.pop(model, None)
