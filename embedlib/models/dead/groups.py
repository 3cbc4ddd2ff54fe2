"""Filters that stand and fall together, and what becomes of each.

An element-wise sum of two tensors ties their channels: a channel can be left out of both or of
none. A layer that reads channels can do without those that are constants; any other reader that
is not understood, and a wanted output, need theirs.
"""

from __future__ import annotations

import numpy as np

from embedlib.models.dead.facts import Bool, Facts, Ints


class Groups:
    """The filters of a graph, by id, and who reads them.

    Parameters
    ----------
    tolerance : float >= 0
        Largest radius of a constant.
    """

    def __init__(self, *, tolerance: float) -> None:
        self.tolerance = tolerance
        self._parents: list[int] = []
        self._moving: set[int] = set()
        self._alive: set[int] = set()
        self._held: dict[int, str] = {}

    def new(self, n_filters: int) -> Ints:
        """Give filters of a new layer their ids.

        Parameters
        ----------
        n_filters : int > 0
            How many.

        Returns
        -------
        ids : np.ndarray [shape=(n_filters,), int64]
            Never given before.
        """
        first = len(self._parents)
        self._parents.extend(range(first, first + n_filters))
        return np.arange(first, first + n_filters)

    def read(self, facts: Facts) -> None:
        """Note that a layer reads a tensor, which can do without its constants.

        Parameters
        ----------
        facts : Facts
            Of the tensor.
        """
        self._moving.update(self._note(facts))

    def hold(self, facts: Facts, reason: str) -> None:
        """Note that all channels of a tensor are needed.

        Parameters
        ----------
        facts : Facts
            Of the tensor.
        reason : str
            What needs them.
        """
        self._note(facts)
        for index in facts.ids.tolist():
            self._held.setdefault(index, reason)

    def tie(self, *tensors: Facts) -> Ints:
        """Note that the channels of tensors go together.

        Parameters
        ----------
        *tensors : Facts
            With as many channels each.

        Returns
        -------
        ids : np.ndarray [shape=(n_channels,), int64]
            For what is made of them: new ones, unless all come from the same filters.
        """
        first, *others = tensors
        if all(np.array_equal(first.ids, other.ids) for other in others):
            return first.ids
        ids = self.new(len(first.ids))
        for tensor in tensors:
            self._note(tensor)
            for index, other in zip(ids.tolist(), tensor.ids.tolist(), strict=True):
                self._parents[self._root(other)] = self._root(index)
        return ids

    def settle(self, layers: list[Ints]) -> tuple[Bool, Bool]:
        """Decide what is dead, and what of it can go.

        Parameters
        ----------
        layers : list of np.ndarray
            Ids of the filters of each layer, which keeps at least one.

        Returns
        -------
        dead, gone : np.ndarray [bool]
            By id.
        """
        kept = {self._root(index) for index in self._moving | set(self._held)}
        for ids in layers:
            roots = [self._root(index) for index in ids.tolist()]
            if kept.isdisjoint(roots):
                kept.add(roots[0])  # no runtime is made for a layer without filters
        everyone = range(len(self._parents))
        dead = np.array([index not in self._alive for index in everyone], np.bool_)
        return dead, np.array([self._root(index) not in kept for index in everyone], np.bool_)

    def reason(self, index: int) -> str:
        """Say why a dead filter stays.

        Parameters
        ----------
        index : int
            Its id.

        Returns
        -------
        reason : str
            One line.
        """
        root = self._root(index)
        reasons = (text for held, text in self._held.items() if self._root(held) == root)
        if text := next(reasons, ""):
            return text
        if any(self._root(moving) == root for moving in self._moving):
            return "added to a filter that lives"
        return "a layer needs a filter"

    def _note(self, facts: Facts) -> list[int]:
        """Note which filters move where they are read."""
        if facts.axis is None:
            return []
        moving: list[int] = facts.ids[~facts.is_constant(self.tolerance)].tolist()
        self._alive.update(moving)
        return moving

    def _root(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index
