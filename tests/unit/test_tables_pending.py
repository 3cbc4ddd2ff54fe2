"""What a model has still to do follows from ids and versions, however the rows came to lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from embedlib.errors import ConfigError, OutputError, RunError
from embedlib.records import PartResult, Shard, Status, Track, TrackRow
from embedlib.tables.catalog import Plan, adopt
from embedlib.tables.commit import commit_parts
from embedlib.tables.listed import Listing
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part
from embedlib.tables.pending import pending_shards
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.replace import replace_rows
from embedlib.tables.scratch import Scratch
from embedlib.tables.snapshot import read_snapshot

MakeRow = Callable[..., TrackRow]
Write = Callable[..., None]

SONGS = tuple(Track(f"{n:03}", f"/music/{n:03}", 320_044, "17") for n in range(100))
"""Three to a shard, but for the last."""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return adopt(tmp_path, SONGS, sources=["/music"])


@pytest.fixture
def write(tmp_path: Path, manifest: ModelManifest, make_row: MakeRow) -> Write:
    """Write and commit a part of some tracks of a shard."""

    def part_of(out: Path, shard: Shard, status: Status) -> PartResult:
        rows = [replace(make_row(t.track_id, status=status), track=t) for t in shard.tracks]
        return write_part(
            out / "tiny",
            manifest=manifest,
            shard_id=shard.shard_id,
            attempt_id="1",
            rows=rows,
            provenance={},
        )

    def write(*shards: Shard, out: Path = tmp_path, status: Status = Status.OK) -> None:
        ensure_manifest(out, manifest)
        commit_parts(out, "tiny", [part_of(out, shard, status) for shard in shards])

    return write


def left(out: Path, plan: Plan) -> dict[str, list[str]]:
    """Give the ids that are pending, by shard, and check that all says the same."""
    shards = pending_shards(out, "tiny", plan.tracks)
    for shard_id, shard in shards.items():
        assert len(shard.tracks) == shards.sizes[shard_id].n_tracks
        assert shard.audio_s == shards.sizes[shard_id].audio_s
    audio_s = sum(size.audio_s for size in shards.sizes.values())
    assert sum(shards.lengths_s()) == pytest.approx(audio_s)
    return {name: [track.track_id for track in shards[name].tracks] for name in shards}


def by_definition(out: Path, plan: Plan) -> dict[str, list[str]]:
    """Give the planned tracks without a row of their id and version, from all rows."""
    rows = DeltaTable(out / "tiny").to_pyarrow_table(columns=["track_id", "version"]).to_pylist()
    done = {(row["track_id"], row["version"]) for row in rows}
    pending: dict[str, list[str]] = {}
    for track in plan.tracks:
        if (track.track_id, track.version) not in done:
            pending.setdefault(track.shard_id, []).append(track.track_id)
    return pending


def shards_of(plan: Plan) -> list[Shard]:
    return [plan.tracks.shard(shard_id) for shard_id in plan.tracks.sizes]


def test_the_files_of_finished_shards_are_not_opened(
    tmp_path: Path, plan: Plan, write: Write
) -> None:
    *done, last = shards_of(plan)
    write(*done)
    for file in read_snapshot(tmp_path / "tiny").files:
        os.remove(file.path)
    assert left(tmp_path, plan) == {last.shard_id: [track.track_id for track in last.tracks]}


def test_a_shard_that_lacks_a_row_is_pending_with_that_track(
    tmp_path: Path, plan: Plan, write: Write
) -> None:
    first, *rest = shards_of(plan)
    write(replace(first, tracks=first.tracks[1:]), *rest)
    assert left(tmp_path, plan) == {first.shard_id: [first.tracks[0].track_id]}
    assert left(tmp_path, plan) == by_definition(tmp_path, plan)


def test_rows_of_another_version_are_not_taken_for_those_that_are_planned(
    tmp_path: Path, plan: Plan, write: Write
) -> None:
    first, *rest = shards_of(plan)
    old = replace(first.tracks[0], version="16")
    write(replace(first, tracks=(old, *first.tracks[2:])), *rest)
    assert left(tmp_path, plan) == by_definition(tmp_path, plan)
    assert left(tmp_path, plan)[first.shard_id] == [t.track_id for t in first.tracks[:2]]


def test_rows_of_another_shard_are_not_taken_for_those_that_are_planned(
    tmp_path: Path, plan: Plan, write: Write
) -> None:
    first, *rest = shards_of(plan)
    write(replace(first, shard_id="as-it-was-before"), *rest)
    assert left(tmp_path, plan) == {first.shard_id: [track.track_id for track in first.tracks]}


def test_a_retry_leaves_nothing_pending(tmp_path: Path, plan: Plan, write: Write) -> None:
    first, *rest = shards_of(plan)
    write(first, status=Status.TIMEOUT)
    write(*rest)
    write(replace(first, tracks=first.tracks[1:]), out=tmp_path / "made")
    replace_rows(tmp_path, "tiny", made_in=tmp_path / "made", statuses=["timeout"])
    assert len(read_snapshot(tmp_path / "tiny").files) == len(rest) + 2
    assert left(tmp_path, plan) == by_definition(tmp_path, plan) == {}


def test_a_compacted_table_is_read_by_its_rows(tmp_path: Path, plan: Plan, write: Write) -> None:
    first, second, *rest = shards_of(plan)
    write(*rest, replace(second, tracks=second.tracks[:1]))
    DeltaTable(tmp_path / "tiny").optimize.compact()
    assert set(left(tmp_path, plan)) == {first.shard_id, second.shard_id}
    assert left(tmp_path, plan) == by_definition(tmp_path, plan)


def test_a_file_that_changes_after_it_was_planned_is_not_pending_again(
    tmp_path: Path, plan: Plan, write: Write
) -> None:
    write(*shards_of(plan))
    changed = [replace(SONGS[0], version="18"), *SONGS[1:]]
    again = adopt(tmp_path, changed, sources=["/music"])
    assert again.changes.changed == ("000",)
    assert left(tmp_path, again) == by_definition(tmp_path, again) == {}


def test_a_mixed_file_that_is_gone_is_named(tmp_path: Path, plan: Plan, write: Write) -> None:
    first, *_ = shards_of(plan)
    write(replace(first, tracks=first.tracks[1:]))
    [file] = read_snapshot(tmp_path / "tiny").files
    os.remove(file.path)
    with pytest.raises(OutputError, match=f"{file.path.name} is missing, but the log names it"):
        pending_shards(tmp_path, "tiny", plan.tracks)


def test_what_another_model_has_done_does_not_count(
    tmp_path: Path, plan: Plan, write: Write
) -> None:
    first, *_ = shards_of(plan)
    write(replace(first, tracks=first.tracks[1:]))
    assert len(left(tmp_path, plan)[first.shard_id]) == 1
    assert pending_shards(tmp_path, "other", plan.tracks)[first.shard_id] == first


# The temporary database


def test_any_thread_may_ask_for_a_shard(plan: Plan) -> None:
    shards = {shard.shard_id: shard for shard in shards_of(plan)}
    wanted = [shard_id for shard_id in shards for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(plan.tracks.shard, wanted)) == [shards[name] for name in wanted]


def test_a_shard_that_is_not_pending_is_no_key(tmp_path: Path, plan: Plan) -> None:
    shards: Mapping[str, Shard] = pending_shards(tmp_path, "tiny", plan.tracks)
    assert "no-shard" not in shards
    with pytest.raises(KeyError, match="no-shard"):
        shards["no-shard"]


def test_of_several_ids_that_come_again_the_first_to_do_so_is_named() -> None:
    def tracks() -> Iterable[Track]:
        for folder in "xy":
            yield from (Track(name, f"/{folder}/{name}", 1, "") for name in "ba")

    with pytest.raises(ConfigError, match="'b' stands for both /x/b and /y/b; list a folder above"):
        Listing(tracks())


def test_a_catalogue_beyond_the_cache_is_read_as_it_was_written() -> None:
    database = Scratch()
    database.run("PRAGMA cache_size = 10")
    tracks = [
        replace(SONGS[n % 100], track_id=f"{n:05}", shard_id=f"{n % 97}") for n in range(9_000)
    ]
    planned = PlannedTracks(database)
    planned.add(tracks)
    assert list(planned) == tracks
    assert planned.shard("5").tracks == tuple(tracks[5::97])


def test_a_full_temporary_folder_is_one_line_with_a_way_out() -> None:
    database = Scratch()
    database.run("CREATE TABLE t (x)")
    database.run("PRAGMA max_page_count = 1")
    with pytest.raises(RunError, match="database or disk is full; name a folder with room for it"):
        database.insert("t", ((b"x" * 1_000,) for _ in range(1_000)))
