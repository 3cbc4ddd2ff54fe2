"""Limits on where audio may lie, from the option to the next run of an output."""

from __future__ import annotations

from pathlib import Path

import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import extract_config
from embedlib.errors import SourceRefusedError
from embedlib.run.extract import RunWatcher
from embedlib.run.groups import earlier_options
from embedlib.run.index import run_index
from embedlib.run.outlook import look_ahead

STAND_IN = "untrained-msd-musicnn-1"


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    for path in (folder / "a.wav", tmp_path / "secret.wav"):
        path.parent.mkdir(exist_ok=True)
        y = synthesise_music(3.5, sr_hz=16_000, n_channels=1, seed=1, style="drums")
        write_audio(path, y, sr_hz=16_000)
    return folder


def test_a_plan_and_a_run_that_leave_the_roots_are_refused_and_nothing_is_written(
    music: Path, tmp_path: Path
) -> None:
    (music / "link.wav").symlink_to(tmp_path / "secret.wav")
    out = tmp_path / "out"
    values = {"sources": [str(music)], "models": [STAND_IN], "out": str(out), "local": True}
    config = extract_config({**values, "allow_roots": [str(music)]})
    with pytest.raises(SourceRefusedError, match=r"link\.wav"):
        look_ahead(config)
    with pytest.raises(SourceRefusedError, match=r"link\.wav"):
        embedlib.extract([str(music)], models=[STAND_IN], out=out, allow_roots=[str(music)])
    assert not list(out.rglob("*.parquet"))


def test_later_runs_of_an_output_keep_the_limits(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    limits = {"allow_roots": ["music"], "allow_schemes": ["file"]}
    done = embedlib.extract([str(music)], models=[STAND_IN], out="out", local=True, **limits)
    assert done.statuses == {"ok": 1}
    options = earlier_options(tmp_path / "out")
    assert (options["allow_roots"], options["allow_schemes"]) == ([str(music)], ["file"])
    monkeypatch.chdir(music)
    (music / "link.wav").symlink_to(tmp_path / "secret.wav")
    config = extract_config({**options, "out": str(tmp_path / "out")})
    with pytest.raises(SourceRefusedError, match=r"link\.wav"):
        run_index(config, watcher=RunWatcher())
