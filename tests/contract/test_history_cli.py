"""`embedlib history` and `embedlib drift` after real runs: lines, one object, a page, one error."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.cli.history import drift, history
from embedlib.cli.outputs import diff
from embedlib.errors import ConfigError, OutputError
from embedlib.run import extract as extract_module
from embedlib.run.extract import RunWatcher
from embedlib.run.retry import RetrySummary, run_retry
from embedlib.tables.states import states

MODEL = "untrained-msd-musicnn-1"
SR_HZ = 16_000

app = typer.Typer()
app.command()(history)
app.command()(drift)
app.command()(diff)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text that claims to be music."""
    folder = tmp_path_factory.mktemp("songs")
    (folder / "z.mp3").write_text("This is not music.")
    return folder


@pytest.fixture(scope="module")
def out(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: two songs and the text; one more song; nothing new."""
    out = tmp_path_factory.mktemp("history") / "out"
    for names in ("ab", "c", ""):
        for seed, name in enumerate(names):
            y = synthesise_music(5.0, sr_hz=SR_HZ, seed=seed + len(names))
            write_audio(songs / f"{name}.wav", y, sr_hz=SR_HZ)
        embedlib.extract([str(songs)], models=[MODEL], out=out, local=True)
    return out


def printed(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code
    return result.stdout


def retried(out: Path) -> RetrySummary:
    return run_retry(
        out,
        statuses=["undecodable"],
        options={"local": True},
        watch=lambda: nullcontext(RunWatcher()),
    )


def test_each_run_that_ended_is_a_line_with_what_came_and_went(out: Path) -> None:
    header, *lines = printed("history", out).splitlines()
    assert header.split() == ["state", "ended", "(UTC)", "run", "catalog", MODEL]
    assert [line.split()[0] for line in lines[:3]] == ["1", "2", "3"]
    assert [line.split()[3:] for line in lines[:3]] == [
        ["extract", "3", "(+3", "-0)", "3", "(+3", "-0)"],
        ["extract", "4", "(+1", "-0)", "4", "(+1", "-0)"],
        ["extract", "4", "(+0", "-0)", "4", "(+0", "-0)"],
    ]


def test_history_is_one_object(out: Path) -> None:
    found = json.loads(printed("history", out, "--json"))
    assert found["out"] == str(out)
    assert found["states"][1]["tables"][MODEL]["n_added"] == 1
    assert found["states"][1]["run_id"] == states(out)[1].run_id


def test_the_state_is_the_last_file_of_its_run(out: Path) -> None:
    folder = out / "runs" / states(out)[0].run_id
    ages = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert max(ages, key=ages.__getitem__) == "state.json"


def test_a_retry_that_ended_is_a_state_too(out: Path) -> None:
    n_before = len(states(out))
    summary = retried(out)
    *_, last = states(out)
    assert (len(states(out)), last.kind, last.run_id) == (n_before + 1, "retry", summary.run_ids[0])
    assert last.tables[MODEL].n_added == last.tables[MODEL].n_removed == 0


def test_two_states_are_compared_by_diff(out: Path) -> None:
    assert printed("diff", f"{out}@2", f"{out}@3").startswith("same: 4 rows compared")
    stdout = printed("diff", f"{out}@1", f"{out}@2", exit_code=1)
    assert "track_id: 0 rows against 1 rows" in stdout


def test_drift_is_told_in_lines_and_written_as_a_page(out: Path, tmp_path: Path) -> None:
    page = tmp_path / "drift.html"
    lines = printed("drift", f"{out}@1", f"{out}@2", "--to", page).splitlines()
    assert lines[1] == "catalogue: 3 -> 4 (1 new, 0 gone, 0 changed)"
    assert lines[2:5] == [
        MODEL,
        "  tracks: 3 -> 4 (1 new, 0 gone, 0 changed)",
        "  failures: undecodable 1 -> 1",
    ]
    assert lines[-1] == str(page)
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_drift_is_one_object(out: Path) -> None:
    found = json.loads(printed("drift", f"{out}@1", f"{out}@2", "--json"))
    (model,) = found["models"]
    assert found["file"] is None
    assert model["counts"]["n_new"] == 1
    assert model["shift"]["verdict"] == "chance"
    assert np.isfinite([model["shift"][name] for name in ("shift_sd", "chance_sd", "p")]).all()


def test_a_state_that_there_is_not_is_one_error(out: Path) -> None:
    with pytest.raises(OutputError, match="has no state 99; it has 1 of"):
        printed("drift", f"{out}@99", out)


def test_a_run_that_a_signal_ended_is_no_state(
    songs: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(songs / "d.wav", synthesise_music(5.0, sr_hz=SR_HZ, seed=9), sr_hz=SR_HZ)
    n_before = len(states(out))
    monkeypatch.setattr(extract_module, "drive", lambda *_: 15)
    embedlib.extract([str(songs)], models=[MODEL], out=out, local=True)
    assert len(states(out)) == n_before


@pytest.mark.parametrize("verb", [["history"], ["drift", "x"]], ids=" ".join)
def test_what_is_no_output_is_one_error(verb: list[str], tmp_path: Path) -> None:
    with pytest.raises((OutputError, ConfigError), match="is not a"):
        printed(*verb, tmp_path / "gone")
