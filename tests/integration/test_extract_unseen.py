"""Sources that vanish while a run is on: neither a missing mount nor a blind worker makes rows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.config import extract_config
from embedlib.errors import OutputError, RunError
from embedlib.run.driver import RunPlan
from embedlib.run.extract import RunSummary, RunWatcher, run_extract

MODEL = "untrained-msd-musicnn-1"
N_TRACKS = 320
"""Ten for each of the 32 shards that a catalogue has at least: enough for a doubt."""

# The mount goes after the plan is made and after nodes have proved themselves.
VANISHING = """
import pathlib, sys
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
from embedlib.cli.app import main
from embedlib.run import ray_backend

music = pathlib.Path(sys.argv.pop(1))

class LateModel(ray_backend.ModelActor):
    def extract(self, *arguments):
        if music.exists():
            music.rename(music.with_name("away"))
        return super().extract(*arguments)

ray_backend.ModelActor = LateModel
main()
"""


class Thief(RunWatcher):
    """Takes the sources away once the plan stands."""

    def __init__(self, music: Path) -> None:
        self._music = music

    def on_plan(self, plan: RunPlan) -> None:
        self._music.rename(self._music.with_name("away"))


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    write_audio(folder / "0.wav", np.zeros((1, 800), np.float32), sr_hz=16_000)
    for number in range(1, N_TRACKS):
        shutil.copy(folder / "0.wav", folder / f"{number}.wav")
    return folder


def run_robbed(music: Path, out: Path, **options: object) -> RunSummary:
    values = {"sources": [str(music)], "models": [MODEL], "out": str(out), "local": True}
    return run_extract(extract_config({**values, **options}), watcher=Thief(music))


@pytest.mark.usefixtures("in_this_process")
def test_a_local_run_commits_nothing_of_sources_that_are_gone(music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"64 of 64 planned files.*--accept-missing"):
        run_robbed(music, out)
    with pytest.raises(OutputError, match="holds no rows yet"):
        embedlib.open(out).tracks(MODEL)


@pytest.mark.usefixtures("in_this_process")
def test_the_run_goes_on_when_the_sources_are_back(music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunError):
        run_robbed(music, out)
    music.with_name("away").rename(music)
    again = embedlib.extract([str(music)], models=[MODEL], out=out, local=True)
    assert again.statuses == {"ok": N_TRACKS}


@pytest.mark.usefixtures("in_this_process")
def test_files_that_are_meant_to_be_gone_become_rows(music: Path, tmp_path: Path) -> None:
    summary = run_robbed(music, tmp_path / "out", accept_missing=True)
    assert summary.statuses == {"missing": N_TRACKS}
    assert embedlib.verify(tmp_path / "out").problems == ()


def test_a_worker_that_meets_no_file_is_doubted_and_all_nodes_look_again(
    environment: dict[str, str], music: Path, tmp_path: Path
) -> None:
    line = ("extract", music, "--models", MODEL, "--out", tmp_path / "out", "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", VANISHING, music, *line],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) == (1, 1), done.stderr
    assert "it does not see 64 of 64 planned files" in errors[0]
    with pytest.raises(OutputError, match="holds no rows yet"):
        embedlib.open(tmp_path / "out").tracks(MODEL)
