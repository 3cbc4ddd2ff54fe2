"""Memory of a run does not depend on how long a file is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music

Start = Callable[..., subprocess.Popen[str]]

MIB = 1 << 20


def write_song(path: Path, *, duration_s: float, sr_hz: int) -> Path:
    write_audio(path, synthesise_music(duration_s, sr_hz=sr_hz, style="chords"), sr_hz=sr_hz)
    return path


def peak_bytes(process: subprocess.Popen[str]) -> dict[int, int]:
    """Follow a run to its end; the peak of resident memory of each of its processes."""
    peaks: dict[int, int] = {}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for one in (root, *root.children(recursive=True)):
                peaks[one.pid] = max(peaks.get(one.pid, 0), high_water_bytes(one.pid))
        time.sleep(0.02)
    return peaks


def high_water_bytes(pid: int) -> int:
    """Read what the kernel keeps as the peak; it is gone with the process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def test_ten_times_the_length_costs_no_more_memory(
    start: Start, model: str, tmp_path: Path
) -> None:
    peaks = []
    for minutes in (2, 20):
        song = write_song(tmp_path / f"{minutes}.flac", duration_s=60 * minutes, sr_hz=44_100)
        options = ("--models", model, "--patch-hop-frames", 187, "--local", "--quiet")
        process = start("extract", song, *options, "--out", tmp_path / f"out-{minutes}")
        peaks.append(peak_bytes(process)[process.pid])
        assert process.returncode == 0
    assert peaks[1] - peaks[0] < 60 * MIB


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hours_of_stereo_at_96_khz_stay_below_a_gibibyte_in_each_process(
    start: Start, model: str, tmp_path: Path
) -> None:
    song = write_song(tmp_path / "long.flac", duration_s=3 * 3600, sr_hz=96_000)
    process = start("extract", song, "--models", model, "--out", tmp_path / "out", "--quiet")
    peaks = peak_bytes(process)
    assert process.returncode == 0
    assert len(peaks) > 3
    assert max(peaks.values()) < 1024 * MIB
