"""Commits: what the log names counts, first writer wins, again changes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from embedlib.errors import OutputError, RunError
from embedlib.records import PartResult, TrackRow
from embedlib.tables import commit
from embedlib.tables.commit import Commit, Committer, commit_parts, committed_shards
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import MODEL_SCHEMA
from embedlib.tables.snapshot import read_snapshot
from embedlib.tables.vectors import model_schema

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]


@pytest.fixture
def one_part(tmp_path: Path, make_row: MakeRow, make_part: MakePart) -> PartResult:
    return make_part(tmp_path, [make_row("a"), make_row("b")])


def test_nothing_counts_before_its_commit(tmp_path: Path, one_part: PartResult) -> None:
    assert committed_shards(tmp_path, "tiny") == set()
    commit_parts(tmp_path, "tiny", [one_part])
    assert committed_shards(tmp_path, "tiny") == {"0a"}


def test_a_batch_of_parts_is_one_version_of_the_log(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    parts = [make_part(tmp_path, [make_row(f"t{n}")], shard_id=f"{n:02x}") for n in range(20)]
    before = DeltaTable.create(tmp_path / "tiny", MODEL_SCHEMA).version()
    commit_parts(tmp_path, "tiny", parts)
    assert DeltaTable(tmp_path / "tiny").version() == before + 1
    assert committed_shards(tmp_path, "tiny") == {part.shard_id for part in parts}


def test_a_table_has_the_columns_that_its_manifest_tells(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    for shard_id in ("0a", "0b"):
        row = make_row(shard_id, manifest=banded)
        part = make_part(tmp_path, [row], shard_id=shard_id, manifest=banded)
        commit_parts(tmp_path, "tiny", [part])
    names = [field.name for field in DeltaTable(tmp_path / "tiny").schema().fields]
    assert names == model_schema(banded).names
    assert DeltaTable(tmp_path / "tiny").to_pandas()["activations"].map(len).tolist() == [2, 2]


def test_a_folder_without_manifest_gets_no_table(tmp_path: Path, one_part: PartResult) -> None:
    (tmp_path / "tiny" / "model.json").unlink()
    with pytest.raises(OutputError, match=r"cannot read .*model\.json"):
        commit_parts(tmp_path, "tiny", [one_part])
    assert not DeltaTable.is_deltatable(str(tmp_path / "tiny"))


def test_committing_twice_changes_nothing(tmp_path: Path, one_part: PartResult) -> None:
    first = commit_parts(tmp_path, "tiny", [one_part])
    second = commit_parts(tmp_path, "tiny", [one_part])
    assert first == second == Commit(committed=("0a",), lost=())
    assert read_snapshot(tmp_path / "tiny").n_rows == 2


def test_no_parts_is_no_commit(tmp_path: Path, one_part: PartResult) -> None:
    commit_parts(tmp_path, "tiny", [one_part])
    version = DeltaTable(tmp_path / "tiny").version()
    assert commit_parts(tmp_path, "tiny", []) == Commit((), ())
    assert DeltaTable(tmp_path / "tiny").version() == version


def test_the_second_writer_of_a_shard_loses_and_its_file_goes(
    tmp_path: Path, one_part: PartResult, make_row: MakeRow, make_part: MakePart
) -> None:
    late = make_part(tmp_path, [make_row("a"), make_row("b")], attempt_id="2")
    other = make_part(tmp_path, [make_row("c")], shard_id="0b")
    commit_parts(tmp_path, "tiny", [one_part])
    assert commit_parts(tmp_path, "tiny", [late, other]) == Commit(("0b",), ("0a",))
    files = sorted(path.name for path in (tmp_path / "tiny").glob("*.parquet"))
    assert files == ["part-0a-1.parquet", "part-0b-1.parquet"]


def test_two_attempts_in_one_call_give_one_winner(
    tmp_path: Path, one_part: PartResult, make_row: MakeRow, make_part: MakePart
) -> None:
    twin = make_part(tmp_path, [make_row("a"), make_row("b")], attempt_id="2")
    assert commit_parts(tmp_path, "tiny", [one_part, twin]) == Commit(("0a",), ("0a",))
    assert read_snapshot(tmp_path / "tiny").n_rows == 2


def test_each_shard_is_an_application_transaction(tmp_path: Path, one_part: PartResult) -> None:
    commit_parts(tmp_path, "tiny", [one_part])
    assert DeltaTable(tmp_path / "tiny").transaction_version("0a") == commit.GENERATION


def test_a_driver_that_was_overtaken_settles_by_reading_the_log_again(
    tmp_path: Path,
    one_part: PartResult,
    make_row: MakeRow,
    make_part: MakePart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = make_part(tmp_path, [make_row("a"), make_row("b")], attempt_id="2")
    other = make_part(tmp_path, [make_row("c")], shard_id="0b")
    append, n_calls = commit._append, []

    def overtaken(table: DeltaTable, parts: list[PartResult], *, folder: Path) -> None:
        if not n_calls:
            append(DeltaTable(folder), [one_part], folder=folder)
        n_calls.append([part.file_name for part in parts])
        append(table, parts, folder=folder)

    monkeypatch.setattr(commit, "_append", overtaken)
    assert commit_parts(tmp_path, "tiny", [late, other]) == Commit(("0b",), ("0a",))
    assert n_calls == [["part-0a-2.parquet", "part-0b-1.parquet"], ["part-0b-1.parquet"]]


def test_a_commit_whose_answer_was_lost_is_found_in_the_log(
    tmp_path: Path, one_part: PartResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = commit._append

    def silent(table: DeltaTable, parts: list[PartResult], *, folder: Path) -> None:
        append(table, parts, folder=folder)
        raise CommitFailedError("connection reset")

    monkeypatch.setattr(commit, "_append", silent)
    assert commit_parts(tmp_path, "tiny", [one_part]) == Commit(("0a",), ())
    assert (tmp_path / "tiny" / one_part.file_name).exists()


def test_a_log_that_refuses_for_ever_ends_in_one_line(
    tmp_path: Path, one_part: PartResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise CommitFailedError("no")

    monkeypatch.setattr(commit, "_append", refuse)
    with pytest.raises(RunError, match="refused 100 commits; see what else writes there"):
        commit_parts(tmp_path, "tiny", [one_part])


def test_a_part_that_is_not_there_is_not_committed(tmp_path: Path, one_part: PartResult) -> None:
    (tmp_path / "tiny" / one_part.file_name).unlink()
    with pytest.raises(OutputError, match=r"part-0a-1\.parquet is missing"):
        commit_parts(tmp_path, "tiny", [one_part])
    assert committed_shards(tmp_path, "tiny") == set()


def test_a_part_that_was_cut_short_is_not_committed(tmp_path: Path, one_part: PartResult) -> None:
    path = tmp_path / "tiny" / one_part.file_name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OutputError, match=r"part-0a-1\.parquet is damaged"):
        commit_parts(tmp_path, "tiny", [one_part])
    assert committed_shards(tmp_path, "tiny") == set()


def test_a_part_with_other_rows_than_reported_is_not_committed(
    tmp_path: Path, one_part: PartResult
) -> None:
    with pytest.raises(OutputError, match=r"holds 2 rows .* its writer reported 3"):
        commit_parts(tmp_path, "tiny", [dataclasses.replace(one_part, n_rows=3)])


def test_the_log_tells_readers_the_range_of_ids(tmp_path: Path, one_part: PartResult) -> None:
    commit_parts(tmp_path, "tiny", [one_part])
    log = (tmp_path / "tiny" / "_delta_log" / f"{1:020}.json").read_text()
    added = next(json.loads(line)["add"] for line in log.splitlines() if '"add"' in line)
    stats = json.loads(added["stats"])
    assert stats["numRecords"] == 2
    assert stats["minValues"] == {"track_id": "a", "shard_id": "0a"}
    assert stats["maxValues"] == {"track_id": "b", "shard_id": "0a"}


def test_shards_are_known_after_compaction(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    parts = [make_part(tmp_path, [make_row(f"t{n}")], shard_id=f"{n:02x}") for n in range(3)]
    commit_parts(tmp_path, "tiny", parts)
    DeltaTable(tmp_path / "tiny").optimize.compact()
    assert len(read_snapshot(tmp_path / "tiny").files) == 1
    assert committed_shards(tmp_path, "tiny") == {"00", "01", "02"}


@pytest.fixture
def three_parts(tmp_path: Path, make_row: MakeRow, make_part: MakePart) -> list[PartResult]:
    return [make_part(tmp_path, [make_row(f"t{n}")], shard_id=f"{n:02x}") for n in range(3)]


def test_an_open_table_sees_what_another_driver_commits(
    tmp_path: Path, three_parts: list[PartResult], make_row: MakeRow, make_part: MakePart
) -> None:
    committer = Committer(tmp_path, "tiny")
    committer.commit(three_parts[:1])
    commit_parts(tmp_path, "tiny", three_parts[1:])
    late = make_part(tmp_path, [make_row("t2")], shard_id="02", attempt_id="late")
    assert committer.commit([late]) == Commit((), ("02",))
    assert committer.shard_ids() == {"00", "01", "02"}
    assert not (tmp_path / "tiny" / late.file_name).exists()


def test_a_commit_that_was_overtaken_tries_again_what_is_missing(
    tmp_path: Path, three_parts: list[PartResult], make_row: MakeRow, make_part: MakePart
) -> None:
    class Overtaken(Committer):
        def _newest(self) -> DeltaTable:
            table = super()._newest()
            commit_parts(tmp_path, "tiny", three_parts[:2])
            return table

    twin = make_part(tmp_path, [make_row("t0")], shard_id="00", attempt_id="twin")
    parts = [twin, three_parts[2]]
    assert Overtaken(tmp_path, "tiny").commit(parts) == Commit(("02",), ("00",))
    assert committed_shards(tmp_path, "tiny") == {"00", "01", "02"}
    assert read_snapshot(tmp_path / "tiny").n_rows == 3


def test_shards_of_compacted_files_are_not_committed_again(
    tmp_path: Path, three_parts: list[PartResult], make_row: MakeRow, make_part: MakePart
) -> None:
    committer = Committer(tmp_path, "tiny")
    committer.commit(three_parts)
    DeltaTable(tmp_path / "tiny").optimize.compact()
    again = make_part(tmp_path, [make_row("t1")], shard_id="01", attempt_id="again")
    assert committer.commit([again]) == Commit((), ("01",))
    assert committer.shard_ids() == {"00", "01", "02"}


def test_a_compacted_file_is_read_once(tmp_path: Path, three_parts: list[PartResult]) -> None:
    committer = Committer(tmp_path, "tiny")
    committer.commit(three_parts)
    DeltaTable(tmp_path / "tiny").optimize.compact()
    found = committer.shard_ids()
    (compacted,) = read_snapshot(tmp_path / "tiny").files
    compacted.path.unlink()
    assert committer.shard_ids() == found


def test_a_file_without_statistics_is_not_deleted_when_it_is_committed_again(
    tmp_path: Path, one_part: PartResult
) -> None:
    # Other writers may log less than we do: what the log names stays, whatever it says of it.
    commit_parts(tmp_path, "tiny", [])
    table = DeltaTable(tmp_path / "tiny")
    bare = AddAction(one_part.file_name, one_part.n_bytes, {}, 0, True, '{"numRecords": 2}')
    table.create_write_transaction([bare], "append", table.schema())
    assert commit_parts(tmp_path, "tiny", [one_part]) == Commit(("0a",), ())
    assert (tmp_path / "tiny" / one_part.file_name).is_file()
    assert read_snapshot(tmp_path / "tiny").n_rows == 2


def test_a_log_that_turns_to_rubbish_between_commits_is_one_line(
    tmp_path: Path, three_parts: list[PartResult]
) -> None:
    committer = Committer(tmp_path, "tiny")
    committer.commit(three_parts[:1])
    (tmp_path / "tiny" / "_delta_log" / f"{2:020}.json").write_text("rubbish")
    with pytest.raises(OutputError, match="cannot read the log of") as caught:
        committer.commit(three_parts[1:])
    assert "\n" not in str(caught.value)


def test_shards_are_known_from_checkpoints_of_the_log(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    (tmp_path / "tiny").mkdir()
    every_ten = {"delta.checkpointInterval": "10"}
    DeltaTable.create(tmp_path / "tiny", MODEL_SCHEMA, configuration=every_ten)
    for number in range(25):
        part = make_part(tmp_path, [make_row(f"t{number}")], shard_id=f"{number:02x}")
        commit_parts(tmp_path, "tiny", [part])
    assert len(list((tmp_path / "tiny" / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert len(committed_shards(tmp_path, "tiny")) == 25


@pytest.mark.parametrize("name", ["out with spaces", "Müsik", "a#b", "100%", "q?=1", "~x"])
def test_an_output_folder_may_have_any_name(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, name: str
) -> None:
    out = tmp_path / name
    commit_parts(out, "tiny", [make_part(out, [make_row("a")])])
    assert committed_shards(out, "tiny") == {"0a"}
    assert read_snapshot(out / "tiny").files[0].path.is_file()


def test_a_log_of_rubbish_is_one_line(tmp_path: Path, one_part: PartResult) -> None:
    commit_parts(tmp_path, "tiny", [one_part])
    (tmp_path / "tiny" / "_delta_log" / f"{1:020}.json").write_text("rubbish")
    with pytest.raises(OutputError, match="cannot read the log of") as caught:
        committed_shards(tmp_path, "tiny")
    assert "\n" not in str(caught.value)


def test_deltalake_itself_refuses_a_transaction_it_has_not_seen(
    tmp_path: Path, one_part: PartResult
) -> None:
    # The whole commit stands on this; a new version of deltalake must keep it.
    commit_parts(tmp_path, "tiny", [])
    stale, fresh = DeltaTable(tmp_path / "tiny"), DeltaTable(tmp_path / "tiny")
    commit._append(fresh, [one_part], folder=tmp_path / "tiny")
    with pytest.raises(CommitFailedError):
        commit._append(stale, [one_part], folder=tmp_path / "tiny")
