"""Compaction changes files and no rows; vacuum deletes what no version to be kept has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from embedlib.errors import ConfigError, OutputError
from embedlib.records import PartResult, Track, TrackRow
from embedlib.tables import parts, rewriting, upkeep
from embedlib.tables.catalog import adopt, read_plan
from embedlib.tables.commit import Commit, commit_parts
from embedlib.tables.diff import diff
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.move import Move, move_rows
from embedlib.tables.parquet import read_rows
from embedlib.tables.pending import pending_shards
from embedlib.tables.reader import open_output
from embedlib.tables.snapshot import Snapshot, read_snapshot
from embedlib.tables.upkeep import compact, vacuum
from embedlib.tables.verify import verify

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]

NAMES = tuple(f"{n:03}" for n in range(20))
NEVER, DAYS = timedelta(0), timedelta(days=7)


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, make_row: MakeRow) -> Path:
    """Ten shards of two tracks."""
    return make_output(tmp_path / "out", [make_row(name) for name in NAMES])


@pytest.fixture
def same(tmp_path: Path, make_output: MakeOutput, make_row: MakeRow) -> Path:
    """Another output with the same rows."""
    return make_output(tmp_path / "same", [make_row(name) for name in NAMES])


def snapshot(out: Path, *, at: int | None = None) -> Snapshot:
    return read_snapshot(out / "tiny", at=at)


def on_disk(out: Path) -> set[str]:
    return {path.name for path in (out / "tiny").iterdir() if path.is_file()}


def age(path: Path, *, days: float) -> None:
    when = time.time() - 86_400 * days
    os.utime(path, (when, when))


# Compaction


def test_a_compacted_table_is_the_same_bit_by_bit(out: Path, same: Path) -> None:
    _, tiny = compact(out)
    assert (tiny.table, tiny.n_files_before, tiny.n_files_after) == ("tiny", 10, 1)
    found = diff(out, same)
    assert (found.differences, found.exact, found.n_rows) == ((), ("tiny",), 20)
    assert verify(out).problems == ()


def test_columns_footer_and_statistics_stay(out: Path) -> None:
    schema, footer = DeltaTable(out / "tiny").schema(), pq.read_schema(snapshot(out).files[0].path)
    compact(out)
    (file,) = snapshot(out).files
    assert DeltaTable(out / "tiny").schema() == schema
    assert pq.read_schema(file.path).equals(footer, check_metadata=True)
    (action,) = pa.table(DeltaTable(out / "tiny").get_add_actions(flatten=True)).to_pylist()
    assert (action["min.track_id"], action["max.track_id"]) == ("000", "019")
    assert (action["min.shard_id"], action["max.shard_id"]) == ("00", "09")


def test_again_changes_nothing(out: Path) -> None:
    compact(out)
    versions = [read_snapshot(out / table).version for table in ("catalog", "tiny")]
    assert {each.n_files_after - each.n_files_before for each in compact(out)} == {0}
    assert [read_snapshot(out / table).version for table in ("catalog", "tiny")] == versions


def test_rows_of_different_makers_stay_apart(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    others = [
        make_part(out, [make_row(f"x{n}")], shard_id=f"a{n}", provenance={"engine": "other"})
        for n in range(3)
    ]
    commit_parts(out, "tiny", others)
    compact(out)
    engines = {pq.read_schema(f.path).metadata[b"embedlib.engine"] for f in snapshot(out).files}
    assert (len(snapshot(out).files), engines) == (2, {b"fake", b"other"})


def test_files_are_filled_up_to_the_target_in_the_order_of_ids(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    out = tmp_path / "out"
    small = [
        make_part(out, [make_row(NAMES[n]), make_row(NAMES[n + 1])], shard_id=f"{99 - n}")
        for n in range(0, 20, 2)
    ]
    commit_parts(out, "tiny", small)
    one = max(file.n_bytes for file in snapshot(out).files)
    compact(out, target_mb=3.5 * one / 2**20)
    ids = [
        pq.read_table(file.path, columns=["track_id"])["track_id"].to_pylist()
        for file in sorted(snapshot(out).files, key=lambda file: file.first_id)
    ]
    assert [len(each) for each in ids] == [6, 6, 6, 2]
    assert [name for each in ids for name in each] == list(NAMES)


def test_large_files_stay_where_they_are(out: Path) -> None:
    smallest = min(file.n_bytes for file in snapshot(out).files)
    before = snapshot(out)
    compact(out, target_mb=smallest / 2**20)
    assert snapshot(out) == before


def test_a_row_group_stays_within_its_bytes(
    out: Path, monkeypatch: pytest.MonkeyPatch, make_row: MakeRow, make_part: MakePart
) -> None:
    monkeypatch.setattr(rewriting, "ROW_GROUP_BYTES", 1_000)
    compact(out)
    (file,) = snapshot(out).files
    with pq.ParquetFile(file.path) as found:
        n_rows = [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert (sum(n_rows), len(n_rows) > 1) == (20, True)


def test_row_groups_are_cut_before_they_are_too_large() -> None:
    batches = [pa.record_batch({"x": np.zeros(n, np.uint8)}) for n in (3, 0, 4, 9, 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewriting, "ROW_GROUP_BYTES", 8)
        groups = [group.num_rows for group in rewriting.row_groups(batches)]
    assert groups == [7, 9, 1]
    assert parts.ROW_GROUP_BYTES == rewriting.ROW_GROUP_BYTES


def test_a_file_that_left_meanwhile_is_not_brought_back(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deltalake removes rows between the choice of files and their compaction."""
    merge = upkeep._merge

    def late(folder: Path, files: tuple[object, ...]) -> None:
        DeltaTable(folder).delete("track_id = '004'")
        merge(folder, files)

    monkeypatch.setattr(upkeep, "_merge", late)
    compact(out)
    assert sorted(open_output(out).tracks("tiny").track_ids) == [n for n in NAMES if n != "004"]
    compact(out)
    monkeypatch.undo()
    compact(out)
    assert (len(snapshot(out).files), snapshot(out).n_rows) == (2, 19)


def test_a_version_from_before_can_still_be_read(out: Path, same: Path) -> None:
    version = snapshot(out).version
    compact(out)
    table = open_output(out).tracks("tiny", at=version)
    assert table.to_arrow().sort_by("track_id") == (
        open_output(same).tracks("tiny").to_arrow().sort_by("track_id")
    )


def test_readers_of_changes_see_none(out: Path) -> None:
    compact(out)
    log = (out / "tiny" / "_delta_log" / f"{snapshot(out).version:020}.json").read_text()
    assert '"dataChange":false' in log
    assert '"dataChange":true' not in log


def test_a_shard_in_a_compacted_file_is_not_committed_again(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    compact(out)
    again = make_part(out, [make_row("002"), make_row("003")], shard_id="01", attempt_id="2")
    assert commit_parts(out, "tiny", [again]) == Commit((), ("01",))
    assert snapshot(out).n_rows == 20


def test_what_is_pending_stays_pending(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    plan = adopt(
        tmp_path, [Track(f"{n:03}", f"/{n}", 320_044, "17") for n in range(100)], sources=["/"]
    )
    shards = [plan.tracks.shard(shard_id) for shard_id in plan.tracks.sizes]
    done = [replace(shard, tracks=shard.tracks[:2]) for shard in shards[1:]]
    commit_parts(
        tmp_path,
        "tiny",
        [
            make_part(
                tmp_path,
                [replace(make_row(t.track_id), track=t) for t in shard.tracks],
                shard_id=shard.shard_id,
            )
            for shard in done
        ],
    )
    before = dict(pending_shards(tmp_path, "tiny", plan.tracks))
    compact(tmp_path)
    assert len(snapshot(tmp_path).files) == 1
    assert dict(pending_shards(tmp_path, "tiny", plan.tracks)) == before


def test_a_catalogue_of_many_files_becomes_one(tmp_path: Path) -> None:
    tracks: list[Track] = []
    for n in range(5):
        carried = (("label", str(n)),) if n % 2 else ()
        tracks.append(Track(f"{n}", f"/{n}", 1, "1", carried=carried))
        adopt(tmp_path, tracks, sources=["/"])
    before = read_plan(tmp_path)
    (found,) = compact(tmp_path)
    assert (found.n_files_before, found.n_files_after) == (5, 1)
    assert read_plan(tmp_path) == before
    assert adopt(tmp_path, tracks, sources=["/"]).changes.n_new == 0


def test_a_missing_file_is_named_and_nothing_changes(out: Path) -> None:
    file = snapshot(out).files[3]
    file.path.unlink()
    with pytest.raises(OutputError, match=f"{file.path.name} is missing"):
        compact(out)
    assert file in snapshot(out).files
    assert not list((out / "tiny").glob("*compacted*"))


@pytest.mark.parametrize("target_mb", [0.0, -1.0, float("nan")])
def test_a_target_of_nothing_is_refused(out: Path, target_mb: float) -> None:
    with pytest.raises(ConfigError, match="no size of a file; give more than 0"):
        compact(out, target_mb=target_mb)


# Vacuum


def test_vacuum_deletes_what_only_old_versions_have(out: Path, same: Path) -> None:
    n_bytes = snapshot(out).n_bytes
    compact(out)
    _, tiny = vacuum(out, keep=NEVER)
    assert (tiny.n_files, tiny.n_bytes) == (10, n_bytes)
    assert len(on_disk(out)) == 2  # model.json and one file
    assert diff(out, same).differences == ()


def test_what_is_younger_than_keep_stays(out: Path) -> None:
    compact(out)
    before = on_disk(out)
    assert [each.n_files for each in vacuum(out, keep=DAYS)] == [0, 0]
    assert on_disk(out) == before


def test_an_old_file_that_left_just_now_stays(out: Path) -> None:
    """How long it was in the table does not count, only since when it is out."""
    version = snapshot(out).version
    for file in snapshot(out).files:
        age(file.path, days=400)
    compact(out)
    vacuum(out, keep=DAYS)
    assert len(open_output(out).tracks("tiny", at=version).to_arrow()) == 20


def test_what_died_before_its_commit_goes_after_a_day(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    young, old = (
        out / "tiny" / make_part(out, [make_row("x")], shard_id=name).file_name for name in "yo"
    )
    half = out / "tiny" / ".part-h-1.parquet.0.tmp"
    half.touch()
    age(old, days=2)
    age(half, days=2)
    assert vacuum(out, keep=NEVER)[1].n_files == 2
    assert (young.exists(), old.exists(), half.exists()) == (True, False, False)


def test_nothing_else_is_touched(out: Path) -> None:
    others = [
        out / "tiny" / "model.json",
        out / "tiny" / "notes.txt",
        out / "probes" / "_cohorts" / "x.parquet",
        out / "runs" / "1" / "retry" / "tiny" / "part-0-0.parquet",
        out / "part-0-0.parquet",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        age(path, days=400)
    vacuum(out, keep=NEVER)
    assert [path for path in others if not path.exists()] == []


def test_a_reader_of_a_version_that_is_gone_gets_one_line(out: Path) -> None:
    reader = open_output(out).tracks("tiny")
    compact(out)
    vacuum(out, keep=NEVER)
    with pytest.raises(OutputError, match="is missing, but the log names it") as caught:
        reader.to_arrow()
    assert "\n" not in str(caught.value)


def test_vacuum_again_finds_nothing(out: Path) -> None:
    compact(out)
    vacuum(out, keep=NEVER)
    assert [each.n_files for each in vacuum(out, keep=NEVER)] == [0, 0]


def test_a_negative_time_is_refused(out: Path) -> None:
    with pytest.raises(ConfigError, match="no length of time"):
        vacuum(out, keep=timedelta(days=-1))


@pytest.mark.parametrize("work", [compact, lambda out: vacuum(out, keep=DAYS)])
def test_a_folder_that_is_no_output_is_refused(
    tmp_path: Path, work: Callable[[Path], object]
) -> None:
    (tmp_path / "song.mp3").touch()
    with pytest.raises(OutputError, match="is not an output of embedlib"):
        work(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["song.mp3"]


# All of it


def test_moved_pruned_and_compacted_rows_verify(
    tmp_path: Path, banded: ModelManifest, make_output: MakeOutput, make_row: MakeRow
) -> None:
    rows = [make_row(name, manifest=banded) for name in NAMES]
    out = make_output(tmp_path / "out", rows, manifest=banded)
    compact(out)
    move_rows(out, "tiny", [Move("003", "17", Track("x", "/x", 320_044, "17", shard_id="new"))])
    assert "it has a row, but the catalogue does not list it" in str(verify(out).problems)
    DeltaTable(out / "tiny").delete("track_id = 'x'")
    compact(out)
    assert verify(out).problems == ()


def test_a_track_is_found_by_the_range_of_ids(out: Path) -> None:
    compact(out)
    files = [file.path for file in snapshot(out).files]
    found = read_rows(files, ["track_id", "uri"], where=pc.field("track_id") == "013")
    assert found.to_pylist() == [{"track_id": "013", "uri": "/music/013"}]
