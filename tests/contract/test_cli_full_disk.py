"""A disk that fills up at any point of a run: one line with the way out, and the run continues."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music

MODEL = "untrained-msd-musicnn-1"

# A private name space: the mount is seen by this child only, and goes with it.
MOUNTED = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"'

Limited = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "EMBEDLIB_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def extract(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command over three songs, with its model built; the output is still to be named."""
    songs = tmp_path_factory.mktemp("songs")
    for number in range(3):
        music = synthesise_music(20.0, sr_hz=16_000, seed=number)
        write_audio(songs / f"{number}.wav", music, sr_hz=16_000)
    command = [sys.executable, "-m", "embedlib.cli.app"]
    build = [*command, "models", "build", "msd-musicnn-1"]
    subprocess.run(build, env=environment, check=True, capture_output=True)
    options = ["--models", MODEL, "--local", "--quiet", "--json"]
    return [*command, "extract", str(songs), *options, "--out"]


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def assert_one_line(done: subprocess.CompletedProcess[str], reason: str) -> None:
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert line.startswith("error: cannot write to ")
    assert reason in line
    assert line.endswith("then run the same command again, it continues")


@pytest.mark.parametrize("size_kib", [4, 12, 20, 32, 48])
def test_a_full_disk_is_one_line_wherever_the_run_meets_it(
    size_kib: int, extract: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    mount = [*MOUNTED, MOUNT, f"{size_kib}k", str(tmp_path)]
    if run([*mount, "true"], environment).returncode:
        pytest.skip("this user may not mount a small disk")
    assert_one_line(run([*mount, *extract, f"{tmp_path}/out"], environment), "its disk is full")


@pytest.mark.parametrize("size_blocks", [1, 8, 24])
def test_a_run_that_met_a_limit_continues_when_there_is_room(
    size_blocks: int, extract: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    limited = [
        "sh",
        "-c",
        f'ulimit -f {size_blocks} && exec "$0" "$@"',
        *extract,
        f"{tmp_path}/out",
    ]
    assert_one_line(run(limited, environment), "a file would pass the size limit")
    assert run([*extract, f"{tmp_path}/out"], environment).returncode == 0
    assert embedlib.verify(tmp_path / "out").problems == ()
