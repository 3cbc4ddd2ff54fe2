"""The benchmark of reading: its figures, its floors, a real run over tables of a few tracks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from embedlib.errors import ConfigError, RunError

ROOT = Path(__file__).parents[2]
SIZE = {"tracks": 12, "patches": 3, "dims": 8, "tracks_per_part": 5}
CONFIG: dict[str, Any] = {
    "narrow": SIZE,
    "wide": {**SIZE, "dims": 40},
    "repeats": 2,
    "rounds": 1,
    "floors": {},
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_read")


@pytest.fixture
def script(bench: ModuleType) -> ModuleType:
    return importlib.import_module("bench_read_run")


def run_of(side: str, what: str, *seconds: float, n_bytes: int = 100) -> dict[str, Any]:
    runs = {what: [{"s": each, "cpu_s": each, "n_bytes": n_bytes} for each in seconds]}
    return {"table": "narrow", "layout": "parts", "side": side, "runs": runs}


def test_a_rate_is_the_median_over_rounds_of_the_best_reading(bench: ModuleType) -> None:
    runs = [run_of("npy", "means", *seconds) for seconds in ((1.0, 9.0), (2.0, 4.0), (50.0, 60.0))]
    assert bench.best_rates(runs, "narrow", "parts") == {"npy": {"means": 50.0}}
    assert bench.best_rates(runs, "narrow", "compacted") == {}


def test_figures_hold_embedlib_against_a_plain_file_and_python_objects(bench: ModuleType) -> None:
    speeds = dict(zip(bench.SIDES, (2.0, 4.0, 8.0, 8.0, 0.5), strict=True))
    runs = [
        {
            **run_of(side, "means"),
            "table": table,
            "layout": layout,
            "runs": {what: [{"s": 1 / speed, "n_bytes": 1}] for what in bench.WHOLE},
        }
        for side, speed in speeds.items()
        for table in bench.TABLES
        for layout in bench.LAYOUTS
    ]
    figures = bench.figures_of(runs)
    assert figures.keys() == bench.figure_names()
    assert figures["wide parts, means, one core / npy"] == 0.25
    assert figures["wide parts, means, all cores / to_pylist"] == 8.0


@pytest.mark.slow
def test_all_sides_read_tables_whose_values_were_compared(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "TABLES", ("narrow",))
    floor = {"narrow parts, patches, one core / npy": {"at_least": 1e9}}
    config = bench.bench_config(CONFIG | {"floors": floor}, origin="here")
    result = bench.run(config, tmp_path, [0])
    assert result["laid_out"]["narrow"]["n_files"] == {"parts": 3, "compacted": 1}
    assert [len(run["runs"]) for run in result["runs"]] == [5, 5, 3, 5, 3] * 2
    assert all(len(row) == len(t["columns"]) for t in result["tables"] for row in t["rows"])
    assert len(result["broken_floors"]) == 1


def test_other_numbers_than_were_written_are_not_timed(script: ModuleType, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 3, 8), dtype=np.float32)
    script.write_output(tmp_path, vectors, n_rows=5)
    script.require_equal(tmp_path, vectors)
    vectors[7, 1, 3] = np.nextafter(vectors[7, 1, 3], np.float32(9))
    with pytest.raises(RunError, match="not what was written"):
        script.require_equal(tmp_path, vectors)


def test_random_tracks_are_the_same_from_a_table_and_from_a_matrix(
    script: ModuleType, tmp_path: Path
) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 3, 8), dtype=np.float32)
    out, chosen = tmp_path / "parts", np.array([1, 7, 11])
    script.write_output(out, vectors, n_rows=5)
    script.save_matrices(out)
    taken = script.take_tracks(script.matrix_path(out, "patches"), chosen, 3)
    np.testing.assert_array_equal(taken, vectors[chosen])
    np.testing.assert_array_equal(script.read_tracks(out, chosen), taken.ravel())


def test_a_floor_on_nothing_is_refused_before_anything_is_written(
    bench: ModuleType, tmp_path: Path
) -> None:
    config = bench.bench_config(CONFIG | {"floors": {"speed": {"at_least": 1}}}, origin="here")
    with pytest.raises(ConfigError, match="is called 'speed'"):
        bench.run(config, tmp_path, [0])
    assert not list(tmp_path.iterdir())
