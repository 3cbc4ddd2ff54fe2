"""The judgement of the kill matrix: a log that proves nothing fails its cell."""

from __future__ import annotations

import doctest
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedlib.run.points import Point

JOBS = Path(__file__).parents[2] / "jobs"
WAITS, DIES = 1, 2


@pytest.fixture(scope="module")
def job() -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(JOBS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def log(job: Callable[[str], ModuleType]) -> ModuleType:
    return job("kill_log")


@pytest.fixture(scope="module")
def cells(job: Callable[[str], ModuleType]) -> ModuleType:
    return job("kill_cells")


def lines(text: str) -> list[dict[str, Any]]:
    """Read ``event:pid`` words as lines of a log."""
    words = (word.partition(":") for word in text.split())
    return [{"event": event, "pid": int(pid) if pid else None} for event, _, pid in words]


@pytest.mark.parametrize("name", ["kill_log", "kill_cells"])
def test_the_examples_run(job: Callable[[str], ModuleType], name: str) -> None:
    result = doctest.testmod(job(name))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no process reached the point"),
        ("killed:2 gone:2 released", "no process reached the point"),
        ("reached:1 killed:2 gone:2", "was not released"),
        ("killed:2 reached:1 gone:2 released", "process 2 did not die between"),
        ("reached:1 killed:2 released gone:2", "process 2 did not die between"),
        ("reached:1 released left:1 killed:2 gone:2", "process 2 did not die between"),
        ("reached:1 released killed:2 gone:2", "process 2 did not die between"),
        ("reached:1 killed:2 released left:1", "process 2 did not die between"),
        ("reached:2 killed:2 released left:2", "process 2 did not die between"),
        ("reached:1 gone:2 released", "process 2 did not die between"),
        ("reached:1 left:1 killed:2 gone:2 released", "left it before it was released"),
        ("reached:2 killed:2 gone:2 released left:2", "a process that died went on"),
    ],
)
def test_a_kill_that_is_not_between_the_two_events_fails(
    log: ModuleType, text: str, reason: str
) -> None:
    assert any(reason in fault for fault in log.faults(lines(text), pids=[DIES]))


@pytest.mark.parametrize(
    "text",
    ["reached:1 killed:2 gone:2 released left:1", "reached:2 killed:2 gone:2 released"],
)
def test_a_kill_between_the_two_events_passes(log: ModuleType, text: str) -> None:
    assert log.faults(lines(text), pids=[DIES]) == []


def test_a_rival_has_to_end_meanwhile_by_itself(log: ModuleType) -> None:
    ended = lines("reached:1 gone:2 released left:1")
    assert log.faults(ended, pids=[DIES], is_kill=False) == []
    assert log.faults(ended, pids=[DIES]) != []
    assert log.faults(ended, pids=[], is_kill=False) == ["nobody died"]


def test_only_one_process_waits_at_the_point_that_was_ordered(
    log: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = tmp_path / "order.json"
    monkeypatch.setenv(log.ORDER_VARIABLE, str(order))
    log.give_order(order, folder=tmp_path, point=Point.AFTER_COMMIT)
    waiting = threading.Thread(target=log.stop_here, args=(Point.AFTER_COMMIT, "s1", "m"))
    waiting.start()
    while not log.read_log(tmp_path):
        pass
    for point in Point:
        log.stop_here(point, "s2", "m")
    log.release(tmp_path)
    waiting.join()
    events = [(line["event"], line.get("shard_id")) for line in log.read_log(tmp_path)]
    assert events == [("reached", "s1"), ("released", None), ("left", None)]


@pytest.mark.parametrize(("node", "stops"), [("worker", True), ("head", False), (None, True)])
def test_an_order_for_one_node_is_for_the_driver_too_but_for_no_other(
    log: ModuleType,
    node: str | None,
    stops: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = tmp_path / "order.json"
    monkeypatch.setenv(log.ORDER_VARIABLE, str(order))
    if node is not None:
        monkeypatch.setenv(log.NODE_VARIABLE, node)
    log.give_order(order, folder=tmp_path, point=Point.AFTER_COMMIT, node="worker")
    for name in ("release", "claimed")[: 1 if stops else 2]:
        (tmp_path / name).touch()
    log.stop_here(Point.AFTER_COMMIT, "s1", "m")
    assert bool(log.read_log(tmp_path)) is stops


def test_a_process_without_an_order_passes_all_points(
    log: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.ORDER_VARIABLE, str(tmp_path / "order.json"))
    for point in Point:
        log.stop_here(point, "s1", "m")
    monkeypatch.delenv(log.ORDER_VARIABLE)
    log.stop_here(Point.AFTER_COMMIT, "s1", "m")
    assert list(tmp_path.iterdir()) == []


def test_variables_of_a_store_are_taken_back(
    job: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with job("kill_store").exported({"AWS_PROFILE": "theirs", "AWS_ENDPOINT_URL": "http://x"}):
        assert os.environ["AWS_PROFILE"] == "theirs"
    assert os.environ["AWS_PROFILE"] == "mine"
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_the_sample_covers_every_victim_every_point_and_every_store(cells: ModuleType) -> None:
    sample = cells.SAMPLE
    # Of both kinds of model actors one: the actor of one model is in the cells of driver and head.
    assert {cell.victim for cell in sample} == set(cells.Victim) - {cells.Victim.SOLO}
    assert {cell.point for cell in sample} == set(Point)
    assert {cell.store for cell in sample} == set(cells.Store)


def test_the_whole_matrix_holds_each_cell_once(cells: ModuleType) -> None:
    n_cells = len(cells.Victim) * len(Point) * len(cells.Store)
    assert len(cells.ALL) == len(set(cells.ALL)) == n_cells
    assert set(cells.SAMPLE) <= set(cells.ALL)


def test_the_table_shows_a_cell_that_failed(cells: ModuleType) -> None:
    cell = cells.Cell(cells.Victim.DRIVER, Point.AFTER_COMMIT, cells.Store.S3)
    verdict = cells.Verdict(cell, ("a row is there twice",), (-9, 0), 3, 1.0)
    assert cells.table([verdict])[-1] == "| driver | s3 FAILED |"


def test_verdicts_of_cells_that_are_not_played_again_are_kept(
    job: Callable[[str], ModuleType], cells: ModuleType, tmp_path: Path
) -> None:
    matrix, path = job("kill_matrix"), tmp_path / "verdicts.json"
    failed, passed = (
        [cells.Verdict(cell, faults, (0, 0), 0, 1.0) for cell in cells.ALL[:2]]
        for faults in (("it lost a row",), ())
    )
    matrix.kept(path, failed)
    assert matrix.kept(path, passed[1:]) == [failed[0], passed[1]]
    assert matrix.lines(failed)[-1] == "2 cells of 84, 2 failed"
