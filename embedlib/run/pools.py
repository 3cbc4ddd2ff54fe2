"""How many workers each model has, and when that is worth a change. Pure.

A pool is all workers of one model over the cluster. Nodes are shared in proportion to what is left
to compute: when the work of one model runs out, its cores go to the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedlib.run.slots import Node, Slot, plan_slots

MIN_GAIN = 1.25
"""Times as long as with the best pools that a run must take before pools are changed."""

MIN_GAIN_S = 30.0
"""Seconds that a change must save: a worker starts in seconds, and its first model is loaded."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many workers a model may have.

    Attributes
    ----------
    n_min : int > 0
        At least so many, while it has work: nodes that are shared give it several small parts.
    n_max : int > 0 or None
        At most so many over the cluster, not less than `n_min`; None for no limit.
    """

    n_min: int = 1
    n_max: int | None = None


@dataclass(frozen=True, slots=True)
class Moves:
    """What is to change.

    Attributes
    ----------
    end : tuple of str
        Workers that have no place any more.
    start : tuple of Slot
        Places for new ones.
    """

    end: tuple[str, ...] = ()
    start: tuple[Slot, ...] = ()


def weights(core_s: Mapping[str, float], to_embed: Mapping[str, int]) -> dict[str, float]:
    """Weigh the costs of models by what each has still to do.

    Parameters
    ----------
    core_s : mapping of str to float
        Seconds that each model needs per second of audio.
    to_embed : mapping of str to int
        Shards that are left for each.

    Returns
    -------
    weights : dict of str to float
        Of the models that have work: the cost of one with the most shards, of others a part of it.

    Examples
    --------
    >>> weights({"big": 0.06, "small": 0.02, "done": 0.01}, {"big": 10, "small": 5})
    {'big': 0.06, 'small': 0.01}
    """
    most = max(to_embed.values(), default=0)
    return {
        model: cost * to_embed[model] / most
        for model, cost in core_s.items()
        if to_embed.get(model, 0) > 0
    }


def plan_pools(
    nodes: Sequence[Node],
    *,
    weights: Mapping[str, float],
    limits: PoolLimits,
    device: str = "cpu",
    present: Sequence[Slot] = (),
    n_nodes: int | None = None,
) -> tuple[Slot, ...]:
    """Share nodes among models.

    Parameters
    ----------
    nodes : sequence of Node
        Nodes to be shared.
    weights : mapping of str to float
        What is left to compute for each model that has work; only ratios matter.
    limits : PoolLimits
        Over the cluster.
    device : {'cpu', 'cuda'}
        What models run on.
    present : sequence of Slot
        Slots on other nodes, which count for the limits.
    n_nodes : int > 0, optional
        Nodes of the cluster, where these are not all.

    Returns
    -------
    slots : tuple of Slot
        None where there is no node with the device or no model.

    Examples
    --------
    >>> nodes, limits = [Node("a", 2), Node("b", 2)], PoolLimits(n_max=3)
    >>> slots = plan_pools(nodes, weights={"m": 1.0}, limits=limits)
    >>> [slot.slot_id for slot in slots]
    ['a/m/0', 'a/m/1', 'b/m/0']
    """
    nodes = [node for node in nodes if node.offers(device)]
    if not nodes or not weights:
        return ()
    n_least = math.ceil(limits.n_min / (n_nodes or len(nodes)))
    taken = Counter(slot.model for slot in present)
    room = {} if limits.n_max is None else {m: max(0, limits.n_max - taken[m]) for m in weights}
    return plan_slots(nodes, core_s=weights, device=device, n_least=n_least, room=room)


def left_s(slots: Sequence[Slot], need_s: Mapping[str, float]) -> float:
    """Say when the last model is through.

    Parameters
    ----------
    slots : sequence of Slot
        All workers.
    need_s : mapping of str to float
        Core seconds that each model needs.

    Returns
    -------
    left_s : float
        Seconds; infinite where a model with work has no worker.

    Examples
    --------
    >>> left_s([Slot("s", "a", "m", 0.5)], {"m": 10.0})
    20.0
    """
    units: Counter[str] = Counter()
    for slot in slots:
        units[slot.model] += slot.share  # type: ignore[assignment]
    ends_s = [
        need / units[model] if units[model] else math.inf for model, need in need_s.items() if need
    ]
    return max(ends_s, default=0.0)


def plan_moves(
    present: Mapping[str, Slot], wanted: Sequence[Slot], *, need_s: Mapping[str, float]
) -> Moves:
    """Say how to come from the workers that are there to those that are wanted.

    Parameters
    ----------
    present : mapping of str to Slot
        The place of each worker.
    wanted : sequence of Slot
        The places that there should be.
    need_s : mapping of str to float
        Core seconds that each model needs.

    Returns
    -------
    moves : Moves
        As few as lead there; none at all where they would not save enough.
    """
    now_s, then_s = left_s([*present.values()], need_s), left_s(wanted, need_s)
    if now_s < MIN_GAIN * then_s or now_s - then_s < MIN_GAIN_S:
        return Moves()
    stay: dict[str, Slot] = {}
    missing = list(wanted)
    for fits in (_fits, _is_like):
        for worker_id, slot in present.items():
            places = [] if worker_id in stay else [place for place in missing if fits(slot, place)]
            if places and _is_room(slot, places[0], [*stay.values(), *missing], wanted):
                stay[worker_id] = slot
                missing.remove(places[0])
    return Moves(tuple(name for name in present if name not in stay), tuple(missing))


def _fits(slot: Slot, place: Slot) -> bool:
    """Whether a worker may stay for a place: a smaller part of a core will do for a larger one."""
    is_smaller = slot.share <= place.share and _is_like(slot, place)
    return is_smaller or (*_home(slot), slot.share) == (*_home(place), place.share)


def _is_like(slot: Slot, place: Slot) -> bool:
    """Whether both are parts of cores of one node, for one model."""
    return _home(slot) == _home(place) and slot.share < 1.0 and place.share < 1.0


def _home(slot: Slot) -> tuple[str, str]:
    return slot.node_id, slot.model


def _is_room(slot: Slot, place: Slot, others: Sequence[Slot], wanted: Sequence[Slot]) -> bool:
    """Whether a node holds a worker that is larger than its place, with all others."""
    node_id = slot.node_id
    n_units = math.ceil(sum(each.share for each in wanted if each.node_id == node_id) - 1e-9)
    used = sum(each.share for each in others if each.node_id == node_id)
    return slot.share <= place.share or used - place.share + slot.share <= n_units + 1e-9


def wanted_units(to_embed: Mapping[str, int], *, limit: int) -> int:
    """Say how many cores, or cards, the work that is left can use.

    Parameters
    ----------
    to_embed : mapping of str to int
        Shards that are left for each model.
    limit : int > 0
        Never more than these.

    Returns
    -------
    n_units : int
        One for each shard and model.

    Examples
    --------
    >>> wanted_units({"m": 3, "n": 4}, limit=64), wanted_units({"m": 3000}, limit=64)
    (7, 64)
    """
    return min(limit, sum(to_embed.values()))
