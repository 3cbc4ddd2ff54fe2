"""`embedlib retry`: failed tracks again, their rows replaced at once, nothing else touched."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import embedlib
from embedlib.errors import ConfigError, OutputError
from embedlib.run.extract import RunWatcher
from embedlib.run.retry import RetrySummary, run_retry
from embedlib.tables.snapshot import read_snapshot

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
WaitUntil = Callable[[Callable[[], object], subprocess.Popen[str]], None]
KillRun = Callable[[subprocess.Popen[str]], None]

MUSICNN, TEMPO = "untrained-msd-musicnn-1", "untrained-deepsquare-k16-3"
MODELS = (MUSICNN, TEMPO)

SHORT_S, LONG_S = 8.0, 600.0
"""Limits of duration; only ``long.wav`` is between them."""

pytestmark = pytest.mark.usefixtures("in_this_process")


def extract(clips: Path, out: Path, *, max_duration_s: float, models: Sequence[str]) -> None:
    options = {"local": True, "patch_hop_frames": None, "max_duration_s": max_duration_s}
    embedlib.extract([str(clips)], models=list(models), out=out, **options)


def retry(
    out: Path, *statuses: str, watcher: RunWatcher | None = None, **options: Any
) -> RetrySummary:
    models = options.pop("models", ())
    return run_retry(
        out,
        statuses=statuses,
        models=models,
        options=options,
        watch=lambda: nullcontext(watcher or RunWatcher()),
    )


def rows_of(out: Path, model: str) -> dict[str, dict[str, object]]:
    rows = embedlib.open(out).tracks(model).to_arrow().to_pylist()
    return {str(row["track_id"]): row for row in rows}


@pytest.fixture(scope="module")
def whole(
    mixed_clips: Path,
    in_this_process: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An output in which the long track is embedded."""
    out = tmp_path_factory.mktemp("whole") / "out"
    extract(mixed_clips, out, max_duration_s=LONG_S, models=MODELS)
    return out


@pytest.fixture(scope="module")
def without_long(
    mixed_clips: Path,
    in_this_process: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An output in which it is too long."""
    out = tmp_path_factory.mktemp("short") / "out"
    extract(mixed_clips, out, max_duration_s=SHORT_S, models=MODELS)
    return out


@pytest.fixture
def out(without_long: Path, tmp_path: Path) -> Path:
    """A copy of that output, in another place."""
    return Path(shutil.copytree(without_long, tmp_path / "out"))


class Planned(RunWatcher):
    """Remember the tracks that a run is to decode."""

    def __init__(self) -> None:
        self.track_ids: list[str] = []

    def on_plan(self, plan: Any) -> None:
        self.track_ids += [t.track_id for shard in plan.shards.values() for t in shard.tracks]


@dataclass(frozen=True)
class Retried:
    """An output after a retry of the track that was too long, and what was seen of it."""

    out: Path
    done: RetrySummary
    planned: list[str]


@pytest.fixture(scope="module")
def retried(without_long: Path, tmp_path_factory: pytest.TempPathFactory) -> Retried:
    """One retry for all that look at what it made, and change nothing."""
    out = Path(shutil.copytree(without_long, tmp_path_factory.mktemp("retried") / "out"))
    onlooker = Planned()
    done = retry(out, "too_long", watcher=onlooker, max_duration_s=LONG_S)
    return Retried(out, done, onlooker.track_ids)


def test_a_retried_output_is_that_of_a_run_that_had_no_failure(
    retried: Retried, whole: Path
) -> None:
    assert (retried.done.before, retried.done.after) == ({"too_long": 2}, {"ok": 2})
    assert embedlib.diff(retried.out, whole).differences == ()
    assert embedlib.verify(retried.out).problems == ()


def test_everything_else_stays_bit_equal(retried: Retried, without_long: Path) -> None:
    before, after = rows_of(without_long, MUSICNN), rows_of(retried.out, MUSICNN)
    assert [name for name in after if after[name] != before[name]] == ["long.wav"]
    assert after["long.wav"]["shard_id"] == before["long.wav"]["shard_id"]


def test_only_the_tracks_of_that_status_are_decoded(retried: Retried) -> None:
    assert retried.planned == ["long.wav"]


def test_each_model_gets_one_version_of_its_log(retried: Retried, without_long: Path) -> None:
    versions = {model: read_snapshot(without_long / model).version for model in MODELS}
    after = {model: read_snapshot(retried.out / model).version for model in MODELS}
    assert after == {model: version + 1 for model, version in versions.items()}


def test_nothing_left_writes_nothing(retried: Retried) -> None:
    before = sorted(path for path in retried.out.rglob("*"))
    done = retry(retried.out, "too_long")
    assert (done.n_rows, done.run_ids) == (0, ())
    assert sorted(path for path in retried.out.rglob("*")) == before


def test_several_statuses_are_one_version_of_the_log(out: Path) -> None:
    version = read_snapshot(out / TEMPO).version
    done = retry(out, "too_long", "undecodable", models=[TEMPO])
    assert (done.n_rows, read_snapshot(out / TEMPO).version) == (2, version + 1)


def test_a_model_that_is_not_named_is_left_alone(out: Path) -> None:
    version = read_snapshot(out / TEMPO).version
    done = retry(out, "too_long", models=[MUSICNN], max_duration_s=LONG_S)
    assert (done.models, done.n_rows) == ((MUSICNN,), 1)
    assert read_snapshot(out / TEMPO).version == version


def test_the_options_are_those_of_the_last_run(out: Path) -> None:
    done = retry(out, "too_long", models=[TEMPO])
    assert (done.after, done.n_failed) == ({"too_long": 1}, 1)
    retry(out, "too_long", models=[TEMPO], max_duration_s=LONG_S)
    (run_id,) = retry(out, "undecodable", models=[TEMPO]).run_ids
    assert f"max_duration_s: {LONG_S}\n" in (out / "runs" / run_id / "config.yaml").read_text()


def test_tables_of_different_runs_get_runs_of_their_own(mixed_clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for model in MODELS:
        extract(mixed_clips, out, max_duration_s=SHORT_S, models=[model])
    done = retry(out, "too_long", max_duration_s=LONG_S)
    assert (len(done.run_ids), done.n_rows) == (2, 2)
    assert embedlib.verify(out).problems == ()


class Stopped(Exception):
    """What ends a run in these tests."""


class Stopper(RunWatcher):
    """End a run at its first event: nothing was made."""

    def on_event(self, *_: object) -> None:
        raise Stopped


def test_an_error_before_the_first_row_changes_no_row(out: Path, without_long: Path) -> None:
    with pytest.raises(Stopped):
        retry(out, "too_long", watcher=Stopper(), max_duration_s=LONG_S)
    assert embedlib.diff(out, without_long).differences == ()
    assert not list(out.glob("runs/*/retry"))


@pytest.mark.parametrize(
    ("statuses", "named"),
    [(["ok"], "'ok'"), (["timeout", "slow"], "'slow'"), ([], "nothing")],
    ids=["ok", "unknown", "none"],
)
def test_what_is_no_failure_is_refused(out: Path, statuses: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named} is no status that can be retried"):
        retry(out, *statuses)


def test_a_table_that_is_not_there_is_named(out: Path) -> None:
    with pytest.raises(OutputError, match="no table of 'msd-vgg-1'"):
        retry(out, "timeout", models=["msd-vgg-1"])


def test_a_table_whose_options_are_lost_is_named(out: Path) -> None:
    shutil.rmtree(out / "runs")
    with pytest.raises(OutputError, match=f"no run in .* tells how .*{MUSICNN}.* was made"):
        retry(out, "too_long")


# The command


def test_the_command_says_what_it_did_and_then_that_nothing_is_left(
    command: Command, out: Path
) -> None:
    line = ("retry", out, "--status", "too_long,crashed", "--max-duration-s", LONG_S)
    first, second = command(*line), command(*line)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout.splitlines()[0].startswith(f"2 rows of {TEMPO}, {MUSICNN} replaced in ")
    assert first.stdout.splitlines()[1:] == ["before: 2 too_long; now: 2 ok"]
    assert second.stdout.startswith("nothing to do: no track of ")


def test_tracks_that_fail_again_are_counted(command: Command, out: Path) -> None:
    line = ("retry", out, "--status", "undecodable", "--quiet", "--json")
    ended = command(*line)
    summary = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (3, "")
    assert (summary["after"], summary["n_failed"]) == ({"undecodable": 2}, 2)
    assert command(*line, "--max-failed", 2).returncode == 0


# Kills


@pytest.fixture(scope="module")
def failed(
    command: Command,
    extract_clips: Callable[..., tuple[object, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An output of the clips in which whatever can be decoded took too long."""
    out = tmp_path_factory.mktemp("failed") / "out"
    options = ("--local", "--quiet", "--cpu-deadline-s", "1e-9", "--max-failed", 28)
    done = command(*extract_clips(out, *options))
    assert done.returncode == 0, done.stderr
    return out


def test_a_killed_retry_changes_no_row_and_the_next_one_takes_up_what_it_made(
    start: Start,
    command: Command,
    wait_until: WaitUntil,
    kill_run: KillRun,
    failed: Path,
    clean: Path,
    tmp_path: Path,
) -> None:
    out = Path(shutil.copytree(failed, tmp_path / "out"))
    line = ("retry", out, "--status", "timeout", "--cpu-deadline-s", 600, "--quiet", "--json")
    driver = start(*line)
    wait_until(lambda: any(out.glob("runs/*/retry/rows/*/_delta_log/*1.json")), driver)
    kill_run(driver)
    (rows,) = out.glob("runs/*/retry/rows")
    n_made = read_snapshot(rows / MUSICNN).n_rows
    assert embedlib.diff(out, failed).differences == ()
    assert embedlib.verify(out).problems == ()
    onlooker = Planned()
    done = retry(out, "timeout", watcher=onlooker, cpu_deadline_s=600.0)
    assert len(onlooker.track_ids) == done.before["timeout"] - n_made
    assert embedlib.diff(out, clean).differences == ()
    assert embedlib.verify(out).problems == ()
    assert not list(out.glob("runs/*/retry"))


@pytest.mark.slow
def test_a_retry_through_ray_gives_the_rows_of_a_clean_run(
    command: Command, failed: Path, clean: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(failed, tmp_path / "out"))
    line = ("retry", out, "--status", "timeout", "--cpu-deadline-s", 600, "--quiet", "--ray")
    done = command(*line)
    assert done.returncode == 0, done.stderr
    assert embedlib.diff(out, clean).differences == ()
