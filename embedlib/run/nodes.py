"""Which nodes a run may use, and what became of the others: a record without I/O.

A node joins, proves itself (see `proof`) and carries workers until it leaves. One that fails its
proof stays refused for the rest of the run. Ids are never used twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedlib.run.slots import Node

NODE_WAIT_S = 300.0
"""How long a run waits for a node when it has none: a cloud gives a new machine in less."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from one look at the cluster to the next.

    Attributes
    ----------
    joined : tuple of Node
        Nodes that were not there.
    left : tuple of Node
        Nodes that are no longer alive, but for those that were refused.
    """

    joined: tuple[Node, ...]
    left: tuple[Node, ...]


class Membership:
    """The nodes of one run.

    Examples
    --------
    >>> members = Membership()
    >>> [node.node_id for node in members.look([Node("a", 2), Node("b", 2)]).joined]
    ['a', 'b']
    >>> members.refuse("b", "it has another disk")
    >>> [node.node_id for node in members.look([]).left]
    ['a']
    """

    def __init__(self) -> None:
        self._alive: dict[str, Node] = {}
        self._carrying: set[str] = set()
        self._refused: dict[str, str] = {}
        self._has_carried = False
        self._empty_since_s: float | None = None

    def look(self, alive: Sequence[Node]) -> Change:
        """Take the nodes that are alive now.

        Parameters
        ----------
        alive : sequence of Node
            All of them, refused ones included.

        Returns
        -------
        change : Change
            Against the last look.
        """
        now = {node.node_id: node for node in alive}
        before, self._alive = self._alive, now
        gone = [node for node_id, node in before.items() if node_id not in now]
        self._carrying.difference_update(node.node_id for node in gone)
        return Change(
            joined=tuple(node for node_id, node in now.items() if node_id not in before),
            left=tuple(node for node in gone if node.node_id not in self._refused),
        )

    def carry(self, node_id: str) -> None:
        """Note that model workers are placed on a node.

        Parameters
        ----------
        node_id : str
            A node that has proved itself.
        """
        self._carrying.add(node_id)
        self._has_carried = True

    def refuse(self, node_id: str, reason: str) -> None:
        """Give a node no work for the rest of the run.

        Parameters
        ----------
        node_id : str
            The node.
        reason : str
            Why, in one line that names the node.
        """
        self._refused[node_id] = reason
        self._carrying.discard(node_id)

    def is_usable(self, node_id: str) -> bool:
        """Say whether a node is alive and not refused.

        Parameters
        ----------
        node_id : str
            The node.

        Returns
        -------
        is_usable : bool
            Whether a worker there may live.
        """
        return node_id in self._alive and node_id not in self._refused

    @property
    def usable(self) -> tuple[Node, ...]:
        """Nodes that are alive and not refused, in the order in which they joined."""
        return tuple(node for node_id, node in self._alive.items() if self.is_usable(node_id))

    @property
    def carrying(self) -> tuple[Node, ...]:
        """Nodes with model workers, in the order in which they joined."""
        return tuple(node for node_id, node in self._alive.items() if node_id in self._carrying)

    def refusal(self) -> str:
        """Say why no node will do.

        Returns
        -------
        reason : str
            The first refusal when every node that is alive was refused and none has carried a
            worker yet; else empty, for another one may come.
        """
        if self._has_carried:
            return ""
        reasons = [self._refused.get(node_id, "") for node_id in self._alive]
        return reasons[0] if reasons and all(reasons) else ""

    def waiting_s(self, now_s: float) -> float:
        """Say for how long no node has carried a worker; to be called at each look.

        Parameters
        ----------
        now_s : float
            Time of a clock that only goes forward.

        Returns
        -------
        waiting_s : float
            0 while there is one, and at the first look without one.
        """
        if self._carrying:
            self._empty_since_s = None
            return 0.0
        if self._empty_since_s is None:
            self._empty_since_s = now_s
        return now_s - self._empty_since_s
