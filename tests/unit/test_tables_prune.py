"""Pruning: rows that are not planned leave, no others, in one version; nothing is left half."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from embedlib.errors import OutputError
from embedlib.records import Shard, Track, TrackRow
from embedlib.tables.catalog import Plan, adopt
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part
from embedlib.tables.pending import pending_shards
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.prune import Pruned, prune_rows
from embedlib.tables.snapshot import read_snapshot

MakeRow = Callable[..., TrackRow]
Rows = dict[tuple[str, str], dict[str, object]]

SONGS = tuple(Track(f"{n:03}", f"/music/{n:03}", 3_200_440, "17") for n in range(100))
"""Three to a shard, but for the last."""


@pytest.fixture
def plan(tmp_path: Path, manifest: ModelManifest, make_row: MakeRow) -> Plan:
    """A hundred songs that all have their rows."""
    plan = adopt(tmp_path, SONGS, sources=["/music"])
    ensure_manifest(tmp_path, manifest)
    parts = [
        write_part(
            tmp_path / "tiny",
            manifest=manifest,
            shard_id=shard_id,
            attempt_id="1",
            rows=[
                replace(make_row(track.track_id), track=track)
                for track in plan.tracks.shard(shard_id).tracks
            ],
            provenance={"engine": "fake", "machine": "here"},
        )
        for shard_id in plan.tracks.sizes
    ]
    commit_parts(tmp_path, "tiny", parts)
    return plan


def without(out: Path, plan: Plan, *gone: str) -> PlannedTracks:
    """Have tracks leave the catalogue, and give what is planned now."""
    DeltaTable(out / "catalog").delete(f"track_id IN ({', '.join(map(repr, gone))})")
    tracks = PlannedTracks()
    tracks.add(track for track in plan.tracks if track.track_id not in gone)
    return tracks


def stored(out: Path, *, at: int | None = None) -> Rows:
    table = DeltaTable(out / "tiny", version=at).to_pyarrow_table()
    return {(row["track_id"], row["version"]): row for row in table.to_pylist()}


def names(out: Path) -> set[str]:
    return {file.path.name for file in read_snapshot(out / "tiny").files}


def test_rows_of_deleted_tracks_leave_and_no_others(tmp_path: Path, plan: Plan) -> None:
    before = stored(tmp_path)
    tracks = without(tmp_path, plan, "004", "050")
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned(n_rows=2, n_files=2)
    assert before.keys() - stored(tmp_path).keys() == {("004", "17"), ("050", "17")}
    assert all(before[key] == row for key, row in stored(tmp_path).items())


def test_the_rows_leave_in_one_version_and_the_one_before_keeps_them(
    tmp_path: Path, plan: Plan
) -> None:
    version, before = read_snapshot(tmp_path / "tiny").version, stored(tmp_path)
    prune_rows(tmp_path, "tiny", without(tmp_path, plan, "004", "050"))
    assert read_snapshot(tmp_path / "tiny").version == version + 1
    assert stored(tmp_path, at=version) == before


def test_only_files_that_hold_such_rows_are_written_anew(tmp_path: Path, plan: Plan) -> None:
    before = names(tmp_path)
    prune_rows(tmp_path, "tiny", without(tmp_path, plan, "004"))
    assert len(before - names(tmp_path)) == len(names(tmp_path) - before) == 1


def test_a_file_of_which_all_rows_leave_is_not_written_anew(tmp_path: Path, plan: Plan) -> None:
    before = names(tmp_path)
    shard = plan.tracks.shard(next(iter(plan.tracks)).shard_id)
    tracks = without(tmp_path, plan, *(track.track_id for track in shard.tracks))
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned(len(shard.tracks), 1)
    assert (len(before - names(tmp_path)), names(tmp_path) - before) == (1, set())


def test_nothing_to_prune_is_no_version_and_opens_no_file(tmp_path: Path, plan: Plan) -> None:
    version = read_snapshot(tmp_path / "tiny").version
    for file in read_snapshot(tmp_path / "tiny").files:
        file.path.unlink()
    assert prune_rows(tmp_path, "tiny", plan.tracks) == Pruned()
    assert read_snapshot(tmp_path / "tiny").version == version


def test_a_model_without_table_has_nothing_to_prune(tmp_path: Path, plan: Plan) -> None:
    assert prune_rows(tmp_path, "other", plan.tracks) == Pruned()


def test_what_remains_keeps_the_footer_of_what_made_it(tmp_path: Path, plan: Plan) -> None:
    before = names(tmp_path)
    prune_rows(tmp_path, "tiny", without(tmp_path, plan, "004"))
    (new,) = names(tmp_path) - before
    assert pq.read_schema(tmp_path / "tiny" / new).metadata[b"embedlib.engine"] == b"fake"


def test_a_row_of_another_version_leaves(tmp_path: Path, plan: Plan) -> None:
    tracks = without(tmp_path, plan, "004")
    tracks.add([replace(SONGS[4], version="18", shard_id="new")])
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned(1, 1)
    assert list(pending_shards(tmp_path, "tiny", tracks)) == ["new"]


def test_a_row_whose_track_was_planned_anew_in_another_shard_leaves(
    tmp_path: Path, plan: Plan
) -> None:
    tracks = without(tmp_path, plan, "004")
    tracks.add([replace(SONGS[4], shard_id="new")])
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned(1, 1)


def test_what_another_run_has_planned_meanwhile_stays(tmp_path: Path, plan: Plan) -> None:
    """Only the given plan lacks the track, the catalogue as it lies has it."""
    tracks = PlannedTracks()
    tracks.add(track for track in plan.tracks if track.track_id != "004")
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned()
    assert ("004", "17") in stored(tmp_path)


@pytest.mark.parametrize(
    "gone", [("000",), ("000", "003", "099"), tuple(f"{n:03}" for n in range(100))]
)
def test_pruning_a_compacted_table_leaves_what_is_planned(
    tmp_path: Path, plan: Plan, gone: tuple[str, ...]
) -> None:
    DeltaTable(tmp_path / "tiny").optimize.compact()
    before = stored(tmp_path)
    tracks = without(tmp_path, plan, *gone)
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned(len(gone), 1)
    assert stored(tmp_path) == {key: row for key, row in before.items() if key[0] not in gone}
    assert not pending_shards(tmp_path, "tiny", tracks)


def test_a_shard_that_lost_a_track_before_it_was_done_is_not_taken_for_done(
    tmp_path: Path, plan: Plan, manifest: ModelManifest, make_row: MakeRow
) -> None:
    """As many rows as planned tracks, but others: counting would take one for the other."""
    first = next(iter(plan.tracks)).shard_id
    shard: Shard = plan.tracks.shard(first)
    kept, left, gone = (track.track_id for track in shard.tracks)
    prune_rows(tmp_path, "tiny", without(tmp_path, plan, left))
    tracks = PlannedTracks()
    tracks.add(track for track in plan.tracks if track.track_id != gone)
    pending = pending_shards(tmp_path, "tiny", tracks)
    assert [track.track_id for track in pending[first].tracks] == [left]
    DeltaTable(tmp_path / "catalog").delete(f"track_id = '{gone}'")
    assert prune_rows(tmp_path, "tiny", tracks) == Pruned(1, 1)
    assert (kept, "17") in stored(tmp_path)


def test_of_several_that_prune_at_once_each_row_leaves_once(tmp_path: Path, plan: Plan) -> None:
    gone = tuple(f"{n:03}" for n in range(0, 100, 10))
    plans = [without(tmp_path, plan, *gone) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda tracks: prune_rows(tmp_path, "tiny", tracks), plans))
    assert sum(each.n_rows for each in done) == 10
    assert len(stored(tmp_path)) == 90
    assert {path.name for path in (tmp_path / "tiny").glob("*pruned*")} <= names(tmp_path)


def test_a_damaged_file_stops_it_before_anything_is_written(tmp_path: Path, plan: Plan) -> None:
    tracks = without(tmp_path, plan, "004", "050")
    before = names(tmp_path)
    file = next(each for each in read_snapshot(tmp_path / "tiny").files if each.first_id == "048")
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(OutputError, match="is damaged"):
        prune_rows(tmp_path, "tiny", tracks)
    assert names(tmp_path) == before
    assert not list((tmp_path / "tiny").glob("*pruned*"))


def test_statistics_tell_the_range_of_ids_and_shards(tmp_path: Path, plan: Plan) -> None:
    prune_rows(tmp_path, "tiny", without(tmp_path, plan, "004"))
    actions = pa.table(DeltaTable(tmp_path / "tiny").get_add_actions(flatten=True)).to_pylist()
    (new,) = [each for each in actions if "pruned" in each["path"]]
    assert (new["min.track_id"], new["max.track_id"]) == ("003", "005")
    assert new["min.shard_id"] == new["max.shard_id"]
