"""`embedlib plan`: what a run would do and cost, told without writing anything."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import extract_config
from embedlib.errors import ConfigError, FingerprintError
from embedlib.run.outlook import Outlook, look_ahead

Command = Callable[..., subprocess.CompletedProcess[str]]

MUSICNN, TEMPO = "untrained-msd-musicnn-1", "untrained-deepsquare-k16-3"
N_FILES = 5

pytestmark = pytest.mark.usefixtures("in_this_process")


def outlook_of(clips: Path, out: Path, *models: str, **options: object) -> Outlook:
    values = {"sources": [str(clips)], "models": list(models), "out": str(out), **options}
    return look_ahead(extract_config(values))[0]


@pytest.fixture(scope="module")
def done(
    mixed_clips: Path,
    in_this_process: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished output of one model."""
    out = tmp_path_factory.mktemp("done") / "out"
    embedlib.extract([str(mixed_clips)], models=[MUSICNN], out=out, local=True)
    return out


def files_of(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def test_a_plan_makes_no_output(mixed_clips: Path, tmp_path: Path) -> None:
    found = outlook_of(mixed_clips, tmp_path / "out", MUSICNN, TEMPO)
    assert (found.n_tracks, found.n_new, found.n_pending) == (N_FILES, N_FILES, N_FILES)
    assert [model.n_rows for model in found.models] == [N_FILES, N_FILES]
    assert not list(tmp_path.iterdir())


def test_a_plan_touches_no_file_of_an_output(mixed_clips: Path, done: Path) -> None:
    before = files_of(done)
    outlook_of(mixed_clips, done, MUSICNN, TEMPO)
    assert files_of(done) == before


def test_of_an_output_only_what_is_left_is_planned(mixed_clips: Path, done: Path) -> None:
    found = outlook_of(mixed_clips, done, MUSICNN, TEMPO)
    assert (found.n_tracks, found.n_new) == (N_FILES, 0)
    rows = {model.model: (model.n_rows, model.n_patches > 0) for model in found.models}
    assert rows == {MUSICNN: (0, False), TEMPO: (N_FILES, True)}


def test_nothing_is_planned_where_all_is_done(mixed_clips: Path, done: Path) -> None:
    found = outlook_of(mixed_clips, done, MUSICNN)
    assert (found.n_shards, found.n_pending, found.audio_s) == (0, 0, 0.0)
    assert found.models[0].n_bytes == 0


def test_the_plan_of_a_run_is_the_one_that_was_shown(mixed_clips: Path, tmp_path: Path) -> None:
    found = outlook_of(mixed_clips, tmp_path / "out", TEMPO)
    run = embedlib.extract([str(mixed_clips)], models=[TEMPO], out=tmp_path / "out", local=True)
    n_shards = len(list((tmp_path / "out" / TEMPO).glob("part-*.parquet")))
    assert (found.n_shards, found.n_pending) == (n_shards, run.n_rows)


@pytest.mark.parametrize("patches", [True, False])
def test_cd_audio_gives_the_patches_and_about_the_bytes_that_were_shown(
    tmp_path: Path, patches: bool
) -> None:
    wav, out = tmp_path / "cd.wav", tmp_path / "out"
    music = synthesise_music(20.0, sr_hz=44_100, n_channels=2)
    write_audio(wav, music, sr_hz=44_100)
    options = {"patch_hop_frames": 8, "patches": patches}
    found = outlook_of(wav, out, MUSICNN, **options).models[0]
    run = embedlib.extract([str(wav)], models=[MUSICNN], out=out, local=True, **options)
    (part,) = (out / MUSICNN).glob("part-*.parquet")
    assert found.n_patches == run.n_patches
    assert found.n_bytes == pytest.approx(part.stat().st_size, rel=0.2)


def test_other_parameters_are_refused_as_a_run_would(mixed_clips: Path, done: Path) -> None:
    with pytest.raises(FingerprintError, match="patch_hop_frames"):
        outlook_of(mixed_clips, done, MUSICNN, patch_hop_frames=31)


def test_other_sources_are_refused_as_a_run_would(clips: Path, done: Path) -> None:
    with pytest.raises(ConfigError, match="was made from"):
        outlook_of(clips, done, MUSICNN)


# The command


def test_people_get_a_line_and_a_table(command: Command, mixed_clips: Path, tmp_path: Path) -> None:
    ended = command("plan", mixed_clips, "--models", MUSICNN, "--out", tmp_path / "out")
    first, header, row = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert first.startswith("5 of 5 tracks to do in 1 shards, about 0.0")
    assert header.split() == ["model", "rows", "hours", "patches", "MB"]
    assert row.split()[:2] == [MUSICNN, "5"]


def test_an_estimate_comes_with_hours_time_stage_and_cost(
    command: Command, mixed_clips: Path, tmp_path: Path
) -> None:
    options = ("--estimate", "--core-hour-price", "100", "--local", "--json")
    line = ("plan", mixed_clips, "--models", MUSICNN, "--out", tmp_path / "out", *options)
    found = json.loads(command(*line).stdout)
    costs = found["estimate"]
    assert costs["stage_hours"].keys() == {"decode", MUSICNN}
    assert costs["core_hours"] == pytest.approx(sum(costs["stage_hours"].values()))
    assert costs["wall_s"] == pytest.approx(3600 * costs["core_hours"])
    assert costs["cost"] == pytest.approx(100 * costs["core_hours"])
    assert costs["n_sampled"] == N_FILES - 1
    assert not (tmp_path / "out").exists()


def test_a_run_after_an_estimate_tells_what_was_predicted(
    command: Command, mixed_clips: Path, tmp_path: Path
) -> None:
    line = (mixed_clips, "--models", TEMPO, "--out", tmp_path / "out", "--local", "--json")
    predicted = json.loads(command("plan", *line, "--estimate").stdout)["estimate"]
    summary = json.loads(command("extract", *line, "--quiet").stdout)
    (kept,) = (tmp_path / "out" / "runs").glob("*/estimate.json")
    assert json.loads(kept.read_text()).keys() == predicted.keys()
    assert summary["predicted_s"] == json.loads(kept.read_text())["wall_s"] > 0


def test_the_object_of_a_plan_has_the_fields_of_its_record(
    command: Command, mixed_clips: Path, done: Path
) -> None:
    ended = command("plan", mixed_clips, "--models", MUSICNN, "--out", done, "--json")
    expected = asdict(outlook_of(mixed_clips, done, MUSICNN))
    assert json.loads(ended.stdout) == json.loads(json.dumps(expected)) | {"estimate": None}
