"""`embedlib repro`: rows of real runs are made again, and what stands in the way is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import extract_config
from embedlib.errors import (
    ChangedAudioError,
    ConfigError,
    FingerprintError,
    HashMismatchError,
    MissingAudioError,
    OutputError,
    WeightsMissingError,
)
from embedlib.models.registry import model_spec
from embedlib.models.store import build
from embedlib.run.extract import RunWatcher
from embedlib.run.index import run_index
from embedlib.run.repro import Repro, Verdict, repro

MODEL, TEMPO = "untrained-msd-musicnn-1", "untrained-deepsquare-k16-3"
SPLEETER, OWN = "untrained-spleeter-5s-3", "msd-musicnn-t200"
UNVERIFIED = {"allow_unverified": [OWN]}
SR_HZ = 16_000

pytestmark = pytest.mark.usefixtures("in_this_process")


def extract(source: Path, out: Path, *models: str, **options: object) -> Path:
    embedlib.extract([str(source)], models=list(models), out=out, local=True, **options)
    return out


@pytest.fixture(scope="module")
def clips(mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mixed clips, and one that is a millisecond long."""
    folder = Path(shutil.copytree(mixed_clips, tmp_path_factory.mktemp("repro") / "clips"))
    write_audio(folder / "blip.wav", synthesise_music(0.001, sr_hz=SR_HZ), sr_hz=SR_HZ)
    return folder


@pytest.fixture(scope="module")
def out(
    clips: Path, in_this_process: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two models, of which one has a node that is read beside."""
    folder = tmp_path_factory.mktemp("repro-out") / "out"
    return extract(clips, folder, MODEL, TEMPO, outputs=["model/Sigmoid"], max_duration_s=12.0)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one song, which tests may change, and a copy of it."""
    folder = tmp_path_factory.mktemp("songs")
    write_audio(folder / "a.wav", synthesise_music(5.0, sr_hz=SR_HZ), sr_hz=SR_HZ)
    shutil.copy2(folder / "a.wav", folder / "copy")
    return folder


@pytest.fixture
def song(songs: Path) -> Path:
    """The song as it was when it was listed."""
    return Path(shutil.copy2(songs / "copy", songs / "a.wav"))


@pytest.fixture(scope="module")
def extracted(
    songs: Path, in_this_process: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return extract(songs / "a.wav", tmp_path_factory.mktemp("extracted") / "out", MODEL)


@pytest.fixture
def of_song(song: Path, extracted: Path, tmp_path: Path) -> Path:
    """A copy of its output."""
    return Path(shutil.copytree(extracted, tmp_path / "of-song"))


def columns_of(found: Repro) -> list[str]:
    return [each.column for each in found.match.vectors]


# Rows as they are


@pytest.mark.parametrize("name", ["studio.wav", "short.flac", "hole.flac", "blip.wav"])
def test_a_kept_row_is_made_again_to_the_bit(out: Path, name: str) -> None:
    found = repro(out, MODEL, name)
    assert found.verdict is Verdict.BIT_EQUAL, found
    assert columns_of(found) == [
        *("embedding", "patch_embeddings", "model.Sigmoid", "patch_model.Sigmoid")
    ]
    assert (found.match.facts, found.changes, found.notes) == ((), (), ())


@pytest.mark.parametrize(
    ("name", "status"), [("text.mp3", "undecodable"), ("long.wav", "too_long")]
)
def test_a_failed_row_fails_again(out: Path, name: str, status: str) -> None:
    found = repro(out, MODEL, name)
    assert found.verdict is Verdict.SAME_STATUS
    assert (found.status, found.status_now) == (status, status)
    assert found.error == found.error_now != ""


def test_a_track_shorter_than_a_patch_is_too_short_again(clips: Path, tmp_path: Path) -> None:
    extract(clips / "short.flac", tmp_path / "out", MODEL, last_patch="discard")
    found = repro(tmp_path / "out", MODEL, "short.flac")
    assert (found.verdict, found.status) == (Verdict.SAME_STATUS, "too_short")


def test_a_missing_file_is_missing_again(song: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri,track_id\n{song},a\n{tmp_path}/gone.wav,gone\n")
    extract(manifest, tmp_path / "out", MODEL, accept_missing=True)
    assert repro(tmp_path / "out", MODEL, "gone").verdict is Verdict.SAME_STATUS


def test_a_clip_is_cut_as_it_was(song: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri,track_id,start_s,end_s\n{song},a,0.5,4.25\n")
    extract(manifest, tmp_path / "out", MODEL)
    assert repro(tmp_path / "out", MODEL, "a").verdict is Verdict.BIT_EQUAL


def test_a_table_without_patches_is_compared_by_its_means(song: Path, tmp_path: Path) -> None:
    extract(song, tmp_path / "out", MODEL, patches=False, patch_hop_frames=31)
    found = repro(tmp_path / "out", MODEL, "a.wav")
    assert (found.verdict, columns_of(found)) == (Verdict.BIT_EQUAL, ["embedding"])


def test_a_row_of_an_earlier_state_is_of_the_file_of_then(
    song: Path, of_song: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copy(song, tmp_path / "old.wav"))
    write_audio(song, synthesise_music(6.0, sr_hz=SR_HZ, seed=7), sr_hz=SR_HZ)
    values = {"sources": [str(song)], "models": [MODEL], "out": str(of_song), "local": True}
    run_index(extract_config(values), watcher=RunWatcher())
    assert repro(of_song, MODEL, "a.wav").verdict is Verdict.BIT_EQUAL
    assert repro(f"{of_song}@1", MODEL, "a.wav", source=str(old)).verdict is Verdict.BIT_EQUAL
    with pytest.raises(ChangedAudioError):
        repro(f"{of_song}@1", MODEL, "a.wav")


# Other audio


def test_a_file_that_was_moved_is_given_by_source(of_song: Path, song: Path) -> None:
    there = song.rename(song.with_name("moved.wav"))
    with pytest.raises(MissingAudioError, match=r"a\.wav does not exist; .*--source FILE"):
        repro(of_song, MODEL, "a.wav")
    found = repro(of_song, MODEL, "a.wav", source=str(there))
    assert (found.verdict, found.source) == (Verdict.BIT_EQUAL, str(there))


def test_a_touched_file_is_the_same_file(of_song: Path, song: Path) -> None:
    os.utime(song, ns=(1, 1))
    assert repro(of_song, MODEL, "a.wav").verdict is Verdict.BIT_EQUAL


def test_another_file_is_refused_and_where_accepted_different(of_song: Path, song: Path) -> None:
    write_audio(song, synthesise_music(6.0, sr_hz=SR_HZ, seed=7), sr_hz=SR_HZ)
    with pytest.raises(ChangedAudioError, match=r"another file than then.*--accept-changed"):
        repro(of_song, MODEL, "a.wav")
    found = repro(of_song, MODEL, "a.wav", accept_changed=True)
    assert found.verdict is Verdict.DIFFERENT
    assert {"content_hash", "n_samples"} <= {each.name for each in found.match.facts}


def test_other_bytes_of_the_same_sound_are_equal_where_accepted(of_song: Path, song: Path) -> None:
    with song.open("ab") as file:
        file.write(b"LIST\4\0\0\0tags")
    found = repro(of_song, MODEL, "a.wav", accept_changed=True)
    assert found.verdict is Verdict.BIT_EQUAL
    assert [each.name for each in found.match.facts] == ["content_hash", "size"]


def test_the_same_sound_at_half_the_level_is_different(of_song: Path, song: Path) -> None:
    half = (0.5 * block for block in synthesise_music(5.0, sr_hz=SR_HZ))
    write_audio(song, half, sr_hz=SR_HZ)
    found = repro(of_song, MODEL, "a.wav", accept_changed=True)
    assert found.verdict is Verdict.DIFFERENT
    assert found.distance > found.bound.relative_l2
    assert found.match.vectors[1].worst_patch is not None


# Other weights, engines, settings


@pytest.fixture
def weights(tmp_path: Path) -> dict[int, Path]:
    """Files that the user calls his weights of a model, by seed."""
    folder = tmp_path / "weights"
    folder.mkdir()
    paths = {seed: folder / f"{seed}.pb" for seed in (1, 2)}
    for seed, path in paths.items():
        shutil.copy(build(model_spec(OWN), seed=seed).path, path)
    return paths


def test_weights_are_those_that_the_run_was_given(
    song: Path, weights: dict[int, Path], tmp_path: Path
) -> None:
    out = extract(song, tmp_path / "out", OWN, weights=str(weights[1]), **UNVERIFIED)
    assert repro(out, OWN, "a.wav").verdict is Verdict.BIT_EQUAL
    weights[1].unlink()
    with pytest.raises(WeightsMissingError):
        repro(out, OWN, "a.wav")


def test_other_weights_are_refused_by_their_hash(
    song: Path, weights: dict[int, Path], tmp_path: Path
) -> None:
    out = extract(song, tmp_path / "out", f"{OWN}:weights={weights[1]}", **UNVERIFIED)
    with pytest.raises(FingerprintError, match=r"graph_sha256=.* \(here .*; give the weights"):
        repro(out, OWN, "a.wav", weights=str(weights[2]))


def test_a_pinned_model_takes_no_other_file(
    song: Path, weights: dict[int, Path], tmp_path: Path
) -> None:
    out = extract(song, tmp_path / "out", OWN, weights=str(weights[1]), **UNVERIFIED)
    path = out / OWN / "model.json"
    path.write_text(path.read_text().replace(OWN, "msd-musicnn-1"))
    for config in out.glob("runs/*/config.yaml"):
        config.write_text(config.read_text().replace(OWN, "msd-musicnn-1"))
    (out / OWN).rename(out / "msd-musicnn-1")
    with pytest.raises(HashMismatchError):
        repro(out, "msd-musicnn-1", "a.wav")


@pytest.mark.parametrize(("field", "value"), [("builder_version", 0), ("graph_sha256", "cd" * 32)])
def test_a_stand_in_of_another_builder_is_refused(of_song: Path, field: str, value: object) -> None:
    path = of_song / MODEL / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(FingerprintError, match=rf"{field}={value!r} \(here .*take the embedlib"):
        repro(of_song, MODEL, "a.wav")


def test_an_engine_that_there_is_not_is_refused(of_song: Path) -> None:
    with pytest.raises(ConfigError, match="engine='abacus'"):
        repro(of_song, MODEL, "a.wav", engine="abacus")


def test_a_table_of_which_no_run_tells_is_refused(of_song: Path) -> None:
    shutil.rmtree(of_song / "runs")
    with pytest.raises(OutputError, match=r"restore the config\.yaml of a run"):
        repro(of_song, MODEL, "a.wav")


def test_another_engine_gives_the_row_within_the_bound(of_song: Path) -> None:
    pytest.importorskip("essentia")
    found = repro(of_song, MODEL, "a.wav", engine="essentia")
    assert found.verdict is Verdict.WITHIN_BOUND, found
    assert [(each.name, each.then, each.now) for each in found.changes] == [
        ("engine", "openvino", "essentia")
    ]
    assert 0 < found.distance < found.bound.relative_l2 == 1e-5


def test_nothing_is_written_to_the_output(of_song: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in of_song.rglob("*")}
    repro(of_song, MODEL, "a.wav")
    assert {path: path.stat().st_mtime_ns for path in of_song.rglob("*")} == before


# Slow ones


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "essentia"])
def test_the_bands_of_spleeter_are_made_again(song: Path, tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engine)
    out = extract(song, tmp_path / "out", SPLEETER)
    found = repro(out, SPLEETER, "a.wav", engine=engine)
    assert found.is_reproduced, found
    assert found.match.vectors[1].n_vectors == 16
    other = tmp_path / "other.wav"
    write_audio(other, synthesise_music(5.0, sr_hz=SR_HZ, seed=3), sr_hz=SR_HZ)
    found = repro(out, SPLEETER, "a.wav", source=str(other), accept_changed=True)
    assert found.distance > found.bound.relative_l2


@pytest.mark.slow
def test_real_weights_give_real_rows_again(
    shared_models: Path, shared_audio: Path, tmp_path: Path
) -> None:
    out = extract(shared_audio, tmp_path / "out", "msd-musicnn-1", outputs=["activations"])
    for track_id in embedlib.open(out).tracks("msd-musicnn-1").track_ids:
        assert repro(out, "msd-musicnn-1", track_id).verdict is Verdict.BIT_EQUAL
        found = repro(out, "msd-musicnn-1", track_id, engine="essentia")
        assert found.verdict is Verdict.WITHIN_BOUND


POISON = """
import os, signal, sys

def on_open(event, arguments):
    caller = sys._getframe().f_back if event == "open" else None
    if caller and caller.f_code.co_filename.endswith("fetch.py"):
        if "segfault" in os.path.basename(arguments[0]):
            os.kill(os.getpid(), signal.SIGSEGV)

sys.addaudithook(on_open)
"""


@pytest.mark.slow
def test_a_file_that_killed_its_decoder_is_crashed_again_and_this_process_lives(
    song: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    hook, out = tmp_path / "hook", tmp_path / "out"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(POISON)
    folder = tmp_path / "poisoned"
    folder.mkdir()
    for name in ("a.wav", "segfault.wav"):
        shutil.copy(song, folder / name)
    line = [sys.executable, "-m", "embedlib.cli.app", "extract", folder, "--models", MODEL]
    for _ in range(2):  # the first run dies, the second one searches
        subprocess.run(
            [*map(str, line), "--out", str(out), "--local", "--quiet"],
            env={**environment, "PYTHONPATH": str(hook)},
            check=False,
        )
    monkeypatch.syspath_prepend(hook)
    found = repro(out, MODEL, "segfault.wav")
    assert (found.verdict, found.status_now) == (Verdict.SAME_STATUS, "crashed")
