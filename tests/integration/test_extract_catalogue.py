"""Real catalogues through the command: what becomes of each file, and what it exits with."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import embedlib
from embedlib.records import KEPT

Command = Callable[..., subprocess.CompletedProcess[str]]

# What a run over the folder `edge` must say of each file.
EDGE_STATUSES = {
    "1024_samples.wav": "ok",
    "4channels.flac": "damaged",
    "cat_purrrr22050.wav": "ok",
    "cat_purrrr24bit.wav": "ok",
    "cat_purrrr32bit.wav": "ok",
    "empty/empty.aiff": "empty",
    "empty/empty.mp3": "empty",
    "empty/empty.ogg": "empty",
    "empty/empty.wav": "empty",
    "impulses_1second_44100_bad_stream_info.flac": "ok",
    "multistream1.mka": "ok",
    "silence.flac": "ok",
    "test-unicode.flac": "damaged",
    "unsupported.au": "ok",
    "unsupported.sd2": "undecodable",
}
DAMAGED_FILE_S = 5.0
"""Length of both damaged files before they were damaged."""

POINTING_TEXTS = {
    "m3u": "#EXTM3U\n#EXTINF:5,real\n{audio}\n",
    "pls": "[playlist]\nFile1={audio}\nNumberOfEntries=1\nVersion=2\n",
    "ffconcat": "ffconcat version 1.0\nfile '{audio}'\n",
}
PATCH_S = 3.0
"""Length of a MusiCNN patch, rounded down: shorter files are padded to one."""


@pytest.fixture(scope="module")
def sonic_pi(
    command: Command, shared_sonic_pi: Path, model: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("sonic-pi") / "out"
    return out, command("extract", shared_sonic_pi, "--models", model, "--out", out, "--json")


@pytest.fixture(scope="module")
def edge(
    command: Command, shared_edge: Path, model: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("edge") / "out"
    options = ("--models", model, "--local", "--json", "--quiet")
    return out, command("extract", shared_edge, *options, "--out", out)


def test_every_file_of_a_real_catalogue_is_embedded(
    sonic_pi: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = sonic_pi
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statuses"] == {"ok": 195}


def test_files_shorter_than_a_patch_are_flagged_as_padded(
    sonic_pi: tuple[Path, subprocess.CompletedProcess[str]], model: str
) -> None:
    rows = embedlib.open(sonic_pi[0]).tracks(model).to_arrow().to_pylist()
    assert len(rows) == 195
    assert {row["n_patches"] for row in rows if row["duration_s"] < PATCH_S} == {1}
    assert {row["track_id"] for row in rows if row["padded"]} == {
        row["track_id"] for row in rows if row["duration_s"] < PATCH_S
    }


def test_the_output_of_a_real_catalogue_verifies(
    sonic_pi: tuple[Path, subprocess.CompletedProcess[str]], command: Command
) -> None:
    assert command("verify", sonic_pi[0]).returncode == 0


def test_bad_input_ends_in_statuses_and_stops_nothing(
    edge: tuple[Path, subprocess.CompletedProcess[str]], model: str
) -> None:
    rows = embedlib.open(edge[0]).tracks(model).to_arrow().to_pylist()
    assert {row["track_id"]: row["status"] for row in rows} == EDGE_STATUSES


def test_damaged_files_keep_most_of_their_samples(
    edge: tuple[Path, subprocess.CompletedProcess[str]], model: str
) -> None:
    rows = embedlib.open(edge[0]).tracks(model).to_arrow().to_pylist()
    damaged = [row for row in rows if row["status"] == "damaged"]
    assert all(row["n_bad_packets"] > 0 for row in damaged)
    # A fifth of their frames fail the checksum.
    assert all(row["duration_s"] > 0.75 * DAMAGED_FILE_S for row in damaged)


def test_new_failures_are_counted_and_exit_with_3(
    edge: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = edge
    assert done.returncode == 3
    assert json.loads(done.stdout)["n_failed"] == 5


def test_failures_lists_each_with_its_reason(
    edge: tuple[Path, subprocess.CompletedProcess[str]], command: Command
) -> None:
    done = command("failures", edge[0], "--json")
    found = {each["track_id"]: each for each in json.loads(done.stdout)["failures"]}
    assert done.returncode == 0
    assert {name: each["status"] for name, each in found.items()} == {
        name: status for name, status in EDGE_STATUSES.items() if status not in KEPT
    }
    assert all(name in each["error"] for name, each in found.items())


def test_the_output_of_bad_input_verifies(
    edge: tuple[Path, subprocess.CompletedProcess[str]], command: Command
) -> None:
    assert command("verify", edge[0]).returncode == 0


def test_failures_that_are_allowed_exit_with_0(
    command: Command, shared_edge: Path, model: str, tmp_path: Path
) -> None:
    options = ("--models", model, "--local", "--max-failed", "5")
    done = command("extract", shared_edge / "empty", *options, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "failed rows: 4 empty" in done.stdout


def test_failures_of_an_earlier_run_are_not_new(
    edge: tuple[Path, subprocess.CompletedProcess[str]],
    command: Command,
    shared_edge: Path,
    model: str,
) -> None:
    done = command("extract", shared_edge, "--models", model, "--local", "--out", edge[0])
    assert done.returncode == 0
    assert "nothing to do" in done.stdout


def test_a_text_that_points_to_audio_is_undecodable(
    command: Command, clips: Path, tmp_path: Path, model: str
) -> None:
    audio = tmp_path / "real.wav"
    shutil.copy(next(clips.rglob("clip*.wav")), audio)
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in POINTING_TEXTS.items():
        (folder / f"{name}.mp3").write_text(text.format(audio=audio))
    done = command(
        *("extract", folder, "--models", model, "--out", tmp_path / "out"),
        *("--local", "--json", "--quiet"),
    )
    assert json.loads(done.stdout)["statuses"] == {"undecodable": len(POINTING_TEXTS)}
