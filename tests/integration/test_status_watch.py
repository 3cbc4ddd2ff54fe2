"""Watching a run from another process, until it has ended, whichever way."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedlib.run.run_log import values_of

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Arguments = Callable[..., tuple[object, ...]]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]

MODEL = "untrained-msd-musicnn-1"
HOW_IT_ENDS = {
    "done": (None, "done", 0),
    "SIGTERM": (signal.SIGTERM, "ended early by SIGTERM", 1),
    "SIGKILL": (signal.SIGKILL, "killed or cut off, last seen", 1),
}


def log_of(out: Path) -> str:
    return "".join(path.read_text() for path in out.glob("runs/*/log-0.txt"))


def looks(stdout: str) -> list[dict[str, Any]]:
    return [look["runs"][0] for look in map(json.loads, stdout.splitlines()) if look["runs"]]


@pytest.mark.parametrize("how", HOW_IT_ENDS)
def test_a_run_is_watched_to_its_end(
    how: str,
    start: Start,
    extract_clips: Arguments,
    wait_until: WaitUntil,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    number, verdict, code = HOW_IT_ENDS[how]
    driver = start(*extract_clips(out, "--quiet", "--local"))
    wait_until(lambda: [*out.glob("runs/*/progress.json")], driver)
    watcher = start("status", out, "--watch", "--json", "--every", "1s")
    first = json.loads(watcher.stdout.readline())["runs"][0]
    if number:
        driver.send_signal(number)
    stdout, stderr = watcher.communicate(timeout=60)
    seen = looks(stdout)
    assert (first["is_under_way"], first["host"]) == (True, seen[-1]["host"])
    assert verdict in seen[-1]["verdict"]
    assert (watcher.returncode, stderr) == (code, "")
    assert {run["run_id"] for run in seen} == {first["run_id"]}


def test_after_a_kill_status_and_failures_tell_what_was(
    start: Start,
    command: Command,
    extract_clips: Arguments,
    wait_until: WaitUntil,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    bad = tmp_path / "bad.mp3"
    bad.write_text("no music " * 1_000_000)  # the largest file, so that the first one fails
    driver = start(*extract_clips(out, "--quiet", "--local", "--patch-hop-frames", "4", bad))
    wait_until(lambda: "track=" in log_of(out), driver)
    driver.kill()
    driver.wait()
    shown = command("status", out)
    assert "killed or cut off" in shown.stdout
    said = map(values_of, log_of(out).splitlines())
    failed = next(values["track"] for values in said if "track" in values)
    story = json.loads(command("failures", out, "--show", failed, "--json").stdout)
    assert any(failed in line for line in story["lines"])
    assert story["attempts"][0]["outcome"] == "written"
