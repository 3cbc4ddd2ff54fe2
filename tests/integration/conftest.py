"""Fixtures that run the command line in processes of its own, over one catalogue of clips."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import flip_bytes, synthesise_catalogue, synthesise_music

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

STAND_IN = "untrained-msd-musicnn-1"

# Patches that overlap eightfold make a minute of audio a run of many seconds, which can be killed.
RUN_OPTIONS = ("--patch-hop-frames", "24", "--max-failed", "9", "--shard-hours", "1e-9")
"""A shard for each track, however short."""

MIXED_CLIPS = {
    "hole.flac": (3.0, 22_050, 2),
    "long.wav": (13.0, 44_100, 2),
    "short.flac": (0.5, 16_000, 1),
    "studio.wav": (4.0, 48_000, 1),
}
"""Seconds, rate and channels of the sound files of `mixed_clips`."""

PATIENCE_S = 90.0
POLL_S = 0.005

STAYING = ("agent", "dashboard")
"""Ray's own helpers stay for a minute after a killed driver, and write nothing."""


@pytest.fixture(scope="session")
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of the command: a cache of its own, real weights where there are any."""
    values = {**os.environ, "EMBEDLIB_CACHE": str(tmp_path_factory.mktemp("cache"))}
    try:
        values["EMBEDLIB_MODELS"] = str(request.getfixturevalue("shared_models"))
    except pytest.skip.Exception:
        values.pop("EMBEDLIB_MODELS", None)
    return values


@pytest.fixture(scope="session")
def model(environment: dict[str, str]) -> str:
    """MusiCNN with its real weights, else with random ones."""
    return "msd-musicnn-1" if "EMBEDLIB_MODELS" in environment else STAND_IN


@pytest.fixture(scope="module")
def in_this_process(environment: dict[str, str]) -> Iterator[pytest.MonkeyPatch]:
    """Let calls in this process find the cache and the weights that the command finds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EMBEDLIB_CACHE", "EMBEDLIB_MODELS"):
            if name in environment:
                patch.setenv(name, environment[name])
            else:
                patch.delenv(name, raising=False)
        yield patch


@pytest.fixture(scope="session")
def mixed_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short files: three rates, mono and stereo, one with a hole, one that is no audio."""
    folder = tmp_path_factory.mktemp("mixed") / "clips"
    folder.mkdir()
    for number, (name, (duration_s, sr_hz, n_channels)) in enumerate(MIXED_CLIPS.items()):
        music = synthesise_music(
            duration_s, sr_hz=sr_hz, n_channels=n_channels, seed=number, style="drums"
        )
        write_audio(folder / name, music, sr_hz=sr_hz)
    flip_bytes(folder / "hole.flac", n_bytes=2_000)
    (folder / "text.mp3").write_text("This is not music.")
    return folder


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start the command in a session of its own; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: object, **options: object) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "embedlib.cli.app", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(
            line, env=environment, text=True, start_new_session=True, **pipes
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        with process:  # closes its pipes
            if process.poll() is None:
                process.kill()


@pytest.fixture(scope="session")
def command(start: Start) -> Command:
    """Run the command to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        process = start(*arguments)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 28 clips, some of them damaged."""
    folder = tmp_path_factory.mktemp("catalogue") / "clips"
    synthesise_catalogue(folder)
    return folder


@pytest.fixture(scope="session")
def extract_clips(clips: Path) -> Callable[..., tuple[object, ...]]:
    """The arguments of a run over the clips into one output."""

    def arguments(out: Path, *options: object) -> tuple[object, ...]:
        return ("extract", clips, "--models", STAND_IN, "--out", out, *RUN_OPTIONS, *options)

    return arguments


@pytest.fixture(scope="session")
def clean(
    command: Command,
    extract_clips: Callable[..., tuple[object, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The output of one undisturbed run over the clips."""
    out = tmp_path_factory.mktemp("clean") / "out"
    done = command(*extract_clips(out, "--local", "--quiet"))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], object], subprocess.Popen[str]], None]:
    """Wait for something that a running command does."""

    def wait(is_so: Callable[[], object], process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert process.poll() is None, "the run ended before it came to that"
            assert time.monotonic() < deadline, "the run does not come to that"
            time.sleep(POLL_S)

    return wait


@pytest.fixture(scope="session")
def kill_run() -> Callable[[subprocess.Popen[str]], None]:
    """Kill a driver and wait until all that it started is gone."""

    def kill(process: subprocess.Popen[str]) -> None:
        helpers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + PATIENCE_S
        while any(map(_is_at_work, helpers)):
            assert time.monotonic() < deadline, "workers outlive their driver"
            time.sleep(0.1)

    return kill


@pytest.fixture(scope="session")
def actors_of() -> Callable[[subprocess.Popen[str], str], list[psutil.Process]]:
    """Find the actors of one class among the processes of a run, by the title Ray gives them."""

    def find(process: subprocess.Popen[str], name: str) -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if f"ray::{name}" in _title(child)]

    return find


def _is_at_work(process: psutil.Process) -> bool:
    try:
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return not is_zombie and not any(name in _title(process) for name in STAYING)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
