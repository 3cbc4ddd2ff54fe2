"""Points: free and inert in a run, and each of them is on the way of a shard."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedlib
from embedlib.run.points import Point, install, reach

PACKAGE = Path(embedlib.__file__).parent
CALLS = [
    node
    for path in PACKAGE.rglob("*.py")
    if path.name != "points.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Call)
]


@pytest.fixture
def seen() -> Iterator[list[tuple[str, str, str]]]:
    """What a hook was told."""
    calls: list[tuple[str, str, str]] = []
    install(lambda *call: calls.append(call))
    yield calls
    install(None)


def names_called() -> list[str]:
    return [ast.unparse(call.func) for call in CALLS]


def test_each_point_is_reached_at_one_place() -> None:
    points = Counter(
        ast.unparse(call.args[0]) for call in CALLS if ast.unparse(call.func) == "reach"
    )
    assert points == {f"Point.{point.name}": 1 for point in Point}


def test_nothing_in_the_library_installs_a_hook() -> None:
    assert not [name for name in names_called() if name.split(".")[-1] == "install"]


def test_a_hook_is_told_of_each_point_until_it_is_taken_back(
    seen: list[tuple[str, str, str]],
) -> None:
    reach(Point.BEFORE_DECODE, "s1")
    reach(Point.PART_WRITTEN, "s1", "m")
    install(None)
    reach(Point.AFTER_COMMIT, "s1", "m")
    assert seen == [("before decode", "s1", ""), ("part written", "s1", "m")]
