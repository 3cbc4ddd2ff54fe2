"""Pools: who gets the nodes, and when it is worth to move workers."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.run.pools import Moves, PoolLimits, left_s, plan_moves, plan_pools, weights
from embedlib.run.slots import Node, Slot

CORE_S = {"big": 0.06, "small": 0.02}

nodes = st.lists(st.integers(1, 32), min_size=1, max_size=5).map(
    lambda cores: [Node(f"node{number}", n_cores) for number, n_cores in enumerate(cores)]
)
needs = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 100), min_size=1)


def pools(
    nodes: list[Node], need: dict[str, float], limits: PoolLimits | None = None
) -> dict[str, Slot]:
    slots = plan_pools(nodes, weights=need, limits=limits or PoolLimits())
    return {f"w{number}": slot for number, slot in enumerate(slots)}


def after(present: dict[str, Slot], moves: Moves) -> list[Slot]:
    stay = [slot for worker_id, slot in present.items() if worker_id not in moves.end]
    return [*stay, *moves.start]


def test_cores_of_a_model_that_is_done_go_to_the_other() -> None:
    present = pools([Node("a", 4)], CORE_S)
    need_s = {"big": 1000.0}
    wanted = plan_pools([Node("a", 4)], weights=weights(CORE_S, {"big": 9}), limits=PoolLimits())
    moves = plan_moves(present, wanted, need_s=need_s)
    assert {present[worker_id].model for worker_id in moves.end} == {"small"}
    assert [(slot.model, slot.share) for slot in moves.start] == [("big", 1.0)]


@given(nodes, needs, needs)
def test_moves_lead_to_pools_that_fit_and_serve_every_model_with_work(
    nodes: list[Node], before: dict[str, float], need: dict[str, float]
) -> None:
    present = pools(nodes, before)
    need_s = {model: 1e6 * cost for model, cost in need.items()}
    wanted = [*pools(nodes, need).values()]
    found = after(present, plan_moves(present, wanted, need_s=need_s))
    shares = Counter[str]()
    for slot in found:
        shares[slot.node_id] += slot.share  # type: ignore[assignment]
    assert all(shares[node.node_id] <= node.n_cores + 1e-6 for node in nodes)
    assert left_s(found, need_s) < math.inf


@given(nodes, needs)
def test_pools_that_fit_the_work_are_left_alone(nodes: list[Node], need: dict[str, float]) -> None:
    present = pools(nodes, need)
    need_s = {model: 1e6 * cost for model, cost in need.items()}
    assert plan_moves(present, [*present.values()], need_s=need_s) == Moves()


@pytest.mark.parametrize(
    ("need_s", "why"),
    [({"big": 40.0}, "the end is near"), ({"big": 1e6, "small": 4e5}, "the gain is small")],
)
def test_small_gains_are_not_worth_a_start(need_s: dict[str, float], why: str) -> None:
    present = pools([Node("a", 8)], CORE_S)
    wanted = [*pools([Node("a", 8)], need_s).values()]
    assert plan_moves(present, wanted, need_s=need_s) == Moves(), why


def test_a_worker_is_not_made_anew_for_a_smaller_part_of_a_core() -> None:
    present = pools([Node("a", 2)], {"big": 1.8, "small": 0.2})
    wanted = [*pools([Node("a", 2)], {"big": 1.9, "small": 0.1}).values()]
    assert plan_moves(present, wanted, need_s={"big": 1e9, "small": 1.0}) == Moves()


def test_a_model_with_work_and_no_worker_gets_one_however_little_that_gains() -> None:
    present = pools([Node("a", 2)], {"big": 1.0})
    wanted = [*pools([Node("a", 2)], CORE_S).values()]
    moves = plan_moves(present, wanted, need_s={"big": 1.0, "small": 0.1})
    assert "small" in {slot.model for slot in moves.start}


@given(nodes, needs, st.integers(1, 12))
def test_no_pool_passes_its_limit_and_the_rest_is_used_by_others(
    nodes: list[Node], need: dict[str, float], n_max: int
) -> None:
    found = pools(nodes, need, PoolLimits(n_max=n_max)).values()
    counts = Counter(slot.model for slot in found)
    assert all(1 <= counts[model] <= n_max for model in need)
    assert sum(slot.share for slot in found) <= sum(node.n_cores for node in nodes) + 1e-6


@given(nodes, needs, st.integers(1, 12))
def test_every_model_with_work_has_its_least_number_of_workers(
    nodes: list[Node], need: dict[str, float], n_min: int
) -> None:
    found = pools(nodes, need, PoolLimits(n_min=n_min)).values()
    counts = Counter(slot.model for slot in found)
    assert all(counts[model] >= n_min for model in need)


def test_a_node_that_joins_gets_no_worker_of_a_full_pool() -> None:
    present = [*pools([Node("a", 2)], {"m": 1.0}).values()]
    limits = PoolLimits(n_max=2)
    joined = plan_pools(
        [Node("b", 2)], weights={"m": 1.0, "n": 1.0}, limits=limits, present=present, n_nodes=2
    )
    assert [(slot.model, slot.share) for slot in joined] == [("n", 1.0), ("n", 1.0)]


@pytest.mark.parametrize(
    ("nodes", "need"), [([], {"m": 1.0}), ([Node("a", 2)], {})], ids=["no node", "no work"]
)
def test_nothing_to_share_makes_no_pool(nodes: list[Node], need: dict[str, float]) -> None:
    assert plan_pools(nodes, weights=need, limits=PoolLimits()) == ()
