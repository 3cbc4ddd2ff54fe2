"""A driver that is killed, repeated or doubled: the table is that of one undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import embedlib

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Arguments = Callable[..., tuple[object, ...]]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]
KillRun = Callable[[subprocess.Popen[str]], None]

MODEL = "untrained-msd-musicnn-1"
N_KILLS = 10

# The first kills come as soon as such a file is there, each a step further into the run.
SIGNS = (
    "catalog/sources.json",
    "catalog/_delta_log/*.json",
    f"{MODEL}/model.json",
    f"{MODEL}/part-*.parquet",
    f"{MODEL}/_delta_log/*1.json",
)


def files_of(out: Path) -> list[Path]:
    return sorted(path for path in (out / MODEL).rglob("*") if path.is_file())


def assert_same_rows(out: Path, clean: Path) -> None:
    found = embedlib.diff(out, clean)
    assert found.differences == ()
    assert found.exact == (MODEL,)
    assert found.n_rows == 28


@pytest.fixture(scope="module")
def resumed(
    start: Start,
    command: Command,
    extract_clips: Arguments,
    wait_until: WaitUntil,
    kill_run: KillRun,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[int], dict[str, int]]:
    """An output of ten killed runs and a last one; their exit codes, and the last summary."""
    out = tmp_path_factory.mktemp("resumed") / "out"
    line = extract_clips(out, "--local", "--quiet", "--json")
    rng = random.Random(2)
    exit_codes = []
    for number in range(N_KILLS):
        driver = start(*line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if number < len(SIGNS):
            wait_until(lambda sign=SIGNS[number]: any(out.glob(sign)), driver)
        else:
            time.sleep(rng.uniform(1.0, 4.0))
        kill_run(driver)
        exit_codes.append(driver.returncode)
    return out, exit_codes, json.loads(command(*line).stdout)


def test_ten_killed_runs_and_one_more_give_the_table_of_a_clean_run(
    resumed: tuple[Path, list[int], dict[str, int]], clean: Path
) -> None:
    out, exit_codes, _ = resumed
    assert_same_rows(out, clean)
    assert exit_codes.count(-signal.SIGKILL) >= len(SIGNS)


def test_the_output_of_killed_runs_verifies(
    resumed: tuple[Path, list[int], dict[str, int]],
) -> None:
    assert embedlib.verify(resumed[0]).problems == ()


def test_what_was_committed_before_a_kill_is_not_made_again(
    resumed: tuple[Path, list[int], dict[str, int]],
) -> None:
    *_, summary = resumed
    assert summary["n_new"] == 0
    assert summary["n_rows"] < summary["n_tracks"] == 28


def test_a_second_run_does_no_work_and_says_so(
    command: Command, extract_clips: Arguments, clean: Path
) -> None:
    before = files_of(clean)
    done = command(*extract_clips(clean, "--local"))
    assert done.returncode == 0
    assert done.stdout.startswith("nothing to do: all 28 tracks are in ")
    assert files_of(clean) == before


@pytest.fixture(scope="module")
def doubled(
    start: Start, extract_clips: Arguments, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, int]]]:
    """An output of two drivers that were started together, and their summaries."""
    out = tmp_path_factory.mktemp("doubled") / "out"
    line = extract_clips(out, "--local", "--quiet", "--json")
    drivers = [start(*line) for _ in range(2)]
    outcomes = [driver.communicate(timeout=120) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outcomes
    return out, [json.loads(stdout) for stdout, _ in outcomes]


def test_two_drivers_at_once_end_in_the_table_of_one(
    doubled: tuple[Path, list[dict[str, int]]], clean: Path
) -> None:
    assert_same_rows(doubled[0], clean)


def test_the_output_of_two_drivers_verifies_and_holds_no_lost_files(
    doubled: tuple[Path, list[dict[str, int]]],
) -> None:
    out, _ = doubled
    report = embedlib.verify(out)
    assert (report.problems, report.notes) == ((), ())


def test_an_output_can_be_read_while_it_grows(
    start: Start, extract_clips: Arguments, wait_until: WaitUntil, clean: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = start(*extract_clips(out, "--local", "--quiet"))
    wait_until(lambda: any((out / MODEL / "_delta_log").glob("*1.json")), driver)
    tracks = embedlib.open(out).tracks(MODEL)
    driver.kill()
    whole = {
        track["track_id"]: track
        for track in embedlib.open(clean)
        .tracks(MODEL)
        .to_arrow(["track_id", "status", "n_patches"])
        .to_pylist()
    }
    part = tracks.to_arrow(["track_id", "status", "n_patches"]).to_pylist()
    assert part
    assert all(whole[row["track_id"]] == row for row in part)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_killed_ray_runs_and_one_more_give_the_table_of_a_clean_run(
    start: Start,
    command: Command,
    extract_clips: Arguments,
    kill_run: KillRun,
    clean: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    line = extract_clips(out, "--quiet", "--json")
    rng = random.Random(3)
    for _ in range(N_KILLS):
        driver = start(*line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(1.0, 12.0))
        kill_run(driver)
    assert command(*line).returncode == 0
    assert_same_rows(out, clean)
    assert embedlib.verify(out).problems == ()
