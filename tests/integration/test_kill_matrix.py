"""Whatever dies, and whenever: after one more run the output is that of an undisturbed one.

A cell is (victim, point, store). The process that comes to the point waits there while the victim
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
    cells, kill_lanes, kill_play, kill_stage = map(
        importlib.import_module, ("kill_cells", "kill_lanes", "kill_play", "kill_stage")
    )

REST = [cell for cell in cells.ALL if cell not in cells.SAMPLE]


@pytest.fixture(scope="module")
def plays(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Any, Any]]:
    """The cells of the tests that were asked for; those of the two stores play side by side."""
    own = [item for item in request.session.items if item.path == request.path]
    wanted = [item.callspec.params["cell"] for item in own if hasattr(item, "callspec")]
    with kill_lanes.playing(wanted, tmp_path_factory.mktemp("matrix")) as begun:
        yield begun


@pytest.mark.parametrize("cell", cells.SAMPLE, ids=str)
def test_nothing_is_lost_and_nothing_is_there_twice(plays: dict[Any, Any], cell: Any) -> None:
    assert plays[cell].result().faults == ()


@pytest.mark.slow
@pytest.mark.parametrize("cell", REST, ids=str)
def test_nothing_is_lost_and_nothing_is_there_twice_in_the_rest_of_the_matrix(
    plays: dict[Any, Any], cell: Any
) -> None:
    assert plays[cell].result().faults == ()


@pytest.mark.slow
def test_a_cell_in_which_nobody_comes_to_the_point_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_play, "give_order", lambda *_, **__: None)
    cell = cells.Cell(cells.Victim.NOBODY, cells.Point.BEFORE_DECODE, cells.Store.FILE)
    with kill_stage.Stage(cell.store, tmp_path / "stage") as stage:
        assert "no process reached the point" in kill_play.play(cell, stage).faults
