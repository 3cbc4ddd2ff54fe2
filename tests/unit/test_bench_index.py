"""The benchmark of `embedlib index`: its figures, and two real nights of a small catalogue."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedlib.errors import ConfigError, RunError

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "files": 100,
    "new": 1,
    "rounds": 1,
    "floors": {},
    "ceilings": {"night with nothing new / listing": 0.0},
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_index")


@pytest.mark.slow
def test_nights_of_both_kinds_find_what_is_there_and_leave_a_whole_output(
    bench: ModuleType, tmp_path: Path
) -> None:
    result = bench.run(bench.bench_config(CONFIG, origin="here"), tmp_path, [0])
    assert set(result["figures"]) == bench.figure_names()
    assert [night["n_files"] for night in result["nights"]] == [100, 100]
    assert "all 101 rows agree" in result["tables"][0]["notes"][1]
    assert len(result["broken_floors"]) == 1


def test_a_night_is_held_against_the_listing_that_followed_it(bench: ModuleType) -> None:
    times = [(bench.STILL, 2.0, 0.1), (bench.BUSY, 9.0, 0.3), (bench.STILL, 6.0, 0.3)]
    found = bench.figures_of(
        [
            bench.Night(kind, 1_000_000, seconds, seconds + 1, 300.0, listing_s)
            for kind, seconds, listing_s in times
        ]
    )
    assert found["night with nothing new / listing"] == pytest.approx(20.0)
    assert found["microseconds a file, nothing new"] == pytest.approx(4.0)
    assert found["process s, some new"] == 10.0


def test_a_night_that_missed_a_file_is_no_measurement(bench: ModuleType) -> None:
    with pytest.raises(RunError, match="n_new is 99, not 100"):
        bench.require_found({"n_new": 99}, {"n_new": 100}, kind="night")


def test_files_have_a_length_of_their_own_and_take_no_room(
    bench: ModuleType, tmp_path: Path
) -> None:
    importlib.import_module("bench_index_files").lay_out_files(tmp_path / "music", 1_001)
    states = [path.stat() for path in (tmp_path / "music").rglob("*.flac")]
    assert len({state.st_size for state in states}) == 1_001
    assert sum(state.st_blocks for state in states) == 0


def test_a_wrong_key_of_the_configuration_is_named(bench: ModuleType) -> None:
    with pytest.raises(ConfigError, match="FILE: file"):
        bench.bench_config(CONFIG | {"file": 3}, origin="FILE")
