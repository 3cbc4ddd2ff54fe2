"""What the verbs print: with --json one object and nothing else, without it a few plain lines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.cli import watch
from embedlib.cli.app import main, spread
from embedlib.cli.extract import summary_lines
from embedlib.run.extract import RunSummary

MODEL = "untrained-msd-musicnn-1"
SR_HZ = 16_000

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a song and a text that claims to be one."""
    folder = tmp_path_factory.mktemp("songs")
    write_audio(folder / "a.wav", synthesise_music(5.0, sr_hz=SR_HZ), sr_hz=SR_HZ)
    (folder / "b.mp3").write_text("This is not music.")
    return folder


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; its exit code, stdout and stderr."""
    monkeypatch.setenv("EMBEDLIB_CACHE", str(folder.parent / "cache"))
    monkeypatch.delenv("EMBEDLIB_MODELS", raising=False)

    def run_one(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["embedlib", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run_one


@pytest.fixture
def out(folder: Path, run: Run) -> Path:
    """A finished output of the folder, the same for all tests of this module."""
    out = folder.parent / "out"
    run("extract", folder, "--models", MODEL, "--out", out, "--local", "--quiet")
    return out


def test_extract_tells_people_what_it_did_and_what_failed(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    code, stdout, stderr = run(
        "extract", folder, "--models", MODEL, "--out", tmp_path / "out", "--local"
    )
    rows, failed, audio, note = stdout.splitlines()
    assert (code, stderr) == (3, "")
    assert rows.startswith("2 rows, 2 patches, 0.00 h of audio for untrained-msd-musicnn-1 in ")
    assert failed == f"failed rows: 1 undecodable; see `embedlib failures {tmp_path / 'out'}`"
    assert audio == "audio: 1 decode, 0 resamplings, 1 front end pass"
    assert note.startswith("note: ")


def test_extract_prints_its_summary_as_one_object(folder: Path, run: Run, tmp_path: Path) -> None:
    options = ("--models", MODEL, "--out", tmp_path / "out", "--local", "--json")
    code, stdout, _ = run("extract", folder, *options)
    summary = json.loads(stdout)
    assert code == 3
    assert summary["statuses"] == {"ok": 1, "undecodable": 1}
    assert (summary["n_rows"], summary["n_failed"], summary["untrained"]) == (2, 1, [MODEL])


def test_the_summary_and_the_configuration_are_kept_with_the_output(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _, stdout, _ = run("extract", folder, "--models", MODEL, "--out", out, "--local", "--json")
    (kept,) = (out / "runs").iterdir()
    assert json.loads((kept / "summary.json").read_text()) == json.loads(stdout)
    assert f"- {MODEL}\n" in (kept / "config.yaml").read_text()


def test_a_kept_configuration_repeats_the_run(folder: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("extract", folder, "--models", MODEL, "--out", out, "--local", "--patch-hop-frames", 31)
    (kept,) = (out / "runs").glob("*/config.yaml")
    code, stdout, _ = run("extract", "--config", kept)
    assert code == 0
    assert stdout.startswith("nothing to do: ")


def test_a_flag_overrides_the_file(folder: Path, run: Run, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"sources: [{folder}]\nmodels: [{MODEL}]\nout: {tmp_path}/a\nlocal: true\n")
    run("extract", "--config", config, "--out", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["b"]


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("status {out}", {"out", "models"}),
        ("verify {out}", {"problems", "notes", "n_tracks", "n_rows"}),
        ("failures {out}", {"out", "failures"}),
        ("diff {out} {out}", {"differences", "n_rows", "exact"}),
        ("files {out} {model}", {"out", "model", "files"}),
        ("models list", {"models"}),
    ],
)
def test_json_is_one_object_and_nothing_else(
    verb: str, expected: set[str], out: Path, run: Run
) -> None:
    code, stdout, stderr = run(*verb.format(out=out, model=MODEL).split(), "--json")
    found: dict[str, Any] = json.loads(stdout)
    assert (code, stderr) == (0, "")
    assert found.keys() >= expected


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("status {out}", [MODEL, "2/2, 1 failed", "1 ok 1 undecodable"]),
        ("verify {out}", ["clean: 2 tracks in the catalogue", f"2 rows of {MODEL}"]),
        ("failures {out}", ["b.mp3", "undecodable", "is not audio"]),
        ("diff {out} {out}", ["same: 2 rows compared"]),
        ("files {out} {model}", [f"/{MODEL}/part-", ".parquet"]),
    ],
)
def test_people_get_plain_lines(verb: str, words: list[str], out: Path, run: Run) -> None:
    code, stdout, stderr = run(*verb.format(out=out, model=MODEL).split())
    assert (code, stderr) == (0, "")
    assert all(word in stdout for word in words), stdout


def test_differences_end_with_1_and_are_named(
    folder: Path, out: Path, run: Run, tmp_path: Path
) -> None:
    options = ("--models", MODEL, "--local", "--patch-hop-frames", 31)
    run("extract", folder, *options, "--out", tmp_path / "other")
    code, stdout, _ = run("diff", out, tmp_path / "other")
    assert code == 1
    assert "model.json patch_hop_frames: 93 against 31" in stdout


def test_a_lost_part_ends_verify_with_1(folder: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("extract", folder, "--models", MODEL, "--out", out, "--local")
    next((out / MODEL).glob("part-*")).unlink()
    code, stdout, _ = run("verify", out, "--json")
    assert code == 1
    assert len(json.loads(stdout)["problems"]) > 0


def test_people_are_told_how_to_continue_after_a_signal() -> None:
    summary = RunSummary(
        run_id="r", out="out", models=("m",), untrained=(), n_tracks=2, n_new=2, n_changed=0,
        n_vanished=1, n_rows=1, n_patches=3, statuses={"ok": 1}, n_failed=0, audio_s=5.0,
        wall_s=2.0, decoding={"decodes": 1, "resamplings": 2}, signal_number=2,
        decoding_saved={"decodes": 3, "resamplings": -2},  # the run ended before its parts
    )  # fmt: skip
    rows, audio, vanished, ended = summary_lines(summary)
    assert rows.startswith("1 rows, 3 patches, ")
    assert audio == "audio: 1 decode (3 saved), 2 resamplings"
    assert "1 have vanished since they were planned" in vanished
    assert "`embedlib index` takes them up" in vanished
    assert ended == "ended early by a signal; run the same command to continue"


SUMMARY = RunSummary(
    run_id="r", out="out", models=("m", "n"), untrained=(), n_tracks=2, n_new=2, n_changed=0,
    n_vanished=0, n_rows=4, n_patches=3, statuses={"empty": 2, "ok": 2}, n_failed=2,
    audio_s=7200.0, wall_s=46.2, decoding={}, decoding_saved={}, signal_number=0,
)  # fmt: skip


def test_what_is_counted_for_each_model_is_called_so() -> None:
    done, failed = summary_lines(SUMMARY)
    assert done.startswith("4 rows, 3 patches, 2.00 model hours for m, n in 46.2 s (156 times real")
    assert "models summed" in done
    assert failed.startswith("failed rows: 2 empty; see ")


def test_a_prediction_stands_beside_the_time_on_the_same_clock() -> None:
    line = summary_lines(replace(SUMMARY, predicted_s=0.6, worked_s=6.1))[-1]
    assert line == "took 6.1 s from the first shard on, predicted 0.6 s"


def test_models_takes_several_names_until_the_next_option() -> None:
    typed = ["a", "--models", "x", "y", "--out", "o", "b"]
    assert spread(typed) == [*("a", "--models", "x", "--models", "y", "--out", "o", "b")]


def test_a_wrong_option_is_a_usage_error(run: Run) -> None:
    code, stdout, stderr = run("extract", "a.wav", "--hop", "31")
    assert (code, stdout) == (2, "")
    assert "--hop" in stderr


def test_the_story_of_a_failed_track_has_its_rows_attempts_and_log(out: Path, run: Run) -> None:
    code, stdout, stderr = run("failures", out, "--show", "b.mp3")
    assert (code, stderr) == (0, "")
    for words in ("track    b.mp3", f"model       {MODEL}", "undecodable", "is not audio"):
        assert words in stdout
    attempts, log = stdout.split("\n\n")[2:4]
    assert "written" in attempts
    assert "track=b.mp3 status=undecodable" in log
    assert "shard=" in log


def test_the_story_of_a_track_is_one_object(out: Path, run: Run) -> None:
    code, stdout, stderr = run("failures", out, "--show", "b.mp3", "--json")
    story = json.loads(stdout)
    (attempt,) = story["attempts"]
    assert (code, stderr) == (0, "")
    assert story["rows"][MODEL]["status"] == "undecodable"
    assert story["rows"][MODEL]["shard_id"] == story["shard_id"]
    assert (attempt["outcome"], attempt["model"]) == ("written", MODEL)
    assert attempt["run"] == next((out / "runs").glob("*/log-0.txt")).parent.name
    assert any("track=b.mp3" in line for line in story["lines"])
    assert not any("track=a.wav" in line for line in story["lines"])


def test_a_track_that_there_is_not_is_an_error_that_names_near_ones(out: Path, run: Run) -> None:
    code, stdout, stderr = run("failures", out, "--show", "c.mp3")
    assert (code, stdout) == (1, "")
    assert stderr.startswith(f"error: {out} has no track 'c.mp3'; near to it are 'b.mp3'")
    assert stderr.count("\n") == 1


class Waiting:
    """The clock of who waits; moved by its sleeps, with something that happens at the third."""

    def __init__(self, happens: Callable[[], object] = lambda: None) -> None:
        self.now_s = 0.0
        self._happens = {3: happens}
        self._n_slept = 0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self._n_slept += 1
        self._happens.get(self._n_slept, lambda: None)()


@pytest.mark.parametrize("is_there", [False, True])
def test_watching_waits_for_a_run_that_is_starting(
    is_there: bool, out: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    if is_there:
        late.mkdir()
    begin = partial(shutil.copytree, out / "runs", late / "runs")
    monkeypatch.setattr(watch, "time", Waiting(begin))
    code, stdout, stderr = run("status", late, "--watch")
    assert (code, stderr) == (0, f"waiting for a run of {late}; Ctrl-C ends this\n")
    assert stdout.endswith(": done\n")


def test_watching_gives_up_where_no_run_begins(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Waiting()
    monkeypatch.setattr(watch, "time", clock)
    code, stdout, stderr = run("status", tmp_path / "none", "--watch")
    assert (code, stdout, clock.now_s) == (1, "", pytest.approx(120.0))
    error = stderr.splitlines()[-1]
    assert error.startswith(f"error: no run of {tmp_path / 'none'} has told of itself within 120 s")


def test_watching_ends_at_once_where_no_run_is_under_way(out: Path, run: Run) -> None:
    code, stdout, stderr = run("status", out, "--watch")
    (line,) = stdout.splitlines()
    assert (code, stderr) == (0, "")
    assert line.startswith("run 20")
    assert line.endswith(": done")


def test_watching_with_json_prints_an_object_per_look(out: Path, run: Run) -> None:
    code, stdout, _ = run("status", out, "--watch", "--json")
    (seen,) = map(json.loads, stdout.splitlines())
    assert code == 0
    assert (seen["runs"][0]["ended"], seen["runs"][0]["is_under_way"]) == ("done", False)
    assert seen["runs"][0]["standing"]["statuses"] == {"ok": 1, "undecodable": 1}


@pytest.mark.parametrize("every", ["2", "fast"])
def test_a_time_between_looks_needs_a_unit(every: str, out: Path, run: Run) -> None:
    code, _, stderr = run("status", out, "--watch", "--every", every)
    assert code == 2
    assert f"--every {every} is no duration" in stderr


def test_a_run_that_was_cut_off_is_named_by_status(folder: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("extract", folder, "--models", MODEL, "--out", out, "--local", "--quiet")
    (record,) = (out / "runs").glob("*/progress.json")
    values = json.loads(record.read_text()) | {"ended": "", "host": "gone", "written_unix_s": 1e9}
    record.write_text(json.dumps(values))
    assert "killed or cut off, last seen 2001-09-09T01:46:40Z on host gone" in run("status", out)[1]
    code, stdout, _ = run("status", out, "--watch")
    assert (code, stdout.count("killed or cut off")) == (1, 1)
