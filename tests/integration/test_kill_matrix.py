"""Whatever dies, and whenever: after one more run the output is that of an undisturbed one.

A cell is (victim, point, source). The process that comes to the point waits there while the victim
is killed, and the log must show that; `jobs/kill_matrix.py` plays the same cells and prints them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

JOBS = Path(__file__).parents[2] / "jobs"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(JOBS))
    cells, kill_play, kill_stage = map(
        importlib.import_module, ("kill_cells", "kill_play", "kill_stage")
    )

REST = [cell for cell in cells.ALL if cell not in cells.SAMPLE]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The audio, a store, and a cluster that starts when a cell first needs it."""
    with kill_stage.Stage(tmp_path_factory.mktemp("matrix")) as made:
        yield made


@pytest.mark.parametrize("cell", cells.SAMPLE, ids=str)
def test_nothing_is_lost_and_nothing_is_there_twice(stage: Any, cell: Any) -> None:
    assert kill_play.play(cell, stage).faults == ()


@pytest.mark.slow
@pytest.mark.parametrize("cell", REST, ids=str)
def test_nothing_is_lost_and_nothing_is_there_twice_in_the_rest_of_the_matrix(
    stage: Any, cell: Any
) -> None:
    assert kill_play.play(cell, stage).faults == ()


@pytest.mark.slow
def test_a_cell_in_which_nobody_comes_to_the_point_fails(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_play, "give_order", lambda *_, **__: None)
    cell = cells.Cell(cells.Victim.NOBODY, cells.Point.BEFORE_DECODE, cells.Source.FILE)
    assert "no process reached the point" in kill_play.play(cell, stage).faults
