"""The record of a run's nodes: who joined, who left, who is refused, how long there was none."""

from __future__ import annotations

import pytest

from embedlib.run.nodes import Membership
from embedlib.run.slots import Node

A, B = Node("a", 2), Node("b", 2)


@pytest.fixture
def members() -> Membership:
    made = Membership()
    made.look([A, B])
    return made


def test_a_look_tells_what_changed_since_the_last_one(members: Membership) -> None:
    change = members.look([B, Node("c", 1)])
    assert (change.left, change.joined) == ((A,), (Node("c", 1),))


def test_nothing_changes_when_the_cluster_does_not(members: Membership) -> None:
    change = members.look([B, A])
    assert (change.left, change.joined) == ((), ())


def test_a_node_that_left_is_not_usable_and_carries_nothing(members: Membership) -> None:
    members.carry("a")
    members.look([B])
    assert not members.is_usable("a")
    assert members.carrying == ()


def test_a_refused_node_is_not_usable_and_leaves_without_a_word(members: Membership) -> None:
    members.refuse("a", "node a is blind")
    assert members.usable == (B,)
    assert members.look([B]).left == ()


def test_there_is_no_hope_when_all_nodes_are_refused(members: Membership) -> None:
    members.refuse("a", "node a is blind")
    assert members.refusal() == ""
    members.refuse("b", "node b as well")
    assert members.refusal() == "node a is blind"


def test_there_is_hope_for_another_node_once_one_has_worked(members: Membership) -> None:
    members.carry("a")
    members.refuse("b", "node b is blind")
    members.look([B])
    assert members.refusal() == ""


def test_waiting_begins_when_the_last_node_leaves_and_ends_when_one_carries_again(
    members: Membership,
) -> None:
    members.carry("a")
    assert members.waiting_s(10.0) == 0.0
    members.look([B])
    assert members.waiting_s(20.0) == 0.0
    assert members.waiting_s(25.0) == 5.0
    members.carry("b")
    assert members.waiting_s(30.0) == 0.0
