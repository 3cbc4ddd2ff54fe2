"""`embedlib index`: whatever happens to the sources and the runs, it ends as a clean extraction."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.catalog.listing import list_sources
from embedlib.config import ExtractConfig, extract_config
from embedlib.errors import ConfigError, RunError
from embedlib.run import index as index_module
from embedlib.run import proof
from embedlib.run.extract import RunWatcher
from embedlib.run.groups import earlier_options
from embedlib.run.index import content_hash, run_index
from embedlib.run.index_lock import LOCK_FILE
from embedlib.run.index_summary import IndexSummary
from embedlib.run.points import Point
from embedlib.tables.catalog import read_plan
from embedlib.tables.move import move_rows
from embedlib.tables.reconcile import reconcile
from embedlib.tables.states import states

Command = Callable[..., subprocess.CompletedProcess[str]]

MUSICNN, TEMPO = "untrained-msd-musicnn-1", "untrained-deepsquare-k16-3"
SR_HZ = 16_000
KEEP = timedelta(days=7)

pytestmark = pytest.mark.usefixtures("in_this_process")


def write_clip(path: Path, *, seed: int, duration_s: float = 3.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    music = synthesise_music(duration_s, sr_hz=SR_HZ, n_channels=1, seed=seed, style="drums")
    write_audio(path, music, sr_hz=SR_HZ)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips, one of them no audio."""
    folder = tmp_path_factory.mktemp("source") / "music"
    for number in range(5):
        write_clip(folder / f"{number}.flac", seed=number)
    (folder / "text.mp3").write_text("This is not music.")
    return folder


@pytest.fixture(scope="module")
def indexed(
    clips: Path, in_this_process: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of the clips beside their output."""
    folder = tmp_path_factory.mktemp("indexed")
    shutil.copytree(clips, folder / "music")
    index(folder / "music", folder / "out")
    return folder


@pytest.fixture
def music(indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clips, which may be changed; their output is beside them."""
    # Moved away and back, so that paths and times of modification are those of the catalogue.
    copy = tmp_path / "before"
    shutil.copytree(indexed, copy)
    return indexed / "music"


@pytest.fixture(autouse=True)
def restored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Put back what a test has changed of `indexed`."""
    yield
    if (copy := tmp_path / "before").is_dir():
        indexed = request.getfixturevalue("indexed")
        shutil.rmtree(indexed)
        shutil.copytree(copy, indexed)


def config_of(music: Path, out: Path, **options: Any) -> ExtractConfig:
    values: dict[str, Any] = {
        "sources": [str(music)],
        "models": [MUSICNN],
        "out": str(out),
        "local": True,
        "shard_hours": 1e-9,  # a shard for each track
    }
    return extract_config(values | options)


def index(
    music: Path,
    out: Path | None = None,
    *,
    dry_run: bool = False,
    watcher: RunWatcher | None = None,
    **options: Any,
) -> IndexSummary:
    config = config_of(music, out or music.parent / "out", **options)
    return run_index(config, keep=KEEP, dry_run=dry_run, watcher=watcher or RunWatcher())


def assert_as_extracted(music: Path, out: Path, clean: Path, **options: Any) -> None:
    """Hold an output against one that was made at once."""
    values = {"models": [MUSICNN], "local": True, **options}
    embedlib.extract([str(music)], out=clean, **values)
    assert embedlib.diff(out, clean).differences == ()
    verified = embedlib.verify(out)
    assert verified.problems == ()
    planned, listed = (
        [(track.track_id, track.uri, track.version) for track in read_plan(each)]
        for each in (out, clean)
    )
    assert planned == listed


def change_everything(music: Path) -> None:
    """One clip is new, one is another, one has another name, one is gone."""
    write_clip(music / "new" / "song.flac", seed=40)
    write_clip(music / "1.flac", seed=41, duration_s=4.0)
    (music / "2.flac").rename(music / "renamed.flac")
    (music / "3.flac").unlink()


def files_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


# What it finds and does


def test_additions_edits_renames_and_deletions_end_as_a_clean_extraction(
    music: Path, tmp_path: Path
) -> None:
    change_everything(music)
    done = index(music)
    found = (done.n_new, done.n_changed, done.n_moved, done.n_deleted, done.n_unchanged)
    assert found == (1, 1, 1, 1, 3)
    assert (done.n_rows, done.n_rows_moved, done.n_rows_pruned) == (2, 1, 3)
    assert done.named["moved"] == ("renamed.flac",)
    assert_as_extracted(music, music.parent / "out", tmp_path / "clean")


def test_what_moved_costs_no_decode(music: Path) -> None:
    (music / "album").mkdir()
    for path in list(music.glob("*.flac")):
        path.rename(music / "album" / path.name)
    done = index(music)
    assert (done.n_moved, done.n_rows_moved, done.n_rows) == (5, 5, 0)
    assert done.decoding.get("decodes", 0) == 0


def test_a_second_run_decodes_nothing_and_counts_no_known_failure(music: Path) -> None:
    first = states(music.parent / "out")[-1].versions
    plans: list[Any] = []
    watcher = RunWatcher()
    watcher.on_plan = plans.append  # type: ignore[method-assign]
    done = index(music, watcher=watcher)
    assert (done.n_unchanged, done.n_rows, done.n_failed, done.decoding) == (6, 0, 0, {})
    assert plans == []
    assert states(music.parent / "out")[-1].versions == first


def test_a_dry_run_tells_the_differences_and_writes_nothing(music: Path) -> None:
    change_everything(music)
    before = files_of(music.parent)
    told = index(music, dry_run=True)
    assert (told.n_new, told.n_changed, told.n_moved, told.n_deleted) == (1, 1, 1, 1)
    assert told.named["new"] == ("new/song.flac",)
    assert files_of(music.parent) == before


def test_a_dry_run_of_an_output_that_is_not_there_makes_none(clips: Path, tmp_path: Path) -> None:
    assert index(clips, tmp_path / "out", dry_run=True).n_new == 6
    assert list(tmp_path.iterdir()) == []


def test_an_open_plan_is_finished_first_whoever_has_made_it(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        run_index_until_first_event(clips, out)
    done = index(clips, out)
    assert (done.n_finished, done.n_rows, done.n_new) == (6, 6, 0)
    assert_as_extracted(clips, out, tmp_path / "clean")


def test_an_open_plan_whose_files_are_gone_does_not_stop_the_run(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "MIN_UNSEEN", 1)  # as many as a shard of so few tracks holds
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    for number in range(40):
        shutil.copy2(clips / "0.flac", music / f"{number:02}.flac")
    with pytest.raises(Stopped):
        run_index_until_first_event(music, out)
    for number in range(10):
        (music / f"{number:02}.flac").unlink()
    with pytest.raises(RunError, match=r"most files of shard .* cannot be opened"):
        embedlib.extract([str(music)], models=[MUSICNN], out=out, local=True)
    done = index(music, out)
    assert (done.n_deleted, done.n_unchanged) == (10, 30)
    assert_as_extracted(music, out, tmp_path / "clean")


def test_all_tables_of_an_output_are_kept_true_whichever_models_are_named(
    music: Path, tmp_path: Path
) -> None:
    out = music.parent / "out"
    index(music, models=[TEMPO])
    change_everything(music)
    done = index(music, models=[TEMPO])
    assert set(done.models) == {TEMPO, MUSICNN}
    assert_as_extracted(music, out, tmp_path / "clean", models=[MUSICNN, TEMPO])


def test_the_later_of_two_equal_ids_is_a_row_that_says_so(clips: Path, tmp_path: Path) -> None:
    for folder, number in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        shutil.copy2(clips / f"{number}.flac", tmp_path / folder / "song.flac")
    sources = [str(tmp_path / folder) for folder in ("b", "a")]
    done = index(clips, tmp_path / "out", sources=sources)
    assert (done.n_duplicates, done.statuses) == (1, {"ok": 1, "duplicate_id": 1})
    assert done.decoding["decodes"] == 1
    again = index(clips, tmp_path / "out", sources=sources[::-1])
    assert (again.n_unchanged, again.n_rows) == (2, 0)
    assert embedlib.verify(tmp_path / "out").problems == ()


# Refusals


def test_sources_that_have_lost_most_files_are_not_believed(music: Path) -> None:
    for number in range(10):
        shutil.copy2(music / "0.flac", music / f"copy-{number}.flac")
    index(music)
    before = embedlib.open(music.parent / "out").tracks(MUSICNN).to_arrow()
    for path in music.glob("copy-*.flac"):
        path.unlink()
    with pytest.raises(RunError, match="10 of 16 tracks have vanished"):
        index(music)
    assert embedlib.open(music.parent / "out").tracks(MUSICNN).to_arrow() == before
    assert index(music, accept_missing=True).n_deleted == 10


def test_other_sources_are_refused(music: Path, clips: Path) -> None:
    before = files_of(music.parent)
    with pytest.raises(ConfigError, match="was made from"):
        index(clips, music.parent / "out")
    assert files_of(music.parent) == before


def test_a_second_run_at_the_same_time_is_refused_and_named(clips: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    class Second(RunWatcher):
        def on_plan(self, plan: Any) -> None:
            with pytest.raises(RunError, match=f"process {os.getpid()}, since") as caught:
                index(clips, tmp_path / "out")
            refused.append(str(caught.value))

    index(clips, tmp_path / "out", watcher=Second())
    assert len(refused) == 1
    assert not (tmp_path / "out" / "runs" / LOCK_FILE).exists()


# Two at once, and kills


class NoLock:
    """What a run is given that does without."""

    taken_from = None


@contextmanager
def without_lock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "IndexLock", lambda *_: nullcontext(NoLock()))
        yield


def test_two_runs_at_once_without_the_lock_end_as_a_clean_extraction(
    music: Path, tmp_path: Path
) -> None:
    change_everything(music)
    started = threading.Barrier(2)

    class Together(RunWatcher):
        met = False

        def on_plan(self, plan: Any) -> None:
            if not self.met:
                self.met = True
                started.wait(timeout=60)

    with without_lock(), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(index, music, watcher=Together()) for _ in range(2)]
        assert [each.result().signal_number for each in both] == [0, 0]
    assert_as_extracted(music, music.parent / "out", tmp_path / "clean")


class Stopped(Exception):
    """What ends a run in these tests."""


def run_index_until_first_event(music: Path, out: Path, **options: Any) -> None:
    class Stopper(RunWatcher):
        def on_event(self, *_: object) -> None:
            raise Stopped

    index(music, out, watcher=Stopper(), **options)


KILLED_AT = """
import os, signal, sys
from embedlib.cli.app import main
from embedlib.run import points

wanted = sys.argv.pop(1)

def kill(point, shard_id, model):
    if point == wanted:
        os.kill(os.getpid(), signal.SIGKILL)

points.install(kill)
main()
"""


@pytest.mark.parametrize("point", [Point.BEFORE_DECODE, Point.BEFORE_COMMIT, Point.AFTER_COMMIT])
def test_a_killed_run_leaves_right_rows_and_the_next_one_ends_right(
    point: Point, music: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    out = music.parent / "out"
    change_everything(music)
    line = [sys.executable, "-c", KILLED_AT, point, "index", "--out", str(out), "--quiet"]
    killed = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (out / "runs" / LOCK_FILE).exists()
    done = index(music)
    assert done.taken_over_from.startswith("host ")
    assert_as_extracted(music, out, tmp_path / "clean")


def test_a_run_that_died_between_its_moves_and_its_catalogue_is_taken_up(
    music: Path, tmp_path: Path
) -> None:
    out = music.parent / "out"
    change_everything(music)
    found = reconcile(
        out, list_sources([str(music)]), sources=[str(music)], content_hash=content_hash
    )
    assert move_rows(out, MUSICNN, found.moves()) == 1
    done = index(music)
    assert (done.n_moved, done.n_rows_moved) == (1, 0)
    assert_as_extracted(music, out, tmp_path / "clean")


# The command


def test_the_command_needs_the_output_alone_and_says_what_it_did(
    command: Command, music: Path, tmp_path: Path
) -> None:
    out = music.parent / "out"
    change_everything(music)
    (music / "broken.mp3").write_text("Nor is this.")
    done = command("index", "--out", out, "--quiet")
    assert (done.returncode, done.stderr) == (3, "")
    found, rows, failed, audio = done.stdout.splitlines()
    assert found.startswith("2 new, 1 changed, 1 moved, 1 deleted, 3 unchanged: 7 tracks in ")
    assert rows.startswith(f"3 rows made, 1 renamed, 3 forgotten for {MUSICNN} in ")
    assert failed == f"failed rows: 1 undecodable; see `embedlib failures {out}`"
    assert audio.startswith("audio: 2 decodes")
    assert command("index", "--out", out, "--quiet").returncode == 0
    assert_as_extracted(music, out, tmp_path / "clean")


def test_the_command_prints_the_summary_that_it_leaves_beside_the_metrics(
    command: Command, music: Path
) -> None:
    out = music.parent / "out"
    printed = json.loads(command("index", "--out", out, "--json", "--quiet").stdout)
    folder = out / "runs" / printed["run_id"]
    assert json.loads((folder / "summary.json").read_text()) == printed
    assert (
        f"embedlib_index_catalogue_tracks {printed['n_tracks']}\n"
        in (folder / "metrics.prom").read_text()
    )
    assert states(out)[-1].run_id == printed["run_id"]
    assert states(out)[-1].kind == "index"


def test_a_dry_run_of_the_command_names_tracks(command: Command, music: Path) -> None:
    change_everything(music)
    done = command("index", "--out", music.parent / "out", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [
        "new: new/song.flac",
        "changed: 1.flac",
        "moved: renamed.flac",
        "deleted: 3.flac",
    ]


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--keep", "forever"), "--keep forever is no duration"), (("--models", "x"), "'x'")],
)
def test_a_wrong_option_is_named_and_nothing_is_written(
    command: Command, music: Path, options: tuple[str, ...], named: str
) -> None:
    before = files_of(music.parent)
    done = command("index", "--out", music.parent / "out", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert files_of(music.parent) == before


def test_the_first_run_of_an_output_needs_models(command: Command, clips: Path) -> None:
    done = command("index", clips, "--out", clips.parent / "out")
    assert (done.returncode, "'models' is missing" in done.stderr) == (2, True)


def test_what_is_taken_over_from_the_last_run_is_all_but_its_licence_to_lose_files(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(music, accept_missing=True, max_duration_s=99.0)
    monkeypatch.chdir(music.parent)
    options = earlier_options(Path("out"))
    assert options["sources"] == [str(music)]
    assert (options["models"], options["max_duration_s"]) == ([MUSICNN], 99.0)
    assert not {"accept_missing", "preset"} & options.keys()


@pytest.mark.slow
def test_a_run_through_ray_ends_as_a_clean_extraction(
    command: Command, music: Path, tmp_path: Path
) -> None:
    change_everything(music)
    done = command("index", "--out", music.parent / "out", "--ray", "--n-cores", 1, "--quiet")
    assert done.returncode == 0, done.stderr
    assert_as_extracted(music, music.parent / "out", tmp_path / "clean")
