"""The benchmark of scale: figures from made-up runs, and a real simulation."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedlib.errors import ConfigError, RunError

ROOT = Path(__file__).parents[2]
MODEL = {"front_end": "musicnn-mel", "core_s": 0.003, "frame_bytes": 24_000.0}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_scale")


@pytest.fixture
def figures(bench: ModuleType) -> ModuleType:
    return importlib.import_module("bench_scale_figures")


@pytest.fixture
def costs(figures: ModuleType) -> Any:
    """A model that takes three times as long as decoding."""
    return figures.Costs(0.001, {"m": MODEL}, 0.01, 0.001)


def streamed(
    figures: ModuleType, *, n_cores: int = 1, stream_s: float = 4.0, **changes: Any
) -> Any:
    fields = {
        "name": f"{n_cores} workers",
        "n_models": 1,
        "audio_s": 1000.0,
        "n_files": 3,
        "n_patches": 30,
        "load_s": 5.0,
        "early": {"decode": 0.0, "m": 0.0},
        "cpu_s": {"model workers": 6.0, "driver": 0.5, "Ray": 0.3},
        "wall_s": 12.0,
    }
    return figures.Streamed(n_cores=n_cores, stream_s=stream_s, **fields | changes)


@pytest.mark.parametrize("name", ["bench_scale", "bench_scale_figures", "bench_scale_run"])
def test_the_examples_run(bench: ModuleType, name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


def test_two_workers_of_which_each_is_as_fast_as_one_lose_nothing(
    figures: ModuleType, costs: Any
) -> None:
    rounds = [(4.0, 2.0), (8.0, 4.0), (4.0, 4.0)]
    runs = [
        streamed(figures, n_cores=n, stream_s=s)
        for pair in rounds
        for n, s in zip((1, 2), pair, strict=True)
    ]
    assert figures.efficiency(runs, costs, n_cores=2) == 1.0


def test_what_was_done_before_the_last_worker_came_counts_by_its_cost(
    figures: ModuleType, costs: Any
) -> None:
    run = streamed(figures, early={"decode": 1.0, "m": 0.0})
    assert run.speed(costs) == pytest.approx(0.75 * 250.0)
    assert run.part_of_bound(costs) == pytest.approx(0.75)


def test_cores_are_used_by_workers_and_by_the_rest(figures: ModuleType) -> None:
    run = streamed(figures, n_cores=2)
    assert (run.used, run.spent_else) == (0.75, pytest.approx(0.1))


def test_a_thousand_hours_on_more_cores_cost_as_many_core_hours(
    figures: ModuleType, costs: Any
) -> None:
    runs = [streamed(figures, n_cores=2, stream_s=2.0)]
    assert figures.core_hours(runs, costs, n_cores=2) == pytest.approx(4.0)


def test_what_is_lost_to_preemption_is_paid_where_that_happens(
    bench: ModuleType, figures: ModuleType
) -> None:
    prices = {
        "dear": bench.Price(core_hour=1.0, source="here"),
        "cheap": bench.Price(core_hour=0.5, source="there", is_preemptible=True),
    }
    table = figures.cost_table({"MusiCNN": 4.0}, prices, kept_when_preempted=0.8)
    assert table["rows"] == [["MusiCNN", "4.00", "4.000", "2.500"]]


def test_runs_of_different_patches_are_no_measurement(
    bench: ModuleType, figures: ModuleType
) -> None:
    with pytest.raises(RunError, match="31 patches of 3 files"):
        bench.require_same_patches([streamed(figures), streamed(figures, n_patches=31)])


def test_a_simulated_run_takes_as_long_as_its_costs(figures: ModuleType) -> None:
    script = importlib.import_module("bench_scale_run")
    job = {"tracks": 6_400, "nodes": 2, "cores_per_node": 4, "preempted_per_hour": 0.0}
    job |= {"commit_s": 0.01, "commit_part_s": 0.001}
    cheap, dear = (
        script.simulated({**job, "decode": decode, "models": {"m": MODEL}})
        for decode in (0.001, 0.005)
    )
    assert cheap["is_right"]
    assert dear["bound_s"] / cheap["bound_s"] == pytest.approx(2.0, rel=0.05)
    assert 0.5 < cheap["efficiency"] <= 1.0


def test_a_limit_on_a_cluster_that_is_not_simulated_does_not_count(
    bench: ModuleType, figures: ModuleType
) -> None:
    limits = importlib.import_module("bench_limits").Limits(
        {"efficiency, MusiCNN, 32 nodes": 2}, {}
    )
    assert limits.broken({"efficiency, MusiCNN, 8 nodes": 0.9}) == []


def test_a_wrong_key_of_the_configuration_is_named(bench: ModuleType) -> None:
    with pytest.raises(ConfigError, match="FILE: audio"):
        bench.bench_config({"floors": {}, "ceilings": {}}, origin="FILE")
