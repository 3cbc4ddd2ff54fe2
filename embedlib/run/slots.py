"""Where models run: from what nodes offer and what models cost to slots. Pure.

Each model gets its part of a node in proportion to what it costs: as many whole cores (or cards)
as that makes, each a slot of its own, and one more slot for the rest. Slots that are whole are
pinned; the others share the node as its system sees fit, which keeps every core busy as long as
one model has a queue.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from embedlib.errors import ConfigError

DECODE_CORE_S = 0.0025
"""Core seconds per second of audio for decoding, resampling and all mel front ends: measured on
an mp3 on one core of 2026, 1.1 ms of it decoding."""

WORKERS_PER_CARD = 2
"""While one prepares its next batch, the other one computes: a card that one model has to itself is
two slots."""

NEGLIGIBLE = 0.1
"""A rest of a share below this is no worker of its own where the model has whole slots."""

MINOR, MAJOR = 0.5, 0.75
"""A slot below the first gives way where its node has one from the second on. All eight models on
two cores: OpenL3 needs 0.96 of one; it got 0.76 from even turns while a core stood still for 0.2 of
the time, and 0.84 with nothing still when the others gave way (Linux 6.18, medians of 24 s)."""


@dataclass(frozen=True, slots=True)
class Node:
    """What one machine offers.

    Attributes
    ----------
    node_id : str
        Of the cluster, or a name.
    n_cores : int > 0
        Cores that the run may use.
    n_gpus : int >= 0
        Cards that the run may use.
    name : str
        What people call it, as far as known.
    """

    node_id: str
    n_cores: int
    n_gpus: int = 0
    name: str = ""

    def __str__(self) -> str:
        """Name it for people: host names need not be unique."""
        return f"{self.name}:{self.node_id[:8]}" if self.name else self.node_id

    def offers(self, device: str) -> bool:
        """Say whether models can run here on a device.

        Parameters
        ----------
        device : {'cpu', 'cuda'}
            The device.

        Returns
        -------
        offers : bool
            Every node has cores; not every one has cards.
        """
        return device == "cpu" or self.n_gpus > 0


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one model: a core or card of a node, or a share of them.

    Attributes
    ----------
    slot_id : str
        Unique in a run.
    node_id : str
        Where.
    model : str
        Which model lives there.
    share : float
        1 for a core or card of its own; less where slots share them.
    device : {'cpu', 'cuda'}
        What is shared.
    gives_way : bool
        Whether it runs where other slots leave cores idle: one of these needs nearly a core, and
        would be the last to end if it had to take turns.
    """

    slot_id: str
    node_id: str
    model: str
    share: float
    device: str = "cpu"
    gives_way: bool = False


def plan_slots(
    nodes: Sequence[Node],
    *,
    core_s: Mapping[str, float],
    device: str = "cpu",
    n_least: int = 1,
    room: Mapping[str, int] | None = None,
) -> tuple[Slot, ...]:
    """Share what each node offers among the models in proportion to their costs.

    Parameters
    ----------
    nodes : sequence of Node
        The machines.
    core_s : mapping of str to float
        Seconds that each model needs per second of audio; only ratios matter.
    device : {'cpu', 'cuda'}
        What models run on; nodes without a card get no slot on ``cuda``.
    n_least : int > 0
        Slots of each model on each node: what it gets there is split, if need be.
    room : mapping of str to int >= 0, optional
        Most slots of a model over all nodes, where there is a limit. What it leaves over goes to
        the other models.

    Returns
    -------
    slots : tuple of Slot
        Each node that has the device serves each model that has room; its shares add up to at most
        what it has.

    Raises
    ------
    ConfigError
        If there is no node, no model, no card where one is wanted, or a node without cores.

    Examples
    --------
    >>> slots = plan_slots([Node("a", 4)], core_s={"big": 2.6, "small": 1.4})
    >>> [(slot.model, round(slot.share, 2)) for slot in slots]
    [('big', 1.0), ('big', 1.0), ('big', 0.6), ('small', 1.0), ('small', 0.4)]
    """
    if not nodes or not core_s:
        raise ConfigError(
            f"{len(nodes)} nodes and {len(core_s)} models make no slot",
            fix="name at least one model, and start Ray on at least one node",
        )
    require_device(nodes, device=device)
    slots: list[Slot] = []
    left = Counter(room)
    for node in nodes:
        limits = {model: left[model] for model in room or ()}
        slots += (there := [*_node_slots(node, core_s, device, n_least, limits)])
        left.subtract(slot.model for slot in there)
    return tuple(slots)


def require_device(nodes: Sequence[Node], *, device: str) -> None:
    """Refuse nodes of which none has the device.

    Parameters
    ----------
    nodes : sequence of Node
        The machines.
    device : {'cpu', 'cuda'}
        What models run on.

    Raises
    ------
    ConfigError
        If there are nodes, but no card where one is wanted.
    """
    if nodes and not any(node.offers(device) for node in nodes):
        raise ConfigError(
            "no node offers a GPU to Ray", fix="start Ray with --num-gpus, or take device=cpu"
        )


def plan_decoders(nodes: Sequence[Node], *, core_s: Mapping[str, float]) -> tuple[str, ...]:
    """Say where decode workers run: as many per node as keep its models fed.

    Parameters
    ----------
    nodes : sequence of Node
        The machines.
    core_s : mapping of str to float
        Seconds that each model needs per second of audio; none where models run on a GPU.

    Returns
    -------
    node_ids : tuple of str
        One per decode worker: at least one and at most one per core on each node. A worker has
        one shard at a time, and a shard one slot of each model: with fewer decode workers than
        slots of the dearest model, some of these would have nothing to do.

    Examples
    --------
    >>> plan_decoders([Node("a", 2)], core_s={"openl3": 0.06, "vgg": 0.008})
    ('a', 'a')
    >>> plan_decoders([Node("a", 8)], core_s={"openl3": 0.06, "vgg": 0.02})
    ('a', 'a', 'a', 'a', 'a', 'a')
    """
    return tuple(node.node_id for node in nodes for _ in range(_n_decoders(node, core_s)))


def _n_decoders(node: Node, core_s: Mapping[str, float]) -> int:
    total = sum(core_s.values())
    n_busy = math.ceil(node.n_cores * DECODE_CORE_S / (DECODE_CORE_S + total))
    n_slots = (len(_shares(node.n_cores * cost / total)) for cost in core_s.values())
    return min(node.n_cores, max(1, n_busy, *n_slots))


def _node_slots(
    node: Node, core_s: Mapping[str, float], device: str, n_least: int, room: Mapping[str, int]
) -> Iterator[Slot]:
    if node.n_cores < 1:
        raise ConfigError(f"node {node.node_id} has n_cores={node.n_cores}", fix="give it one")
    n_units = node.n_cores if device == "cpu" else node.n_gpus
    shares: dict[str, list[float]] = {}
    for model, units in _divide(n_units, core_s, room).items():
        shares[model] = _shares(units, min(n_least, room.get(model, n_least)))
        if device == "cuda":
            shares[model] = _in_parts(shares[model], most=room.get(model))
    has_major = device == "cpu" and any(share >= MAJOR for share in chain(*shares.values()))
    for model, parts in shares.items():
        for number, share in enumerate(parts):
            slot_id = f"{node.node_id}/{model}/{number}"
            gives_way = has_major and share < MINOR
            yield Slot(slot_id, node.node_id, model, share, device, gives_way)


def _divide(n_units: int, core_s: Mapping[str, float], room: Mapping[str, int]) -> dict[str, float]:
    """Give each model its part, but no more than its room; the others get what that leaves."""
    full: dict[str, float] = {}
    while True:
        total = sum(cost for model, cost in core_s.items() if model not in full)
        rest = n_units - sum(full.values())
        units = {
            model: full[model] if model in full else rest * cost / total
            for model, cost in core_s.items()
        }
        too_many = {
            model: float(n_slots)
            for model, n_slots in room.items()
            if model in units and len(_shares(units[model])) > n_slots
        }
        if not too_many:
            return units
        full |= too_many


def _in_parts(shares: list[float], *, most: int | None) -> list[float]:
    """Split whole cards among several workers each, as far as there may be so many."""
    n_more = (WORKERS_PER_CARD - 1) * shares.count(1.0)
    if most is not None and len(shares) + n_more > most:
        return shares
    parts = {share: WORKERS_PER_CARD if share == 1.0 else 1 for share in shares}
    return [share / parts[share] for share in shares for _ in range(parts[share])]


def _shares(units: float, n_least: int = 1) -> list[float]:
    """Split what a model gets of a node into whole slots and a rest."""
    n_whole = math.floor(units + 1e-9)
    rest = units - n_whole
    is_slot = rest > NEGLIGIBLE or (n_whole == 0 and units > 0)
    shares = [1.0] * n_whole + [rest] * is_slot
    return shares if len(shares) >= n_least or not shares else [units / n_least] * n_least
