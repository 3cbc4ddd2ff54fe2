"""Replacing rows: those that were asked for, in one version of the log, and no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from embedlib.errors import OutputError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.reader import open_output
from embedlib.tables.replace import Replaced, replace_rows
from embedlib.tables.snapshot import read_snapshot
from embedlib.tables.verify import verify

MakeRow = Callable[..., TrackRow]
MakeOutput = Callable[..., Path]

NEW = {"engine": "other", "machine": "there"}


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, make_row: MakeRow) -> Path:
    """Three shards of two tracks: one failure in each of the first two, none in the third."""
    statuses = {"b": Status.TIMEOUT, "c": Status.MISSING}
    rows = [make_row(name, status=statuses.get(name, Status.OK)) for name in "abcdef"]
    return make_output(tmp_path / "out", rows)


@pytest.fixture
def made(tmp_path: Path, make_output: MakeOutput, make_row: MakeRow) -> Path:
    """All six tracks once more, all well."""
    rows = [make_row(name) for name in "abcdef"]
    return make_output(tmp_path / "made", rows, provenance=NEW)


def rows_of(out: Path, *, at: int | None = None) -> dict[str, dict[str, object]]:
    table = open_output(out).tracks("tiny", at=at).to_arrow()
    return {row["track_id"]: row for row in table.to_pylist()}


def version_of(out: Path) -> int:
    return read_snapshot(out / "tiny").version


def test_rows_of_the_wanted_status_are_replaced_and_no_others(out: Path, made: Path) -> None:
    before = rows_of(out)
    done = replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    after = rows_of(out)
    assert done == Replaced(before=(("timeout", 1),), after=(("ok", 1),))
    assert after["b"] == rows_of(made)["b"] | {"shard_id": "00"}
    assert {name: after[name] for name in "acdef"} == {name: before[name] for name in "acdef"}
    assert verify(out).problems == ()


def test_all_rows_of_a_model_are_replaced_in_one_version(out: Path, made: Path) -> None:
    version = version_of(out)
    done = replace_rows(out, "tiny", made_in=made, statuses=["timeout", "missing"])
    assert (done.n_rows, version_of(out)) == (2, version + 1)


def test_the_version_before_can_still_be_read(out: Path, made: Path) -> None:
    version, before = version_of(out), rows_of(out)
    replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    assert rows_of(out, at=version) == before


def test_files_without_such_rows_stay_where_they_are(out: Path, made: Path) -> None:
    before = {file.path.name for file in read_snapshot(out / "tiny").files}
    replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    after = {file.path.name for file in read_snapshot(out / "tiny").files}
    assert before - after == {"part-00-1.parquet"}
    assert len(after - before) == 2


def test_each_row_keeps_the_footer_of_what_made_it(out: Path, made: Path) -> None:
    replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    engines = {}
    for file in read_snapshot(out / "tiny").files:
        footer = pq.read_schema(file.path).metadata
        for track_id in pq.read_table(file.path, columns=["track_id"])["track_id"].to_pylist():
            engines[track_id] = footer[b"embedlib.engine"]
    assert engines == dict.fromkeys("acdef", b"fake") | {"b": b"other"}


def test_again_is_no_version(out: Path, made: Path) -> None:
    replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    version = version_of(out)
    assert replace_rows(out, "tiny", made_in=made, statuses=["timeout"]) == Replaced()
    assert version_of(out) == version


def test_a_row_of_another_version_replaces_nothing(
    out: Path, tmp_path: Path, make_output: MakeOutput, make_row: MakeRow
) -> None:
    row = make_row("b")
    changed = dataclasses.replace(row, track=dataclasses.replace(row.track, version="18"))
    made = make_output(tmp_path / "changed", [changed])
    assert replace_rows(out, "tiny", made_in=made, statuses=["timeout"]) == Replaced()


def test_a_track_may_fail_again_for_another_reason(
    out: Path, tmp_path: Path, make_output: MakeOutput, make_row: MakeRow
) -> None:
    made = make_output(tmp_path / "again", [make_row("b", status=Status.MISSING)])
    done = replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    assert done == Replaced(before=(("timeout", 1),), after=(("missing", 1),))
    assert rows_of(out)["b"]["status"] == "missing"


def test_a_file_with_rows_of_several_shards_is_exchanged_as_well(out: Path, made: Path) -> None:
    DeltaTable(out / "tiny").optimize.compact()
    (file,) = read_snapshot(out / "tiny").files
    assert file.shard_id == ""
    replace_rows(out, "tiny", made_in=made, statuses=["timeout", "missing"])
    assert {row["status"] for row in rows_of(out).values()} == {"ok"}
    assert read_snapshot(out / "tiny").shard_ids() == {"00", "01", "02"}
    assert verify(out).problems == ()


def test_a_row_is_found_in_whichever_shard_it_was_written(
    out: Path, tmp_path: Path, make_part: Callable[..., PartResult], make_row: MakeRow
) -> None:
    """A move may have come before its track was planned anew, and into another shard."""
    made = tmp_path / "made"
    part = make_part(made, [make_row("b")], shard_id="elsewhere", provenance=NEW)
    commit_parts(made, "tiny", [part])
    assert replace_rows(out, "tiny", made_in=made, statuses=["timeout"]).n_rows == 1
    assert rows_of(out)["b"]["status"] == "ok"


def test_two_that_replace_at_once_leave_each_row_once(out: Path, made: Path) -> None:
    def replace(_: int) -> Replaced:
        return replace_rows(out, "tiny", made_in=made, statuses=["timeout", "missing"])

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(replace, range(4)))
    assert sum(each.n_rows for each in done) == 2
    assert {name: row["status"] for name, row in rows_of(out).items()} == dict.fromkeys(
        "abcdef", "ok"
    )
    named = {file.path.name for file in read_snapshot(out / "tiny").files}
    assert {path.name for path in (out / "tiny").glob("*replaced*.parquet")} <= named


def test_a_missing_file_is_named_and_nothing_changes(out: Path, made: Path) -> None:
    (made / "tiny" / "part-00-1.parquet").unlink()
    version = version_of(out)
    with pytest.raises(OutputError, match=r"part-00-1\.parquet is missing"):
        replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    assert version_of(out) == version


def test_a_new_row_has_the_columns_of_its_table(out: Path, made: Path) -> None:
    before = DeltaTable(out / "tiny").schema()
    replace_rows(out, "tiny", made_in=made, statuses=["timeout"])
    table = DeltaTable(out / "tiny")
    assert table.schema() == before
    assert pa.table(table.to_pyarrow_table(columns=["track_id"])).num_rows == 6
