"""One operator's evening: the demo is killed, looked at, run again, and doubted, track by track."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedlib.run.run_log import values_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Kill = Callable[[subprocess.Popen[str]], None]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]

WAYS = {"ray": (), "in one process": ("--local",)}

N_TRACKS = 28
FAILED = {"damaged/empty.wav": "empty", "damaged/not music.mp3": "undecodable"}
GOOD = "chords/clip 002.mp3"


@dataclass(frozen=True, slots=True)
class Walk:
    """What the operator saw.

    Attributes
    ----------
    out : Path
        The output.
    killed : str
        Name of the run that was killed.
    after_kill : CompletedProcess
        Of `status`, before the second run.
    again : CompletedProcess
        The same demo once more.
    models : tuple of str
        With a table.
    """

    out: Path
    killed: str
    after_kill: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    models: tuple[str, ...]


def objects(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module", params=WAYS)
def walk(
    request: pytest.FixtureRequest,
    start: Start,
    command: Command,
    kill_run: Kill,
    wait_until: WaitUntil,
    tmp_path_factory: pytest.TempPathFactory,
) -> Walk:
    """Kill a demo when the first part lies in the output, look, and run it to its end."""
    folder = tmp_path_factory.mktemp("walk")
    out, demo = folder / "tables", ("demo", "--out", folder, "--quiet", *WAYS[request.param])
    driver = start(*demo)
    wait_until(lambda: [*out.glob("*msd-*/part-*.parquet")], driver)
    kill_run(driver)
    (killed,) = (path.name for path in out.glob("runs/*"))
    after_kill = command("status", out)
    models = tuple(sorted(path.parent.name for path in out.glob("*/model.json")))
    return Walk(out, killed, after_kill, command(*demo), models)


def test_status_says_that_the_run_was_killed_and_what_is_left(walk: Walk) -> None:
    lines = walk.after_kill.stdout.splitlines()
    (verdict,) = (line for line in lines if line.startswith(f"run {walk.killed}"))
    assert "killed or cut off" in verdict
    done = [int(line.split()[1].partition("/")[0]) for line in lines[1 : 1 + len(walk.models)]]
    assert all(f"/{N_TRACKS}" in line for line in lines[1 : 1 + len(walk.models)])
    assert sum(done) < len(walk.models) * N_TRACKS


def test_the_same_command_finishes_what_the_killed_one_began(walk: Walk, command: Command) -> None:
    assert walk.again.returncode == 0, walk.again.stderr
    status = objects(command("status", walk.out, "--json"))
    for model in status["models"]:
        assert (model["n_done"], model["n_failed"]) == (N_TRACKS, len(FAILED))
    assert status["runs"] == []
    assert command("verify", walk.out).stdout.startswith("clean: ")


def test_failures_names_the_damaged_files_and_no_others(walk: Walk, command: Command) -> None:
    listed = objects(command("failures", walk.out, "--json"))["failures"]
    assert len(walk.models) == 2
    assert {each["track_id"]: each["status"] for each in listed} == FAILED
    assert len(listed) == len(walk.models) * len(FAILED)


@pytest.mark.parametrize("track_id", FAILED)
def test_show_tells_of_a_damaged_file_all_that_tables_and_logs_know(
    walk: Walk, command: Command, track_id: str
) -> None:
    story = objects(command("failures", walk.out, "--show", track_id, "--json"))
    assert {row["status"] for row in story["rows"].values()} == {FAILED[track_id]}
    assert tuple(sorted(story["rows"])) == walk.models
    assert {each["model"] for each in story["attempts"] if each["outcome"] == "written"} >= {
        *walk.models
    }
    told = [values for line in story["lines"] if (values := values_of(line)).get("track")]
    assert {(values["track"], values["status"]) for values in told} == {
        (track_id, FAILED[track_id])
    }


def test_show_prints_for_people_where_the_file_lies_and_what_is_wrong_with_it(
    walk: Walk, command: Command
) -> None:
    shown = command("failures", walk.out, "--show", "damaged/empty.wav").stdout
    file = walk.out.parent / "clips" / "damaged" / "empty.wav"
    assert f"uri      {file}" in shown
    assert f"{file} has no bytes; leave it out" in shown
    assert "track=damaged/empty.wav status=empty" in shown


def test_repro_makes_a_row_again_to_the_bit(walk: Walk, command: Command) -> None:
    for model in walk.models:
        made = command("repro", walk.out, model, GOOD)
        assert (made.returncode, made.stderr) == (0, "")
        assert made.stdout.splitlines()[0] == f"{model} {GOOD}: bit-equal"


@pytest.mark.parametrize("track_id", FAILED)
def test_repro_fails_again_where_the_row_had_failed(
    walk: Walk, command: Command, track_id: str
) -> None:
    made = command("repro", walk.out, walk.models[0], track_id)
    assert made.returncode == 0
    assert f"{track_id}: {FAILED[track_id]} again" in made.stdout


def test_repro_says_that_a_file_is_no_longer_what_it_was(walk: Walk, command: Command) -> None:
    other = walk.out.parent / "clips" / "damaged" / "cut short.wav"
    made = command("repro", walk.out, walk.models[0], GOOD, "--source", other)
    assert made.returncode == 1
    assert "--accept-changed" in made.stderr
    assert made.stdout == ""
