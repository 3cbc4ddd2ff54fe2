"""Where models run: slots from cores and costs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.errors import ConfigError
from embedlib.run.slots import Node, plan_slots

nodes = st.lists(st.integers(1, 64), min_size=1, max_size=5).map(
    lambda cores: [Node(f"node{number}", n_cores) for number, n_cores in enumerate(cores)]
)
costs = st.dictionaries(st.text("abcdef", min_size=1), st.floats(0.01, 100), min_size=1, max_size=8)


@given(nodes, costs)
def test_every_node_serves_every_model(nodes: list[Node], costs: dict[str, float]) -> None:
    served = {(slot.node_id, slot.model) for slot in plan_slots(nodes, core_s=costs)}
    assert served == {(node.node_id, model) for node in nodes for model in costs}


@given(nodes, costs)
def test_the_slots_of_a_node_take_all_its_cores_and_no_more(
    nodes: list[Node], costs: dict[str, float]
) -> None:
    slots = plan_slots(nodes, core_s=costs)
    for node in nodes:
        shares = [slot.core_share for slot in slots if slot.node_id == node.node_id]
        assert sum(shares) == pytest.approx(node.n_cores)
        assert len(shares) == max(node.n_cores, len(costs))


@given(nodes, costs)
def test_slot_ids_are_unique(nodes: list[Node], costs: dict[str, float]) -> None:
    slots = plan_slots(nodes, core_s=costs)
    assert len({slot.slot_id for slot in slots}) == len(slots)


@given(st.integers(1, 64), costs)
def test_no_other_share_of_cores_would_end_sooner(n_cores: int, costs: dict[str, float]) -> None:
    slots = plan_slots([Node("a", max(n_cores, len(costs)))], core_s=costs)
    n_slots = Counter(slot.model for slot in slots)
    slowest = max(costs[model] / n_slots[model] for model in costs)
    # To help the slowest, another model must give a core: it would then be no faster.
    givers = [model for model in costs if n_slots[model] > 1]
    assert all(costs[model] / (n_slots[model] - 1) >= slowest * (1 - 1e-9) for model in givers)


def test_models_share_cores_where_there_are_too_few() -> None:
    slots = plan_slots([Node("a", 2)], core_s=dict.fromkeys("wxyz", 1.0))
    assert [(slot.model, slot.core_share) for slot in slots] == [(name, 0.5) for name in "wxyz"]


def test_equal_costs_get_equal_shares() -> None:
    slots = plan_slots([Node("a", 6)], core_s={"m": 2.0, "n": 2.0, "o": 2.0})
    assert Counter(slot.model for slot in slots) == {"m": 2, "n": 2, "o": 2}


@pytest.mark.parametrize(
    ("nodes", "costs", "words"),
    [
        ([], {"m": 1.0}, "0 nodes and 1 models"),
        ([Node("a", 1)], {}, "1 nodes and 0 models"),
        ([Node("a", 0)], {"m": 1.0}, "node a has n_cores=0"),
    ],
)
def test_nothing_to_share_is_refused(
    nodes: list[Node], costs: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_slots(nodes, core_s=costs)
