"""Tracks that kill their decoder: found in real processes that die by real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.records import Crash, Shard, Status, Track
from embedlib.run.deadline import CPU_SHARE, WALL_SHARE
from embedlib.run.decoding import decode_shard
from embedlib.run.job import DecodeJob
from embedlib.run.memory import private_bytes
from embedlib.run.poison import Death, bisect_shard, find_crashes

MEMORY_BYTES = 512 << 20

# Python runs this module when it starts: a file is poison when its name says how it kills.
POISON = """
import ctypes, itertools, os, signal, sys, time

POISONS = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": lambda: (os.write(2, b"double free\\n\\n"), os.abort()),
    "exit": lambda: os._exit(3),
    "greedy": lambda: bytearray(1 << 40),
    "busy": lambda: sum(itertools.repeat(0)),  # in C, and with the interpreter's lock
    "store": lambda: (_ for _ in ()).throw(TimeoutError("the store does not answer")),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGTERM),
}

def on_open(event, arguments):
    caller = sys._getframe().f_back if event == "open" else None
    if caller and caller.f_code.co_filename.endswith("fetch.py"):
        POISONS.get(os.path.basename(arguments[0]).partition("-")[0], int)()

sys.addaudithook(on_open)
"""


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let child processes, which search where this one does, die of files with certain names."""
    folder = tmp_path / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(POISON)
    monkeypatch.syspath_prepend(folder)


def shard_of(folder: Path, *names: str) -> Shard:
    for name in names:
        write_audio(folder / name, synthesise_music(0.5, sr_hz=16_000), sr_hz=16_000)
    return Shard("s", tuple(Track(name, str(folder / name), -1, "") for name in names), 1.0)


def job(*, deadline_s: float = 60.0, skip: tuple[Crash, ...] = ()) -> DecodeJob:
    limits = AudioLimits(max_duration_s=3600.0, cpu_deadline_s=deadline_s)
    return DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", limits, 1 << 20, skip=skip)


# The search


class Trials:
    """Decoders that die of some tracks, and of some pairs, and count their attempts."""

    def __init__(self, poison: set[int], pairs: set[frozenset[int]] = frozenset()) -> None:
        self.poison = poison
        self.pairs = pairs
        self.alone: list[int] = []
        self.n_processes = 0

    def __call__(self, indices: Sequence[int]) -> Death | None:
        self.n_processes += 1
        if len(indices) == 1:
            self.alone.append(indices[0])
        for at, index in enumerate(indices):
            before = {frozenset({index, other}) for other in indices[:at]}
            if index in self.poison or before & self.pairs:
                return Death(index, f"died of {index}")
        return None


@given(st.sets(st.integers(0, 39)), st.integers(0, 40))
def test_all_poison_is_found_and_nothing_else(poison: set[int], n_tracks: int) -> None:
    trials = Trials(poison)
    found = find_crashes(range(n_tracks), trial=trials)
    guilty = sorted(index for index in poison if index < n_tracks)
    assert found == tuple(Crash(index, f"died of {index}") for index in guilty)
    assert all(trials.alone.count(index) == 2 for index in guilty)
    assert trials.n_processes <= 1 + 3 * len(guilty)


@given(st.sets(st.integers(0, 19), min_size=2, max_size=2), st.integers(20, 40))
def test_tracks_that_kill_only_together_are_not_accused(pair: set[int], n_tracks: int) -> None:
    trials = Trials(set(), {frozenset(pair)})
    assert find_crashes(range(n_tracks), trial=trials) == ()
    assert trials.n_processes <= 4 * n_tracks


def test_a_track_that_kills_only_once_is_not_accused() -> None:
    deaths = [Death(0, "killed from outside"), None]
    assert find_crashes([0], trial=lambda _: deaths.pop(0)) == ()


def test_poison_behind_an_innocent_suspect_is_found() -> None:
    trials = Trials({7}, {frozenset({1, 3})})
    assert [crash.index for crash in find_crashes(range(9), trial=trials)] == [7]


# Real processes


@pytest.mark.usefixtures("poison")
def test_two_poison_files_among_others_are_found_with_signal_and_last_words(tmp_path: Path) -> None:
    names = ("a.wav", "segfault-b.wav", "c.wav", "abort-d.wav", "e.wav")
    found = bisect_shard(shard_of(tmp_path, *names), job(), memory_bytes=MEMORY_BYTES)
    assert found == (Crash(1, "SIGSEGV"), Crash(3, "SIGABRT: double free"))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize(
    ("name", "reason"),
    [("exit-.wav", "exit code 3"), ("greedy-.wav", "exit code 1: MemoryError")],
)
def test_a_file_that_ends_its_decoder_without_a_signal_is_found(
    name: str, reason: str, tmp_path: Path
) -> None:
    found = bisect_shard(shard_of(tmp_path, name), job(), memory_bytes=MEMORY_BYTES)
    assert found == (Crash(0, reason),)


@pytest.mark.usefixtures("poison")
def test_a_file_that_never_lets_go_of_its_decoder_is_found(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, "busy-a.wav")
    (crash,) = bisect_shard(shard, job(deadline_s=0.5), memory_bytes=MEMORY_BYTES)
    assert crash.reason.startswith("SIGPROF: decoding went on for twice its deadline")


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("name", ["good.wav", "store-.wav", "stopped-.wav"])
def test_nobody_is_accused_for_a_store_or_a_signal_that_somebody_sent(
    name: str, tmp_path: Path
) -> None:
    assert bisect_shard(shard_of(tmp_path, name), job(), memory_bytes=MEMORY_BYTES) == ()


def test_a_process_that_does_not_start_accuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "embedlib.py").write_text("raise ImportError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    assert bisect_shard(shard_of(tmp_path, "a.wav"), job(), memory_bytes=MEMORY_BYTES) == ()
    assert "did not start: exit code 1: ImportError: broken" in caplog.text


SEARCH = """
import sys
from embedlib.audio.decode import AudioLimits
from embedlib.records import Shard, Track
from embedlib.run.job import DecodeJob
from embedlib.run.poison import bisect_shard

job = DecodeJob(("musicnn-mel",), "pyav", "soxr-hq", AudioLimits(), 1 << 20)
bisect_shard(Shard("s", (Track("a", sys.argv[1], -1, ""),), 1.0), job, memory_bytes=1 << 30)
"""


@pytest.mark.usefixtures("poison")
def test_a_search_that_is_killed_takes_its_process_along(tmp_path: Path) -> None:
    path = shard_of(tmp_path, "busy-a.wav").tracks[0].uri
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", SEARCH, path], env=environment) as search:
        parent = psutil.Process(search.pid)
        while not (children := parent.children()):
            time.sleep(0.01)
        while children[0].cpu_times().user < 2.0:  # it has begun, and is busy for ever
            time.sleep(0.1)
        search.kill()
    assert psutil.wait_procs(children, timeout=10)[1] == []


# What is known to kill is not decoded


def test_a_track_that_is_skipped_is_a_row_and_is_not_opened(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, "a.wav", "b.wav", "c.wav")
    (tmp_path / "b.wav").unlink()
    (chunk,) = decode_shard(shard, job(skip=(Crash(1, "SIGSEGV"),)))
    assert [(each.status, each.error) for each in chunk.ended] == [
        (Status.OK, ""),
        (Status.CRASHED, "SIGSEGV"),
        (Status.OK, ""),
    ]
    assert [segment.index for segment in chunk.segments] == [0, 2]


# Timers of the kernel

STEPS = """
import ctypes, itertools, signal, sys, time
from embedlib.run.deadline import bounded

def steps():
    yield "first"
    {stuck}
    yield "second"

for step in bounded(steps(), deadline_s=0.2, is_by_clock={is_by_clock}):
    print(step, flush=True)
    {between}
"""


def run_steps(*, stuck: str = "", between: str = "", is_by_clock: bool = True) -> tuple[int, str]:
    code = STEPS.format(stuck=stuck, between=between, is_by_clock=is_by_clock)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


SLEEP_IN_C = "ctypes.PyDLL(None).pause()"  # PyDLL keeps the interpreter's lock
LOOP_IN_C = "sum(itertools.repeat(0))"


@pytest.mark.parametrize(
    ("stuck", "code"),
    [(SLEEP_IN_C, signal.SIGALRM), (LOOP_IN_C, signal.SIGPROF)],
    ids=["sleep", "loop"],
)
def test_the_kernel_ends_a_process_that_is_stuck_with_the_interpreter_s_lock(
    stuck: str, code: signal.Signals
) -> None:
    assert run_steps(stuck=stuck) == (-code, "first\n")


def test_time_between_steps_does_not_count() -> None:
    loop = "while time.process_time() < end: pass"
    busy = f"end = time.process_time() + {1.5 * CPU_SHARE * 0.2}\n    {loop}"
    assert run_steps(between=busy) == (0, "first\nsecond\n")


def test_waiting_for_a_store_does_not_count() -> None:
    wait = f"time.sleep({1.2 * WALL_SHARE * 0.2})"
    assert run_steps(stuck=wait, is_by_clock=False) == (0, "first\nsecond\n")


# Memory


def test_private_memory_grows_with_what_is_held() -> None:
    before = private_bytes()
    held = bytearray(b"x") * (64 << 20)
    assert before > 0
    assert 60 << 20 < private_bytes() - before < 70 << 20
    assert len(held) == 64 << 20
