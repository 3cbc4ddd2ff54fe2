"""The command line of a sweep: options over the file, and what it says in the end."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from embedlib.cli.probe import checked_config, summary_lines
from embedlib.cli.probe_progress import SweepProgress
from embedlib.config import read_config
from embedlib.errors import ConfigError
from embedlib.probes.settings import SweepConfig, sweep_config
from embedlib.probes.sweep import SweepSummary

EXAMPLES = sorted((Path(__file__).parents[2] / "configs" / "probes").glob("*.yaml"))

SUMMARY = SweepSummary(
    out="OUT",
    tasks=("gtzan", "sad"),
    models=("tiny",),
    protocols=("pooled",),
    n_fits=40,
    n_skipped=10,
    n_lost_groups=0,
    n_commits=3,
    wall_s=2.5,
    is_reproducible=True,
    notes=("gtzan: 2 of 930 tracks have no embedding of tiny",),
    signal_number=0,
)


def config_of(**arguments: Any) -> SweepConfig:
    given = dict.fromkeys(("config", "tasks", "external", "folds"))
    return checked_config({**given, "json": False, "quiet": False, **arguments})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    tasks = [{"task": "sad", "labels": "sad.csv", "external": "old"}, {"task": "happy"}]
    path.write_text(yaml.safe_dump({"out": "A", "tasks": tasks, "folds": 3, "repeats": 2}))
    return path


def test_tasks_carry_their_labels_behind_a_sign() -> None:
    config = config_of(out="OUT", tasks=["gtzan=a=b.csv", "own.yaml"])
    assert [(each.task, each.labels) for each in config.tasks] == [
        ("gtzan", "a=b.csv"),
        ("own.yaml", None),
    ]


def test_options_override_the_file(file: Path) -> None:
    config = config_of(config=file, out="B", folds="4", repeats=None)
    assert (config.out, config.folds, config.repeats) == ("B", 4, 2)


def test_external_sets_are_added_to_the_tasks_of_the_file(file: Path) -> None:
    tasks = config_of(config=file, external=["happy=jd"]).tasks
    assert [(each.task, each.labels, each.external) for each in tasks] == [
        ("sad", "sad.csv", "old"),
        ("happy", None, "jd"),
    ]


def test_an_external_set_of_no_task_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="--external names 'glad'"):
        config_of(config=file, external=["glad=jd"])


def test_published_folds_are_asked_for_by_name(file: Path) -> None:
    assert config_of(config=file, folds="official").folds == "official"


def test_folds_that_are_no_number_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="folds"):
        config_of(config=file, folds="five")


def test_a_sweep_without_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="tasks"):
        config_of(out="OUT")


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if "task" not in path.stem], ids=lambda path: path.stem
)
def test_each_example_can_be_read_and_tells_its_command(path: Path) -> None:
    assert sweep_config(read_config(path), origin=str(path)).tasks
    assert "embedlib probe sweep" in path.read_text().partition("\n\n")[0]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["40 fits of 2 tasks and 1 model in 2.5 s, 10 skipped, 3 commits -> OUT/probes",
              "note: gtzan: 2 of 930 tracks have no embedding of tiny"]),
        ({"n_fits": 0, "notes": ()},
         ["nothing to do: all 10 fits of 2 tasks and 1 model are in OUT/probes"]),
        ({"is_reproducible": False, "notes": ()},
         ["40 fits of 2 tasks and 1 model in 2.5 s, 10 skipped, 3 commits -> OUT/probes",
          "not reproducible: asha chooses by the order in which trials end"]),
        ({"signal_number": 2, "n_fits": 0, "notes": (), "n_lost_groups": 4},
         ["0 fits of 2 tasks and 1 model in 2.5 s, 10 skipped, 3 commits -> OUT/probes",
          "4 groups of fits were committed by another sweep",
          "ended early by a signal; run the same command to continue"]),
    ],
)  # fmt: skip
def test_the_answer_says_what_was_done(changes: dict[str, Any], lines: list[str]) -> None:
    assert summary_lines(dataclasses.replace(SUMMARY, **changes)) == lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_progress_counts_fits_and_tells_the_time_left(clock: list[float]) -> None:
    progress = SweepProgress(Console(file=io.StringIO()))
    progress.on_plan(100, 20)
    progress.on_plan(20, 0)  # external sets come later
    clock[0] += 60
    progress.on_fits(30)
    assert progress.line() == "30/120 fits  20 skipped  30 fits/min  ETA 0:03:00"


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(clock: list[float]) -> None:
    sink = io.StringIO()
    with SweepProgress(Console(file=sink)) as progress:
        progress.on_plan(100, 0)
        for _ in range(70):
            clock[0] += 1
            progress.on_fits(1)
    assert len(sink.getvalue().splitlines()) == 2
