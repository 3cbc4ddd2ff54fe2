"""Where models run: from the cores of the nodes and the models' costs to slots. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedlib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Node:
    """What one machine offers.

    Attributes
    ----------
    node_id : str
        Of the cluster, or a name.
    n_cores : int > 0
        Cores that the run may use.
    """

    node_id: str
    n_cores: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one model: one core of a node, or a share of one.

    Attributes
    ----------
    slot_id : str
        Unique in a run.
    node_id : str
        Where.
    model : str
        Which model lives there.
    core_share : float
        1 for a core of its own; less where models outnumber cores.
    """

    slot_id: str
    node_id: str
    model: str
    core_share: float


def plan_slots(nodes: Sequence[Node], *, core_s: Mapping[str, float]) -> tuple[Slot, ...]:
    """Share the cores of each node among the models in proportion to their costs.

    Parameters
    ----------
    nodes : sequence of Node
        The machines.
    core_s : mapping of str to float
        Core seconds that each model needs per second of audio; only ratios matter.

    Returns
    -------
    slots : tuple of Slot
        Each node serves each model: with at least one core of its own where there are as many
        cores as models, else with an equal share of the cores.

    Raises
    ------
    ConfigError
        If there is no node, no model, or a node without cores.

    Examples
    --------
    >>> [slot.model for slot in plan_slots([Node("a", 4)], core_s={"big": 3.0, "small": 1.0})]
    ['big', 'big', 'big', 'small']
    """
    if not nodes or not core_s:
        raise ConfigError(
            f"{len(nodes)} nodes and {len(core_s)} models make no slot",
            fix="name at least one model, and start Ray on at least one node",
        )
    return tuple(
        Slot(f"{node.node_id}/{model}/{number}", node.node_id, model, share)
        for node in nodes
        for model, n_cores, share in _share_cores(node, core_s)
        for number in range(n_cores)
    )


def _share_cores(node: Node, core_s: Mapping[str, float]) -> list[tuple[str, int, float]]:
    """Say how many slots each model has on a node, and how much of a core each is."""
    if node.n_cores < 1:
        raise ConfigError(f"node {node.node_id} has n_cores={node.n_cores}", fix="give it one")
    if node.n_cores < len(core_s):
        return [(model, 1, node.n_cores / len(core_s)) for model in core_s]
    n_slots = dict.fromkeys(core_s, 1)
    for _ in range(node.n_cores - len(core_s)):
        neediest = max(core_s, key=lambda model: core_s[model] / n_slots[model])
        n_slots[neediest] += 1
    return [(model, n_slots[model], 1.0) for model in core_s]
