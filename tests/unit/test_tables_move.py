"""Moving: a copy of the row under its new name, once, and commits that know of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from embedlib.records import PartResult, Track, TrackRow
from embedlib.tables import exchange
from embedlib.tables.commit import Commit, Committer, commit_parts
from embedlib.tables.move import Move, move_rows
from embedlib.tables.pending import pending_shards
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.snapshot import read_snapshot

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]
Stored = dict[tuple[str, str, str], dict[str, object]]

RENAMED = ("track_id", "uri", "version", "shard_id")


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, make_row: MakeRow) -> Path:
    """Three shards of two tracks: a to f, all of version 17."""
    return make_output(tmp_path / "out", [make_row(name) for name in "abcdef"])


def move(old: str, new: str, *, version: str = "17", shard_id: str = "new") -> Move:
    return Move(old, "17", Track(new, f"/elsewhere/{new}", 320_044, version, shard_id=shard_id))


def stored(out: Path) -> Stored:
    rows = DeltaTable(out / "tiny").to_pyarrow_table().to_pylist()
    assert len({(row["track_id"], row["version"], row["shard_id"]) for row in rows}) == len(rows)
    return {(row["track_id"], row["version"], row["shard_id"]): row for row in rows}


def planned(*tracks: Track) -> PlannedTracks:
    found = PlannedTracks()
    found.add(tracks)
    return found


def test_a_copy_differs_from_its_row_in_name_and_place_alone(out: Path) -> None:
    before = stored(out)
    assert move_rows(out, "tiny", [move("c", "z", version="18")]) == 1
    after = stored(out)
    copy = after.pop(("z", "18", "new"))
    assert after == before
    assert [copy[name] for name in RENAMED] == ["z", "/elsewhere/z", "18", "new"]
    others = before["c", "17", "01"].keys() - set(RENAMED)
    assert {copy[name] == before["c", "17", "01"][name] for name in others} == {True}


def test_moves_are_one_version_and_one_file(out: Path) -> None:
    version, n_files = read_snapshot(out / "tiny").version, len(read_snapshot(out / "tiny").files)
    moves = [move("a", "x"), move("c", "y", shard_id="other"), move("f", "z")]
    assert move_rows(out, "tiny", iter(moves)) == 3
    after = read_snapshot(out / "tiny")
    assert (after.version, len(after.files)) == (version + 1, n_files + 1)
    assert after.shard_ids() == {"00", "01", "02", "new", "other"}


def test_again_is_no_version(out: Path) -> None:
    move_rows(out, "tiny", [move("c", "z")])
    version = read_snapshot(out / "tiny").version
    assert move_rows(out, "tiny", [move("c", "z")]) == 0
    assert read_snapshot(out / "tiny").version == version


def test_two_tracks_may_swap_and_others_follow_each_other(out: Path) -> None:
    before = stored(out)
    moves = [move("a", "b"), move("b", "a"), move("c", "d"), move("d", "e")]
    assert move_rows(out, "tiny", moves) == 4
    after = stored(out)
    for old, new in ("ab", "ba", "cd", "de"):
        (source,) = [row for (name, *_), row in before.items() if name == old]
        assert after[new, "17", "new"]["patch_embeddings"] == source["patch_embeddings"]


def test_a_track_without_a_row_is_left_to_be_decoded(out: Path) -> None:
    assert move_rows(out, "tiny", [move("nobody", "z"), move("c", "y")]) == 1
    tracks = planned(move("nobody", "z").track, move("c", "y").track)
    pending = pending_shards(out, "tiny", tracks)
    assert [track.track_id for track in pending["new"].tracks] == ["z"]
    assert pending.begun == {"new"}


def test_a_row_of_another_version_is_not_copied(out: Path) -> None:
    old = replace(move("c", "z"), old_version="16")
    assert move_rows(out, "tiny", [old]) == 0


def test_where_a_track_lies_in_two_shards_neither_row_is_copied(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    commit_parts(out, "tiny", [make_part(out, [make_row("c")], shard_id="again")])
    assert move_rows(out, "tiny", [move("c", "z")]) == 0


@pytest.mark.parametrize("moves", [[], [move("c", "z")]])
def test_a_model_without_table_has_nothing_to_move(out: Path, moves: list[Move]) -> None:
    assert move_rows(out, "other", moves) == 0


def test_a_copy_has_the_footer_of_what_made_the_row(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    other = make_part(out, [make_row("g")], shard_id="03", provenance={"engine": "other"})
    commit_parts(out, "tiny", [other])
    move_rows(out, "tiny", [move("a", "x"), move("g", "z")])
    files = [file for file in read_snapshot(out / "tiny").files if "moved" in file.path.name]
    engines = {
        pq.read_table(file.path)["track_id"].to_pylist()[0]: pq.read_schema(file.path).metadata[
            b"embedlib.engine"
        ]
        for file in files
    }
    assert engines == {"x": b"fake", "z": b"other"}


def test_rows_of_a_compacted_file_are_copied(out: Path) -> None:
    DeltaTable(out / "tiny").optimize.compact()
    assert move_rows(out, "tiny", [move(old, old.upper()) for old in "abcdef"]) == 6
    assert {name for name, *_ in stored(out)} == {*"abcdefABCDEF"}


def test_of_several_that_move_at_once_one_copies(out: Path) -> None:
    moves = [[move("c", "z")], [move("c", "z")], [move("a", "y")], [move("a", "y")]]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda each: move_rows(out, "tiny", each), moves))
    assert sum(done) == 2
    assert len(stored(out)) == 8
    named = {file.path.name for file in read_snapshot(out / "tiny").files}
    assert {path.name for path in (out / "tiny").glob("*moved*.parquet")} <= named


def test_a_copy_that_was_not_committed_leaves_no_file(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_commit", lambda *_, **__: False)
    with pytest.raises(Exception, match="refused 100 changes"):
        move_rows(out, "tiny", [move("c", "z")])
    assert not list((out / "tiny").glob("*moved*"))


# What is committed into a shard that has moved rows


@pytest.fixture
def begun(out: Path) -> Path:
    """A shard of three tracks, of which one was moved there."""
    move_rows(out, "tiny", [move("c", "x")])
    return out


def part_of(make_part: MakePart, out: Path, *rows: TrackRow, attempt_id: str = "1") -> PartResult:
    return make_part(out, rows, shard_id="new", attempt_id=attempt_id)


def test_what_a_shard_lacks_is_committed(
    begun: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = part_of(make_part, begun, make_row("y"), make_row("z"))
    assert commit_parts(begun, "tiny", [part]) == Commit(("new",), ())
    assert {name for name, _, shard_id in stored(begun) if shard_id == "new"} == {*"xyz"}


def test_a_row_that_is_there_is_not_committed_again(
    begun: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    before = stored(begun)
    part = part_of(make_part, begun, make_row("x"), make_row("y"))
    assert commit_parts(begun, "tiny", [part]) == Commit((), ("new",))
    after = stored(begun)
    assert after.keys() - before.keys() == {("y", "17", "new")}
    assert after["x", "17", "new"] == before["x", "17", "new"]
    assert not (begun / "tiny" / part.file_name).exists()


def test_a_second_attempt_at_what_a_shard_lacked_is_lost(
    begun: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    committer = Committer(begun, "tiny")
    committer.commit([part_of(make_part, begun, make_row("y"))])
    late = part_of(make_part, begun, make_row("y"), attempt_id="late")
    assert committer.commit([late]) == Commit((), ("new",))
    assert not (begun / "tiny" / late.file_name).exists()
    assert len(stored(begun)) == 8


def test_a_part_is_committed_once_however_often_it_is_given(
    begun: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = part_of(make_part, begun, make_row("y"))
    commit_parts(begun, "tiny", [part])
    assert commit_parts(begun, "tiny", [part]) == Commit(("new",), ())
    assert (begun / "tiny" / part.file_name).exists()
