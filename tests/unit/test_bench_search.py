"""The benchmark of search: all of its figures, from a small table."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from embedlib.errors import ConfigError

pytest.importorskip("lancedb")

ROOT = Path(__file__).parents[2]
CONFIG = {
    "rows": 1_000,
    "dims": 8,
    "latent_dims": 4,
    "queries": 50,
    "rounds": 1,
    "floors": {"recall at 10": {"at_least": 1.1}},
    "ceilings": {"query p95 ms": 0.0},
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_search")


def test_a_small_table_has_all_figures_and_breaks_impossible_limits(
    bench: ModuleType, tmp_path: Path
) -> None:
    result = bench.run(bench.bench_config(CONFIG, origin="here"), tmp_path, [0])
    assert set(result["figures"]) == set(bench.FIGURES)
    assert result["figures"]["recall at 10"] == 1.0
    assert len(result["broken_floors"]) == 2


def test_a_ceiling_on_nothing_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    config = bench.bench_config(CONFIG | {"ceilings": {"speed": 1.0}}, origin="here")
    with pytest.raises(ConfigError, match="no figure is called 'speed'"):
        bench.run(config, tmp_path, [0])


def test_the_same_vectors_are_drawn_each_time(bench: ModuleType) -> None:
    script = importlib.import_module("bench_search_run")
    one, other = (np.concatenate(list(script.draws(60_000, 3, 2))) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (60_000, 3)
