"""The benchmark of overhead: its figures, its limits, one run without work of each kind."""

from __future__ import annotations

import doctest
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import embedlib
from embedlib.errors import ConfigError
from embedlib.tables.reader import open_output

ROOT = Path(__file__).parents[2]
CONFIG = {
    "audio": "music",
    "weights": None,
    "shards": 8,
    "copies": 1,
    "rounds": 1,
    "floors": {},
    "ceilings": {},
}
N_SHARDS = 8
THROUGH_RAY = (("Ray", 1), ("Ray, two models", 2))


@pytest.fixture(scope="module")
def overhead() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_overhead")


def commits_of(overhead: ModuleType, way: str, *commits: tuple[float, int]) -> Any:
    return overhead.Commits(way=way, commits=list(commits), driver_cpu_s=1.0, wall_s=9.0)


def musicnn_of(way: str, stream_s: float) -> Any:
    figures = importlib.import_module("bench_figures")
    times = dict.fromkeys(("timed_s", "load_s", "cpu_s", "stream_cpu_s", "wall_s"), 99.0)
    counts = {"audio_s": 60.0, "stream_audio_s": 60.0, "n_files": 3, "n_patches": 30}
    return figures.Run(contender=way, stream_s=stream_s, **times, **counts)


def test_the_examples_run(overhead: ModuleType) -> None:
    result = doctest.testmod(overhead)
    assert result.attempted
    assert not result.failed


def test_a_run_that_slows_down_shows_in_its_last_quarter(overhead: ModuleType) -> None:
    slowing = [(1.0, 50), (2.0, 75), (3.0, 85), (6.0, 100)]
    assert overhead.per_minute(slowing) == 1000.0
    assert overhead.per_minute(slowing, from_part=0.75) == 60 * 25 / 4


def test_a_run_of_one_commit_has_a_last_quarter_too(overhead: ModuleType) -> None:
    assert overhead.per_minute([(2.0, 10)], from_part=0.75) == 300.0


def test_rates_are_medians_over_the_rounds_of_each_way(overhead: ModuleType) -> None:
    local = [commits_of(overhead, "--local", (s, 10)) for s in (1.0, 2.0, 60.0)]
    ray = [commits_of(overhead, "Ray", (s, 10)) for s in (4.0, 6.0, 5.0)]
    two = [commits_of(overhead, "Ray, two models", (1.0, 10))]
    found = overhead.rates([*local, *ray, *two])
    assert found["shard commits per minute, --local"] == 300.0
    assert found["shard commits per minute, Ray, last quarter"] == 120.0


def test_what_ray_adds_is_told_round_by_round(overhead: ModuleType) -> None:
    # The second round met a busy neighbour, both ways.
    seconds = [("--local", 10.0), ("Ray", 10.4), ("--local", 20.0), ("Ray", 20.8)]
    assert overhead.ray_ratio([musicnn_of(way, s) for way, s in seconds]) == pytest.approx(1.04)


@pytest.mark.parametrize(
    ("change", "key"), [({"shard": 3}, "shard"), ({"rounds": 0}, "rounds"), ({"shards": 1}, "sha")]
)
def test_a_wrong_key_of_the_configuration_is_named(
    overhead: ModuleType, change: dict[str, int], key: str
) -> None:
    with pytest.raises(ConfigError, match=f"FILE: {key}"):
        overhead.bench_config(CONFIG | change, origin="FILE")


@pytest.mark.parametrize("limit", [{"floors": {"x": {"at_least": 1}}}, {"ceilings": {"x": 1.0}}])
def test_a_limit_for_an_unknown_figure_is_refused_before_anything_runs(
    overhead: ModuleType, tmp_path: Path, limit: dict[str, Any]
) -> None:
    config = overhead.bench_config(CONFIG | limit, origin="FILE")
    with pytest.raises(ConfigError, match="is called 'x'"):
        overhead.run(config, tmp_path, [0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("way", "n_models"),
    [("--local", 1), *(pytest.param(*way, marks=pytest.mark.slow) for way in THROUGH_RAY)],
)
def test_a_run_without_work_commits_a_shard_per_track_and_decodes_none(
    overhead: ModuleType, tmp_path: Path, way: str, n_models: int
) -> None:
    (tmp_path / "no audio.mp3").write_bytes(b"nobody reads this")
    config = overhead.bench_config(
        CONFIG | {"audio": str(tmp_path / "no audio.mp3"), "shards": N_SHARDS}, origin="FILE"
    )
    (tmp_path / "scratch").mkdir()
    cores = sorted(os.sched_getaffinity(0))
    bench = overhead.make_bench(config, tmp_path / "scratch", cores)
    run = bench.without_work(way, n_round=1)
    out = tmp_path / "scratch" / f"without work, {way} 1"
    assert run.commits[-1][1] == N_SHARDS * n_models
    assert len(open_output(out).files(overhead.NO_WORK[0])) == N_SHARDS
    assert 0 < run.commits[-1][0] < run.wall_s
    assert embedlib.verify(out).problems == ()
