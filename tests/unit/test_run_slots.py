"""Where models run: slots from cores and costs."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.errors import ConfigError
from embedlib.run.slots import MAJOR, MINOR, NEGLIGIBLE, Node, plan_decoders, plan_slots

nodes = st.lists(st.integers(1, 64), min_size=1, max_size=5).map(
    lambda cores: [Node(f"node{number}", n_cores) for number, n_cores in enumerate(cores)]
)
costs = st.dictionaries(st.text("abcdef", min_size=1), st.floats(0.01, 100), min_size=1, max_size=8)


@given(nodes, costs)
def test_every_node_serves_every_model(nodes: list[Node], costs: dict[str, float]) -> None:
    served = {(slot.node_id, slot.model) for slot in plan_slots(nodes, core_s=costs)}
    assert served == {(node.node_id, model) for node in nodes for model in costs}


@given(nodes, costs)
def test_the_slots_of_a_node_take_no_more_than_it_has(
    nodes: list[Node], costs: dict[str, float]
) -> None:
    slots = plan_slots(nodes, core_s=costs)
    for node in nodes:
        shares = [slot.share for slot in slots if slot.node_id == node.node_id]
        assert sum(shares) <= node.n_cores + 1e-6
        assert sum(shares) >= node.n_cores - NEGLIGIBLE * len(costs) - 1e-6


@given(nodes, costs)
def test_each_model_gets_its_part_in_proportion_to_its_cost(
    nodes: list[Node], costs: dict[str, float]
) -> None:
    slots = plan_slots(nodes, core_s=costs)
    for node, model in product(nodes, costs):
        share = sum(s.share for s in slots if (s.node_id, s.model) == (node.node_id, model))
        wanted = node.n_cores * costs[model] / sum(costs.values())
        assert wanted - NEGLIGIBLE - 1e-6 <= share <= wanted + 1e-6


@given(nodes, costs)
def test_slot_ids_are_unique(nodes: list[Node], costs: dict[str, float]) -> None:
    slots = plan_slots(nodes, core_s=costs)
    assert len({slot.slot_id for slot in slots}) == len(slots)


def test_models_share_cores_where_there_are_too_few() -> None:
    slots = plan_slots([Node("a", 2)], core_s=dict.fromkeys("wxyz", 1.0))
    assert [(slot.model, slot.share) for slot in slots] == [(name, 0.5) for name in "wxyz"]


def test_a_model_that_costs_nearly_all_gets_a_worker_on_each_core() -> None:
    slots = plan_slots([Node("a", 2)], core_s={"openl3": 0.061, "tempo": 0.0003})
    assert Counter(slot.model for slot in slots) == {"openl3": 2, "tempo": 1}


def test_small_slots_give_way_to_one_that_needs_nearly_a_core() -> None:
    slots = plan_slots([Node("a", 2)], core_s={"openl3": 0.48, "vgg": 0.3, "tempo": 0.22})
    assert {slot.model: slot.gives_way for slot in slots} == {
        "openl3": False,
        "vgg": False,
        "tempo": True,
    }


@given(nodes, costs)
def test_slots_give_way_only_to_one_of_their_node(
    nodes: list[Node], costs: dict[str, float]
) -> None:
    slots = plan_slots(nodes, core_s=costs)
    for node in nodes:
        there = [slot for slot in slots if slot.node_id == node.node_id]
        most = max(slot.share for slot in there)
        assert {slot.slot_id for slot in there if slot.gives_way} == {
            slot.slot_id for slot in there if slot.share < MINOR and most >= MAJOR
        }


def test_slots_of_a_card_take_turns() -> None:
    slots = plan_slots([Node("a", 8, n_gpus=1)], core_s={"m": 9.0, "n": 1.0}, device="cuda")
    assert not any(slot.gives_way for slot in slots)


def test_equal_costs_get_equal_shares() -> None:
    slots = plan_slots([Node("a", 6)], core_s={"m": 2.0, "n": 2.0, "o": 2.0})
    assert Counter(slot.model for slot in slots) == {"m": 2, "n": 2, "o": 2}


def test_models_share_the_cards_of_the_nodes_that_have_some() -> None:
    nodes = [Node("a", 8, n_gpus=1), Node("b", 8)]
    slots = plan_slots(nodes, core_s={"m": 3.0, "n": 1.0}, device="cuda")
    assert [(slot.node_id, slot.model, slot.share, slot.device) for slot in slots] == [
        ("a", "m", 0.75, "cuda"),
        ("a", "n", 0.25, "cuda"),
    ]


def test_no_card_is_refused_where_one_is_wanted() -> None:
    with pytest.raises(ConfigError, match="no node offers a GPU to Ray; start Ray with --num-gpus"):
        plan_slots([Node("a", 8)], core_s={"m": 1.0}, device="cuda")


@given(nodes, costs)
def test_every_node_decodes_with_one_worker_to_one_per_core(
    nodes: list[Node], costs: dict[str, float]
) -> None:
    n_decoders = Counter(plan_decoders(nodes, core_s=costs))
    assert all(1 <= n_decoders[node.node_id] <= node.n_cores for node in nodes)


def test_a_node_whose_models_run_elsewhere_decodes_on_all_cores() -> None:
    assert len(plan_decoders([Node("a", 32)], core_s={})) == 32


@given(nodes, costs)
def test_there_is_a_decode_worker_for_each_slot_of_the_dearest_model(
    nodes: list[Node], costs: dict[str, float]
) -> None:
    n_decoders = Counter(plan_decoders(nodes, core_s=costs))
    n_slots = Counter((slot.node_id, slot.model) for slot in plan_slots(nodes, core_s=costs))
    assert all(n_decoders[node_id] >= n for (node_id, _), n in n_slots.items())


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


def test_a_card_of_its_own_is_two_slots_for_a_model() -> None:
    slots = plan_slots([Node("a", 8, n_gpus=2)], core_s={"m": 1.0}, device="cuda")
    assert [slot.share for slot in slots] == [0.5] * 4
    assert len({slot.slot_id for slot in slots}) == 4


def test_models_that_share_a_card_have_one_slot_each() -> None:
    slots = plan_slots([Node("a", 8, n_gpus=1)], core_s={"m": 3.0, "n": 1.0}, device="cuda")
    assert [(slot.model, slot.share) for slot in slots] == [("m", 0.75), ("n", 0.25)]


def test_a_card_is_not_split_among_more_workers_than_a_model_may_have() -> None:
    slots = plan_slots([Node("a", 8, n_gpus=1)], core_s={"m": 1.0}, device="cuda", room={"m": 1})
    assert [slot.share for slot in slots] == [1.0]
