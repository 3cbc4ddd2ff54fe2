"""A year of nights: a catalogue that changes each week, and runs of which every third is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.tables.upkeep import compact, vacuum

N_WEEKS = 52
SR_HZ = 16_000
MODEL = "untrained-deepsquare-k16-3"
STYLES = ("chords", "drums")

Start = Callable[..., subprocess.Popen[str]]
Command = Callable[..., subprocess.CompletedProcess[str]]


class Source:
    """A folder of short recordings to which things happen."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._rng = np.random.default_rng(2020)
        self._n_made = 0

    def pass_a_week(self) -> None:
        """Add up to three recordings; edit, rename and delete up to two that are there."""
        for _ in range(self._rng.integers(4)):
            self.add()
        for change in (self._edit, self._rename, self._delete):
            for _ in range(self._rng.integers(3)):
                change(self._any())

    def add(self) -> None:
        folder = self.folder / f"album {self._rng.integers(4)}"
        folder.mkdir(exist_ok=True)
        self._write(folder / f"track {self._n_made:03}.wav")

    def _any(self) -> Path:
        return self._rng.choice(sorted(self.folder.rglob("*.wav")))

    def _write(self, path: Path) -> None:
        self._n_made += 1
        duration_s = float(self._rng.uniform(0.2, 4.0))
        style = STYLES[self._n_made % 2]
        music = synthesise_music(duration_s, sr_hz=SR_HZ, seed=self._n_made, style=style)
        write_audio(path, music, sr_hz=SR_HZ)

    def _edit(self, path: Path) -> None:
        if self._n_made % 5:
            self._write(path)
        else:
            path.write_bytes(path.read_bytes()[:300])  # what is left can still be opened, or not

    def _rename(self, path: Path) -> None:
        path.rename(path.with_name(f"renamed {self._n_made:03} {path.name[-7:]}"))
        self._n_made += 1

    def _delete(self, path: Path) -> None:
        if len([*self.folder.rglob("*.wav")]) > 10:
            path.unlink()


def vectors_by_content(out: Path) -> dict[str, tuple[str, bytes]]:
    """What each content gives: its status, and the bits of its embedding."""
    table = embedlib.open(out).tracks(MODEL).to_arrow(["content_hash", "status", "embedding"])
    return {
        row["content_hash"]: (row["status"], np.float32(row["embedding"] or ()).tobytes())
        for row in table.to_pylist()
    }


def kill_somewhere(process: subprocess.Popen[str], out: Path, *, week: int) -> None:
    """Kill a run as soon as its lock is there, or up to two seconds later."""
    lock = out / "runs" / "index.lock"
    while not lock.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(2.0 * ((week * 7919) % 100) / 100)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_after_each_night_that_ended_the_tables_are_those_of_a_fresh_extraction(
    start: Start, command: Command, tmp_path: Path, in_this_process: pytest.MonkeyPatch
) -> None:
    source, out = Source(tmp_path / "music"), tmp_path / "out"
    for _ in range(14):
        source.add()
    right: dict[str, tuple[str, bytes]] = {}
    n_killed = 0
    for week in range(N_WEEKS):
        fresh = tmp_path / f"fresh-{week}"
        embedlib.extract([str(source.folder)], models=[MODEL], out=fresh, local=True)
        right |= vectors_by_content(fresh)
        line = ("index", source.folder, "--models", MODEL, "--out", out, "--local", "--quiet")
        if week and week % 3 == 0:
            run = start(*line)
            kill_somewhere(run, out, week=week)
            n_killed += run.returncode == -signal.SIGKILL
            assert vectors_by_content(out).items() <= right.items()
        done = command(*line, "--max-failed", 99)
        assert done.returncode == 0, done.stderr
        assert embedlib.diff(out, fresh).differences == (), f"week {week}"
        assert embedlib.verify(out).problems == ()
        if week % 5 == 4:
            compact(out)
        if week % 13 == 12:
            vacuum(out, keep=timedelta(0))
        assert embedlib.diff(out, fresh).differences == (), f"week {week}, after its upkeep"
        source.pass_a_week()
    assert n_killed >= N_WEEKS // 5
