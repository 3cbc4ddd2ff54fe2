"""The benchmark of commits: its figures, and a real run on small tables."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deltalake import write_deltalake

from embedlib.errors import ConfigError, RunError

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "few": 3,
    "many": 9,
    "rows": 1,
    "transactions": 2,
    "rounds": 1,
    "floors": {"transactions per minute, few files, batches of 1": {"at_least": 1e9}},
    "ceilings": {"write and commit / files alone, many files, batches of 10": 0.0},
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "jobs"))
        yield importlib.import_module("bench_commit")


def measured(bench: ModuleType, size: str, *, one_s: float, two_s: float) -> list[Any]:
    turns = {"write": [1.0, 1.0], "commit": [1.0, 3.0], "append": [2.0, 2.0], "alone": [1.0, 1.0]}
    return [
        bench.Measured(
            size=size, n_shards=n, n_transactions=10, turns_s=turns, one_s=one_s, two_s=two_s
        )
        for n in bench.BATCHES
    ]


def test_the_examples_run(bench: ModuleType) -> None:
    result = doctest.testmod(bench)
    assert result.attempted
    assert not result.failed


def test_the_whole_way_is_held_against_delta_rs_and_against_files_alone(bench: ModuleType) -> None:
    found = bench.figures_of(
        [each for size in bench.SIZES for each in measured(bench, size, one_s=5.0, two_s=5.0)]
    )
    assert found["write and commit / write_deltalake, few files, batches of 1"] == 1.5
    assert found["write and commit / files alone, few files, batches of 1"] == 3.0
    assert set(found) == set(bench.FIGURES)


def test_two_processes_that_wait_for_each_other_get_as_much_done_as_one(bench: ModuleType) -> None:
    (each, *_) = measured(bench, bench.FEW, one_s=5.0, two_s=10.0)
    assert (each.rate, each.rate_of_two) == (120.0, 120.0)


def test_sizes_of_tables_are_compared_within_a_round(bench: ModuleType) -> None:
    few, slow = (measured(bench, bench.FEW, one_s=s, two_s=1.0) for s in (5.0, 50.0))
    many, slower = (measured(bench, bench.MANY, one_s=s, two_s=1.0) for s in (10.0, 100.0))
    found = bench.figures_of([*few, *many, *slow, *slower])
    assert found["many files / few files, batches of 1"] == 0.5


@pytest.mark.slow
def test_small_tables_have_all_figures_and_break_impossible_limits(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "BATCHES", (1, 10))
    result = bench.run(bench.bench_config(CONFIG, origin="here"), tmp_path, [0])
    expected = {name for name in bench.figure_names() if not name.endswith(" 100")}
    assert set(result["figures"]) == expected
    assert len(result["broken_floors"]) == 2
    (table,) = result["tables"]
    assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_tables_with_other_rows_are_refused(bench: ModuleType, tmp_path: Path) -> None:
    script = importlib.import_module("bench_commit_run")
    tables = script.Tables(tmp_path)
    tables.lay_out(n_files=0, n_rows=2)
    more = script.table_of(script.draw_batch(1, 2), tables.manifest)
    write_deltalake(tables.peer_folder, more, mode="append")
    with pytest.raises(RunError, match="cannot be compared"):
        script.require_same_rows(tables.folder, tables.peer_folder)


def test_a_shard_that_the_log_does_not_name_is_found_out(bench: ModuleType, tmp_path: Path) -> None:
    script = importlib.import_module("bench_commit_run")
    tables = script.Tables(tmp_path)
    tables.lay_out(n_files=2, n_rows=1)
    with pytest.raises(RunError, match="names shard lost 0 times"):
        script.require_logged(tables, ["0" * 16, "lost"])


def test_a_ceiling_on_nothing_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    config = bench.bench_config(CONFIG | {"ceilings": {"speed": 1.0}}, origin="here")
    with pytest.raises(ConfigError, match="no figure is called 'speed'"):
        bench.run(config, tmp_path, [0])
