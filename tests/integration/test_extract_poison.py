"""Files that kill their decoder, in real runs: the rest goes on, and nobody innocent is accused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.run.tries import LOSSES_TO_BISECT
from embedlib.tables.status import failures

ActorsOf = Callable[[subprocess.Popen[str], str], list[psutil.Process]]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]
Start = Callable[..., subprocess.Popen[str]]
Extract = Callable[..., subprocess.CompletedProcess[str]]

TEMPO, MUSICNN = "untrained-deepsquare-k16-3", "untrained-msd-musicnn-1"

N_CLIPS = 10

# Python runs this module when it starts: in the driver, in Ray's workers and in their children.
POISON = """
import itertools, os, signal, sys

def on_open(event, arguments):
    caller = sys._getframe().f_back if event == "open" else None
    if caller and caller.f_code.co_filename.endswith("fetch.py"):
        name = os.path.basename(arguments[0])
        if "segfault" in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "stuck" in name:
            sum(itertools.repeat(0))  # in C, and with the interpreter's lock

sys.addaudithook(on_open)
"""

# The command, with all tracks of a small catalogue in one shard.
ONE_SHARD = """
from embedlib.catalog import shards
shards.MIN_SHARDS = 1
from embedlib.cli.app import main
main()
"""

# The command, with workers that are asked for their memory all the time.
IMPATIENT = """
from embedlib.run.auth import require_tokens
require_tokens(is_local=True)
from embedlib.run import ray_workers
ray_workers.MEMORY_EVERY_S = 0.05
from embedlib.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(POISON)
    return folder


@pytest.fixture
def extract(hook: Path, environment: dict[str, str]) -> Extract:
    """Run a script with the arguments of an extraction; its processes die of poison."""

    def run(
        clips: Path, out: Path, *options: str, models: tuple[str, ...] = (TEMPO,), script: str
    ) -> subprocess.CompletedProcess[str]:
        line = ["extract", clips, "--models", *models, "--out", out, "--quiet", *options]
        return subprocess.run(
            [sys.executable, "-c", script, *map(str, line)],
            env={**environment, "PYTHONPATH": str(hook)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture
def poisoned(tmp_path: Path) -> Callable[..., Path]:
    """Write ten short clips, some of which kill their decoder."""

    def write(**kinds: int) -> Path:
        folder = tmp_path / "clips"
        folder.mkdir()
        names = {number: f"clip-{number:02d}-{kind}.wav" for kind, number in kinds.items()}
        for number in range(N_CLIPS):
            name = names.get(number, f"clip-{number:02d}.wav")
            music = synthesise_music(1.0, sr_hz=16_000, seed=number)
            write_audio(folder / name, music, sr_hz=16_000)
        return folder

    return write


def found(out: Path) -> list[tuple[str, str, str]]:
    """Tracks without an embedding, over all models, and the first words of the reason."""
    rows = ((each.track_id, each.status, each.error.partition(":")[0]) for each in failures(out))
    return sorted(rows)


def n_parts(out: Path, model: str) -> int:
    return len(embedlib.open(out).files(model))


def test_a_run_without_ray_dies_once_of_each_poison_file_and_then_goes_on(
    extract: Extract, poisoned: Callable[..., Path], tmp_path: Path
) -> None:
    clips, out = poisoned(segfault=3), tmp_path / "out"
    first = extract(clips, out, "--local", script=ONE_SHARD)
    assert first.returncode == -signal.SIGSEGV
    second = extract(clips, out, "--local", script=ONE_SHARD)
    assert second.returncode == 3, second.stderr
    assert "was being decoded when a run died" in second.stderr
    assert found(out) == [("clip-03-segfault.wav", "crashed", "SIGSEGV")]
    assert n_parts(out, TEMPO) == 1
    assert embedlib.verify(out).problems == ()


def test_poison_costs_a_run_through_ray_some_workers_and_one_row(
    extract: Extract, poisoned: Callable[..., Path], tmp_path: Path
) -> None:
    clips, out = poisoned(segfault=3), tmp_path / "out"
    done = extract(clips, out, "--n-cores", "1", script=ONE_SHARD)
    assert done.returncode == 3, done.stderr
    assert found(out) == [("clip-03-segfault.wav", "crashed", "SIGSEGV")]
    assert n_parts(out, TEMPO) == 1
    assert embedlib.verify(out).problems == ()


@pytest.mark.slow
def test_poison_is_a_row_for_each_model_that_shares_the_decoder(
    extract: Extract, poisoned: Callable[..., Path], tmp_path: Path
) -> None:
    clips, out = poisoned(segfault=3, stuck=6), tmp_path / "out"
    options = ("--cpu-deadline-s", "0.5")
    done = extract(clips, out, *options, models=(TEMPO, MUSICNN), script=ONE_SHARD)
    assert done.returncode == 3, done.stderr
    crashed = [
        ("clip-03-segfault.wav", "crashed", "SIGSEGV"),
        ("clip-06-stuck.wav", "crashed", "SIGPROF"),
    ]
    assert [each for each in found(out) if each[1] == "crashed"] == sorted(2 * crashed)
    assert embedlib.verify(out).problems == ()


def test_workers_that_are_killed_from_outside_accuse_no_file(
    start: Start, wait_until: WaitUntil, actors_of: ActorsOf, tmp_path: Path
) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    write_audio(clips / "long.wav", synthesise_music(15.0, sr_hz=16_000), sr_hz=16_000)
    # Many patches make a quarter of a minute of audio a shard that is held for seconds.
    line = ("extract", clips, "--models", MUSICNN, "--out", out, "--patch-hop-frames", "8")
    driver = start(*line, "--n-cores", "1", "--quiet")
    for _ in range(LOSSES_TO_BISECT):
        wait_until(lambda: actors_of(driver, "ModelActor.extract"), driver)
        for actor in actors_of(driver, "ModelActor.extract"):
            actor.kill()
            actor.wait()
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 0, stderr
    assert "cost several workers while it was decoded" in stderr
    assert found(out) == []
    assert embedlib.verify(out).problems == ()


def test_workers_that_outgrow_their_share_are_replaced_and_lose_nothing(
    extract: Extract, tmp_path: Path
) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for number in range(3):
        music = synthesise_music(4.0, sr_hz=16_000, seed=number)
        write_audio(clips / f"{number}.wav", music, sr_hz=16_000)
    options = ("--worker-memory-mb", "1", "--n-cores", "1", "--patch-hop-frames", "8")
    options = (*options, "--shard-hours", "1e-9")
    done = extract(clips, out, *options, models=(MUSICNN,), script=IMPATIENT)
    assert done.returncode == 0, done.stderr
    assert "more than its share" in done.stderr
    assert found(out) == []
    assert embedlib.verify(out).problems == ()
