"""Search tables: derived from the current view, row by row, whatever happened to it before."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from embedlib.errors import ConfigError, OutputError, RunError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.search import build as module
from embedlib.search.build import build
from embedlib.search.query import open_search
from embedlib.search.store import open_table, require_state, search_folder, searched_models
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.reader import open_output

pytest.importorskip("lancedb")

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
Commit = Callable[..., Path]

NAMES = [f"it's {number}" for number in range(30)]

KILLED = """
import os, signal, sys
from embedlib.search import build
name, out = sys.argv[1:]
setattr(build, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
build.build(out, "tiny", exact_rows=10)
"""


@pytest.fixture
def commit(make_part: MakePart) -> Commit:
    """Commit rows as one part of a shard."""

    def add(out: Path, rows: Sequence[TrackRow], *, shard_id: str = "0a") -> Path:
        commit_parts(out, "tiny", [make_part(out, rows, shard_id=shard_id)])
        return out

    return add


@pytest.fixture
def out(tmp_path: Path, make_row: MakeRow, commit: Commit) -> Path:
    """30 tracks with an embedding, one without."""
    rows = [*map(make_row, NAMES), make_row("gone", status=Status.MISSING)]
    return commit(tmp_path / "out", rows)


def of_version(row: TrackRow, version: str) -> TrackRow:
    assert row.patch_embeddings is not None
    track = dataclasses.replace(row.track, version=version)
    return dataclasses.replace(row, track=track, patch_embeddings=row.patch_embeddings + 1)


def delete(out: Path, *names: str) -> None:
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    DeltaTable(out / "tiny").delete(f"track_id in ({listed})")


def assert_holds_the_current_view(out: Path) -> None:
    tracks, state = open_output(out).tracks("tiny"), require_state(search_folder(out), "tiny")
    held = open_table(search_folder(out), state).to_arrow().sort_by("track_id").to_pylist()
    matrix = dict(zip(tracks.track_ids, tracks.to_numpy(), strict=True))
    facts = tracks.to_arrow(["track_id", "version"]).to_pylist()
    versions = {row["track_id"]: row["version"] for row in facts}
    assert [row["track_id"] for row in held] == sorted(matrix)
    assert [row["version"] for row in held] == [versions[row["track_id"]] for row in held]
    np.testing.assert_array_equal(
        [row["embedding"] for row in held], [matrix[row["track_id"]] for row in held]
    )
    assert (state.n_rows, state.delta_version) == (len(held), tracks.snapshot.version)


def test_a_search_table_holds_all_tracks_with_an_embedding(out: Path) -> None:
    built = build(out, "tiny")
    assert (built.n_rows, built.n_added, built.is_anew, built.is_exact) == (30, 30, True, True)
    assert searched_models(out) == ("tiny",)
    assert_holds_the_current_view(out)


def test_a_second_build_writes_nothing(out: Path) -> None:
    build(out, "tiny")
    before = sorted((out / "search").rglob("*"))
    again = build(out, "tiny")
    assert (again.n_rows, again.n_added, again.n_removed, again.is_anew) == (30, 0, 0, False)
    assert sorted((out / "search").rglob("*")) == before


@pytest.mark.parametrize("exact_rows", [1_000, 10], ids=["exact", "index"])
def test_only_what_changed_is_written(
    out: Path, make_row: MakeRow, commit: Commit, exact_rows: int
) -> None:
    build(out, "tiny", exact_rows=exact_rows)
    delete(out, *NAMES[:3])
    rows = [of_version(make_row(NAMES[2]), "18"), make_row("new")]
    commit(out, rows, shard_id="0b")
    built = build(out, "tiny", exact_rows=exact_rows)
    assert (built.n_rows, built.n_added, built.n_removed, built.is_anew) == (29, 2, 2, False)
    assert built.is_exact == (exact_rows > 30)
    assert_holds_the_current_view(out)


def test_a_table_that_was_compacted_by_delta_is_the_same_to_search(
    out: Path, make_row: MakeRow, commit: Commit
) -> None:
    commit(out, [make_row("new")], shard_id="0b")
    build(out, "tiny")
    DeltaTable(out / "tiny").optimize.compact()
    built = build(out, "tiny")
    assert (built.n_added, built.n_removed, built.delta_version) == (0, 0, 3)
    assert build(out, "tiny", rebuild=True).n_added == 31
    assert_holds_the_current_view(out)


def test_a_track_that_lost_its_embedding_leaves(
    out: Path, make_row: MakeRow, commit: Commit
) -> None:
    build(out, "tiny")
    delete(out, NAMES[0])
    commit(out, [make_row(NAMES[0], status=Status.UNREADABLE)], shard_id="0b")
    assert build(out, "tiny").n_removed == 1
    assert_holds_the_current_view(out)


def test_rows_of_another_fingerprint_are_all_replaced(
    out: Path, make_row: MakeRow, make_part: MakePart, manifest: ModelManifest
) -> None:
    build(out, "tiny")
    shutil.rmtree(out / "tiny")
    other = dataclasses.replace(manifest, graph_sha256="cd" * 32)
    row = of_version(make_row(NAMES[0]), "17")
    commit_parts(out, "tiny", [make_part(out, [row], manifest=other)])
    built = build(out, "tiny")
    assert (built.n_rows, built.is_anew) == (1, True)
    assert_holds_the_current_view(out)


def test_rows_that_two_builds_wrote_at_once_are_healed(out: Path) -> None:
    build(out, "tiny")
    table = open_table(search_folder(out), require_state(search_folder(out), "tiny"))
    table.add(table.search().limit(3).to_arrow())
    assert build(out, "tiny").is_anew
    assert_holds_the_current_view(out)


def test_a_build_that_is_disturbed_says_so(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(out, "tiny")
    write = module._written

    def write_twice(*arguments: object) -> object:
        table = write(*arguments)
        table.add(table.search().limit(3).to_arrow())
        return table

    monkeypatch.setattr(module, "_written", write_twice)
    with pytest.raises(RunError, match="another process was writing"):
        build(out, "tiny", rebuild=True)
    monkeypatch.undo()
    build(out, "tiny")
    assert_holds_the_current_view(out)


@pytest.mark.parametrize("point", ["train", "write_state"])
def test_a_first_build_that_was_killed_is_completed_by_the_next(out: Path, point: str) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, point, str(out)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(OutputError, match="has no search table of 'tiny'"):
        open_search(out, "tiny")
    build(out, "tiny", exact_rows=10)
    assert_holds_the_current_view(out)


@pytest.mark.parametrize("point", ["_delete", "write_state"])
def test_an_update_that_was_killed_is_completed_by_the_next(
    out: Path, make_row: MakeRow, commit: Commit, point: str
) -> None:
    build(out, "tiny", exact_rows=10)
    delete(out, NAMES[0])
    commit(out, [make_row("new")], shard_id="0b")
    killed = subprocess.run([sys.executable, "-c", KILLED, point, str(out)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    delete(out, "new")
    build(out, "tiny", exact_rows=10)
    assert_holds_the_current_view(out)


def test_an_output_without_a_single_embedding_has_an_empty_search_table(
    tmp_path: Path, make_row: MakeRow, commit: Commit
) -> None:
    out = commit(tmp_path / "out", [make_row("gone", status=Status.MISSING)])
    assert build(out, "tiny").n_rows == 0
    assert open_search(out, "tiny").nearest(np.ones(4, np.float32)) == ()
    commit(out, [make_row("new")], shard_id="0b")
    assert build(out, "tiny").n_rows == 1


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "update"])
def test_a_missing_part_is_named(
    out: Path, make_row: MakeRow, commit: Commit, is_first: bool
) -> None:
    if not is_first:
        build(out, "tiny")
        commit(out, [make_row("new")], shard_id="0b")
    path = open_output(out).files("tiny")[-1]
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(OutputError, match=path.name):
        build(out, "tiny")


def test_a_damaged_search_table_is_named_and_made_anew(out: Path) -> None:
    build(out, "tiny")
    shutil.rmtree(out / "search" / "tiny.lance" / "_versions")
    with pytest.raises(OutputError, match=r"cannot be used.*--rebuild") as told:
        build(out, "tiny")
    assert "\n" not in str(told.value)
    build(out, "tiny", rebuild=True)
    assert_holds_the_current_view(out)


def test_rows_in_pieces_that_are_gone_are_one_line(out: Path) -> None:
    build(out, "tiny")
    for path in (out / "search" / "tiny.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(OutputError, match="cannot be used"):
        open_search(out, "tiny").nearest(np.ones(4, np.float32))


def test_without_lancedb_the_way_out_is_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ConfigError, match=r"embedlib\[search\]"):
        build(out, "tiny")
