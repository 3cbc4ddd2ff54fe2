"""The benchmark of probes: its figures, and real fits beside plain scikit-learn."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedlib.errors import ConfigError, RunError

ROOT = Path(__file__).parents[2]
MODEL = "msd-musicnn-1"
WHOLE = {
    "tasks": [],
    "models": [],
    "scale": 1.0,
    "sample_tasks": ["sad"],
    "sample_models": [MODEL],
    "sample_scale": 1.0,
    "floors": {},
    "ceilings": {},
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_probes")


@pytest.fixture(scope="module")
def fits(bench: ModuleType) -> list[dict[str, Any]]:
    """All folds of a small cell by both ways."""
    job = {"tasks": ["sad"], "models": [MODEL], "scale": 0.3}
    found: list[dict[str, Any]] = importlib.import_module("bench_probes_run").measure(job)
    return found


def test_fits_come_to_what_plain_scikit_learn_comes_to(
    bench: ModuleType, fits: list[dict[str, Any]]
) -> None:
    (pair,) = bench.pairs_of(fits)
    bench.require_same_fits([pair])
    assert [each["predicted"] for each in pair.ours] == [each["predicted"] for each in pair.plain]
    assert 0.6 < pair.accuracy(pair.ours) <= 1.0


@pytest.mark.parametrize(
    ("key", "change"),
    [("n_epochs", lambda n: n + 1), ("val_loss", lambda s: 1.01 * s), ("predicted", reversed)],
)
def test_fits_that_differ_are_no_measurement(
    bench: ModuleType, fits: list[dict[str, Any]], key: str, change: Any
) -> None:
    value = change(fits[0][key])
    other = {**fits[0], key: list(value) if key == "predicted" else value}
    with pytest.raises(RunError, match="msd-musicnn-1 on sad"):
        bench.require_same_fits(bench.pairs_of([other, *fits[1:]]))


def test_a_slow_fold_does_not_tilt_the_ratio(bench: ModuleType) -> None:
    seconds = [(1.0, 2.0), (50.0, 2.0), (1.0, 2.0)]
    ours, plain = ([{"seconds": s} for s in each] for each in zip(*seconds, strict=True))
    assert bench.Pair("sad", MODEL, ours, plain).ratio == 0.5


@pytest.mark.parametrize(
    ("n_cells", "scale", "minutes"), [(128, 1.0, 10.0), (128, 0.5, None), (6, 1.0, None)]
)
def test_minutes_are_told_of_a_whole_grid_alone(
    bench: ModuleType, n_cells: int, scale: float, minutes: float | None
) -> None:
    held = importlib.import_module("bench_memory").Held(3, 2 << 30, 3 << 30)
    sweep = bench.Sweep(wall_s=600.0, peak=held, n_fits=640, n_all=640)
    pair = bench.Pair("sad", MODEL, [{"seconds": 1.0}], [{"seconds": 2.0}])
    found = bench.figures_of(sweep, [pair], n_cells=n_cells, scale=scale)
    assert found.get("minutes for the whole grid") == minutes
    assert found["peak memory GiB"] == 2.0


def test_a_wrong_key_of_the_configuration_is_named(bench: ModuleType) -> None:
    with pytest.raises(ConfigError, match="FILE: sample_tasks"):
        bench.bench_config({**WHOLE, "sample_tasks": []}, origin="FILE")
