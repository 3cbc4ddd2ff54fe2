"""SIGINT and SIGTERM: what is in flight is finished and committed, and the next run goes on."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import embedlib

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Arguments = Callable[..., tuple[object, ...]]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]
Interrupted = tuple[Path, dict[signal.Signals, tuple[int, dict[str, Any], int]]]

MODEL = "untrained-msd-musicnn-1"
BACKENDS = {"local": ("--local",), "ray": ()}


def n_parts(out: Path) -> int:
    return len(list((out / MODEL).glob("part-*.parquet")))


def n_rows(out: Path) -> int:
    return embedlib.open(out).snapshot(MODEL).n_rows


@pytest.fixture(scope="module", params=BACKENDS)
def interrupted(
    request: pytest.FixtureRequest,
    start: Start,
    extract_clips: Arguments,
    wait_until: WaitUntil,
    tmp_path_factory: pytest.TempPathFactory,
) -> Interrupted:
    """One output, two runs in a row: each gets a signal when it has written its first part.

    Gives the exit code, the summary and the rows in the table after each.
    """
    out = tmp_path_factory.mktemp("interrupted") / "out"
    line = extract_clips(out, "--quiet", "--json", *BACKENDS[request.param])
    outcomes = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        n_before = n_parts(out)
        driver = start(*line)
        wait_until(lambda n_before=n_before: n_parts(out) > n_before, driver)
        driver.send_signal(number)
        stdout, _ = driver.communicate(timeout=60)
        outcomes[number] = driver.returncode, json.loads(stdout), n_rows(out)
    return out, outcomes


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_signal_ends_the_run_with_its_own_exit_code(
    interrupted: Interrupted, number: signal.Signals, exit_code: int
) -> None:
    _, outcomes = interrupted
    code, summary, _ = outcomes[number]
    assert (code, summary["signal_number"]) == (exit_code, number)


def test_rows_of_an_interrupted_run_stay(interrupted: Interrupted) -> None:
    _, outcomes = interrupted
    (first, n_after_first), (second, n_after_second) = (
        (summary["n_rows"], n_rows) for _, summary, n_rows in outcomes.values()
    )
    assert 0 < first == n_after_first
    assert 0 < second == n_after_second - n_after_first
    assert n_after_second < 28


def test_the_next_run_completes_an_interrupted_one(
    interrupted: Interrupted, command: Command, extract_clips: Arguments, clean: Path
) -> None:
    out, _ = interrupted
    done = command(*extract_clips(out, "--local", "--quiet"))
    assert done.returncode == 0
    assert embedlib.diff(out, clean).differences == ()
    assert embedlib.verify(out).problems == ()


def test_sigterm_while_ray_starts_ends_the_run_without_a_traceback(
    start: Start, extract_clips: Arguments, wait_until: WaitUntil, tmp_path: Path
) -> None:
    # Ray puts a handler of its own in place, which would exit with 15.
    driver = start(*extract_clips(tmp_path / "out", "--quiet"))
    wait_until(lambda: psutil.Process(driver.pid).children(), driver)  # Ray's, nobody else's
    driver.terminate()
    _, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 143
    assert "Traceback" not in stderr
