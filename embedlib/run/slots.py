"""Where models run: from what nodes offer and what models cost to slots. Pure.

Each model gets its part of a node in proportion to what it costs: as many whole cores (or cards)
as that makes, each a slot of its own, and one more slot for the rest. Slots that are whole are
pinned; the others share the node as its system sees fit, which keeps every core busy as long as
one model has a queue.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from embedlib.errors import ConfigError

DECODE_CORE_S = 0.0025
"""Core seconds per second of audio for decoding, resampling and all mel front ends: measured on
an mp3 on one core of 2026, 1.1 ms of it decoding."""

NEGLIGIBLE = 0.1
"""A rest of a share below this is no worker of its own where the model has whole slots."""


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
    """

    node_id: str
    n_cores: int
    n_gpus: int = 0


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
    """

    slot_id: str
    node_id: str
    model: str
    share: float
    device: str = "cpu"


def plan_slots(
    nodes: Sequence[Node], *, core_s: Mapping[str, float], device: str = "cpu"
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

    Returns
    -------
    slots : tuple of Slot
        Each node that has the device serves each model; its shares add up to at most what it has.

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
    slots = tuple(slot for node in nodes for slot in _node_slots(node, core_s, device))
    if not slots:
        raise ConfigError(
            "no node offers a GPU to Ray", fix="start Ray with --num-gpus, or take device=cpu"
        )
    return slots


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
        One per decode worker: at least one and at most one per core on each node.

    Examples
    --------
    >>> plan_decoders([Node("a", 2)], core_s={"openl3": 0.06, "vgg": 0.008})
    ('a',)
    """
    part = DECODE_CORE_S / (DECODE_CORE_S + sum(core_s.values()))
    return tuple(
        node.node_id for node in nodes for _ in range(max(1, math.ceil(node.n_cores * part)))
    )


def _node_slots(node: Node, core_s: Mapping[str, float], device: str) -> Iterator[Slot]:
    if node.n_cores < 1:
        raise ConfigError(f"node {node.node_id} has n_cores={node.n_cores}", fix="give it one")
    n_units = node.n_cores if device == "cpu" else node.n_gpus
    total = sum(core_s.values())
    for model, cost in core_s.items():
        for number, share in enumerate(_shares(n_units * cost / total)):
            slot_id = f"{node.node_id}/{model}/{number}"
            yield Slot(slot_id, node.node_id, model, share, device)


def _shares(units: float) -> list[float]:
    """Split what a model gets of a node into whole slots and a rest."""
    n_whole = math.floor(units + 1e-9)
    rest = units - n_whole
    is_slot = rest > NEGLIGIBLE or (n_whole == 0 and units > 0)
    return [1.0] * n_whole + [rest] * is_slot
