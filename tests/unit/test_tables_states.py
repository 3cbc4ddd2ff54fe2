"""States: what an output was after each run that ended, as long as its files are kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import RemoveAction

import embedlib
from embedlib.errors import ConfigError, OutputError
from embedlib.records import PartResult, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.diff import diff
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.reader import open_named, open_output
from embedlib.tables.states import (
    STATE_FILE,
    State,
    TableState,
    record_state,
    split_state,
    state_at,
    states,
)
from embedlib.tables.verify import verify

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]


@pytest.fixture
def old(tmp_path: Path, make_output: MakeOutput, make_row: MakeRow) -> Path:
    """An output from before states were recorded: tracks b, c and, in a file of its own, a."""
    return make_output(tmp_path / "out", [make_row(name) for name in "bca"])


@pytest.fixture
def lived(old: Path, make_part: MakePart, make_row: MakeRow) -> Path:
    """State 1: a, b, c. State 2: d came. State 3: a left, in the catalogue too."""
    record_state(old, "run-1", "extract")
    commit_parts(old, "tiny", [make_part(old, [make_row("d")], shard_id="ff")])
    write_deltalake(old / "catalog", listed("d"), mode="append")
    record_state(old, "run-2", "index")
    remove(old / "tiny", "part-01-1.parquet")
    DeltaTable(old / "catalog").delete("track_id = 'a'")
    record_state(old, "run-3", "index")
    return old


def listed(*track_ids: str) -> pa.Table:
    return pa.table({"track_id": track_ids, "version": ["17"] * len(track_ids)})


def remove(table: Path, *file_names: str) -> None:
    """Take files out of a table, in one entry of its log."""
    delta = DeltaTable(table)
    actions = [RemoveAction(name, True, 0) for name in file_names]
    delta.create_write_transaction(actions, mode="append", schema=delta.schema())


def ids_at(out: Path, at: int | str | None) -> str:
    tracks = open_output(out, at=at).tracks("tiny").to_arrow(["track_id"])
    return "".join(sorted(tracks["track_id"].to_pylist()))


def remove_old_files(out: Path) -> None:
    DeltaTable(out / "tiny").vacuum(0, enforce_retention_duration=False, dry_run=False)


def edit_state(out: Path, run_id: str, **changes: object) -> None:
    path = out / "runs" / run_id / STATE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_run_that_ended_is_a_state_with_its_versions(lived: Path) -> None:
    first, second, third = states(lived)
    assert [(s.number, s.run_id, s.kind) for s in (first, second, third)] == [
        (1, "run-1", "extract"),
        (2, "run-2", "index"),
        (3, "run-3", "index"),
    ]
    assert first.versions == {"catalog": 0, "tiny": 1}
    assert third.versions == {"catalog": 2, "tiny": 3}


def test_a_state_counts_what_came_and_what_went(lived: Path) -> None:
    assert [state.tables["tiny"] for state in states(lived)] == [
        TableState(version=1, n_rows=3, n_added=3, n_removed=0),
        TableState(version=2, n_rows=4, n_added=1, n_removed=0),
        TableState(version=3, n_rows=3, n_added=0, n_removed=1),
    ]
    assert [state.tables["catalog"].n_rows for state in states(lived)] == [3, 4, 3]


def test_rows_that_only_changed_their_file_neither_came_nor_went(lived: Path) -> None:
    DeltaTable(lived / "tiny").optimize.compact()
    table = record_state(lived, "run-4", "index").tables["tiny"]
    assert table == TableState(version=4, n_rows=3, n_added=0, n_removed=0)


def test_a_run_that_did_nothing_is_a_state_too(lived: Path) -> None:
    state = record_state(lived, "run-4", "extract")
    assert (state.number, state.versions) == (4, states(lived)[2].versions)
    assert state.tables["tiny"].n_added == state.tables["tiny"].n_removed == 0


def test_recording_a_run_twice_changes_nothing(lived: Path) -> None:
    before = (lived / "runs" / "run-2" / STATE_FILE).read_bytes()
    remove(lived / "tiny", "part-00-1.parquet")
    assert record_state(lived, "run-2", "other") == states(lived)[1]
    assert (lived / "runs" / "run-2" / STATE_FILE).read_bytes() == before


def test_a_comparison_that_is_no_longer_possible_does_not_fail_the_run(
    lived: Path, make_part: MakePart, make_row: MakeRow
) -> None:
    commit_parts(lived, "tiny", [make_part(lived, [make_row("e")], shard_id="ee")])
    remove(lived / "tiny", "part-00-1.parquet", "part-ff-1.parquet")
    remove_old_files(lived)
    table = record_state(lived, "run-4", "index").tables["tiny"]
    assert (table.n_rows, table.n_added, table.n_removed) == (1, None, None)


@pytest.mark.parametrize(("at", "expected"), [(1, "abc"), (2, "abcd"), (3, "bcd"), ("2", "abcd")])
def test_a_state_opens_as_the_tables_were(lived: Path, at: int | str, expected: str) -> None:
    assert ids_at(lived, at) == expected
    catalogue = open_output(lived, at=at).catalogue()
    assert sorted(catalogue["track_id"].to_pylist()) == list(expected)
    assert len(open_output(lived, at=at).patches("tiny").to_numpy()) == 5 * len(expected)


def test_a_time_opens_the_last_state_up_to_it(lived: Path) -> None:
    for run_id, day in (("run-1", 1), ("run-2", 2), ("run-3", 3)):
        edit_state(lived, run_id, ended_at=f"2026-11-0{day}T02:00:00.000000Z")
    assert ids_at(lived, "2026-11-01T02:00:00Z") == "abc"
    assert ids_at(lived, "2026-11-03T01:59:59") == "abcd"
    assert ids_at(lived, "2026-11-03T01:00:00-05:00") == "bcd"
    with pytest.raises(OutputError, match="has no state 2026-10-31; it has 1 of 2026-11-01T02"):
        open_output(lived, at="2026-10-31")


def test_the_version_of_one_table_can_still_be_named(lived: Path) -> None:
    at_first = open_output(lived, at=1)
    assert len(at_first.tracks("tiny", at=2)) == 4
    assert len(at_first.files("tiny", at=3)) == len(open_output(lived).files("tiny"))
    assert at_first.catalogue(at=1).num_rows == 4


def test_a_model_that_came_later_is_not_in_an_earlier_state(
    lived: Path, make_part: MakePart, make_row: MakeRow, manifest: ModelManifest
) -> None:
    other = dataclasses.replace(manifest, model="vgg")
    commit_parts(lived, "vgg", [make_part(lived, [make_row("b")], manifest=other)])
    record_state(lived, "run-4", "extract")
    assert open_output(lived, at=3).models == ("tiny",)
    assert open_output(lived, at=4).models == ("tiny", "vgg")
    with pytest.raises(OutputError, match="no table of 'vgg'; it holds tiny"):
        open_output(lived, at=3).tracks("vgg")


def test_the_public_open_takes_a_state(lived: Path) -> None:
    assert len(embedlib.open(lived, at=2).tracks("tiny")) == 4


def test_files_that_were_removed_are_one_line_that_names_how_long_they_are_kept(
    lived: Path,
) -> None:
    remove_old_files(lived)
    with pytest.raises(
        OutputError, match=r"version 1 of .*tiny is no longer kept.*--keep"
    ) as error:
        open_output(lived, at=1).tracks("tiny")
    assert "\n" not in str(error.value)
    assert ids_at(lived, 3) == "bcd"


def test_a_file_that_is_lost_now_is_damage_and_not_age(lived: Path) -> None:
    next(iter(open_output(lived, at=3).files("tiny"))).unlink()
    with pytest.raises(OutputError, match="is missing, but the log names it"):
        open_output(lived, at=3).tracks("tiny").to_arrow()


@pytest.mark.parametrize("at", [0, 4, -1, "99"])
def test_a_state_that_there_is_not_names_those_that_there_are(lived: Path, at: int | str) -> None:
    with pytest.raises(OutputError, match=rf"no state {at}; it has 1 of 2\d+-.*Z to 3 of"):
        open_output(lived, at=at)


@pytest.mark.parametrize("at", ["yesterday", "", "3.5", "2026-13-01"])
def test_what_is_neither_number_nor_time_is_a_wrong_option(lived: Path, at: str) -> None:
    with pytest.raises(ConfigError, match="neither the number of a state nor a time; give 3 or"):
        state_at(lived, at)


def test_an_output_without_states_reads_as_ever_and_says_what_there_is(old: Path) -> None:
    assert states(old) == ()
    assert ids_at(old, None) == "abc"
    with pytest.raises(OutputError, match=r"no recorded state yet.*catalog 0, tiny 1; open it"):
        open_output(old, at=1)


def test_runs_that_ended_at_once_get_numbers_of_their_own(lived: Path) -> None:
    edit_state(lived, "run-2", number=1)
    edit_state(lived, "run-3", number=2)
    assert [(state.number, state.run_id) for state in states(lived)] == [
        (1, "run-1"),
        (2, "run-2"),
        (3, "run-3"),
    ]


def test_a_folder_of_a_run_that_is_deleted_leaves_the_other_numbers_as_they_were(
    lived: Path,
) -> None:
    (lived / "runs" / "run-2" / STATE_FILE).unlink()
    assert [state.number for state in states(lived)] == [1, 3]
    assert record_state(lived, "run-4", "extract").number == 4


def test_a_clock_that_went_back_does_not_change_the_order(lived: Path) -> None:
    edit_state(lived, "run-3", ended_at="1999-01-01T00:00:00.000000Z")
    assert [state.run_id for state in states(lived)] == ["run-1", "run-2", "run-3"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"number": 1}', '{"tables": {"tiny": {"version": 1}}}']
)
def test_a_damaged_state_is_one_line_that_names_the_file(lived: Path, text: str) -> None:
    (lived / "runs" / "run-2" / STATE_FILE).write_text(text)
    with pytest.raises(OutputError, match=r"run-2/state\.json is damaged; restore it"):
        states(lived)


def test_two_states_of_one_output_are_compared_row_by_row(lived: Path) -> None:
    found = diff(f"{lived}@1", f"{lived}@3").differences
    assert [(each.track_id, each.first, each.second) for each in found] == [
        ("a", "1 rows", "0 rows"),
        ("d", "0 rows", "1 rows"),
    ]
    assert diff(f"{lived}@3", lived).differences == ()


def test_a_folder_whose_name_holds_an_at_sign_comes_first(
    tmp_path: Path, lived: Path, make_output: MakeOutput, make_row: MakeRow
) -> None:
    other = make_output(tmp_path / "out@3", [make_row("z")])
    assert open_named(str(other)).root == other
    assert open_named(f"{other}@3"[:-2]).state is None
    record_state(other, "run", "extract")
    assert open_named(f"{other}@1").state == states(other)[0]
    assert len(open_named(f"{lived}@2").tracks("tiny")) == 4


@pytest.mark.parametrize("out", ["OUT@", "OUT@last", "a@b/OUT", "@3", Path("OUT@3")])
def test_what_names_no_state_is_a_folder(out: str | Path) -> None:
    assert split_state(out) == (out, None)


def test_states_are_no_concern_of_verify(old: Path) -> None:
    before = verify(old)
    record_state(old, "run-1", "extract")
    assert verify(old) == before


def test_a_state_survives_the_way_through_its_file(lived: Path) -> None:
    recorded = record_state(lived, "run-4", "retry")
    assert states(lived)[3] == recorded
    assert isinstance(recorded, State)


def test_a_catalogue_has_the_columns_that_any_of_its_files_carries(lived: Path) -> None:
    carried = listed("e").append_column("genre", pa.array(["rock"]))
    write_deltalake(lived / "catalog", carried, mode="append", schema_mode="merge")
    catalogue = open_output(lived).catalogue(["track_id", "genre"])
    found = dict(zip(*catalogue.to_pydict().values(), strict=True))
    assert found == {"b": None, "c": None, "d": None, "e": "rock"}
    with pytest.raises(OutputError, match="no column 'genre'"):
        open_output(lived, at=1).catalogue(["genre"])


def test_a_catalogue_of_nothing_has_no_rows(lived: Path) -> None:
    DeltaTable(lived / "catalog").delete()
    assert open_output(lived).catalogue(["track_id", "version"]).num_rows == 0


def test_an_output_without_catalogue_says_so(old: Path) -> None:
    shutil.rmtree(old / "catalog")
    with pytest.raises(OutputError, match="holds no catalogue; give the folder"):
        open_output(old).catalogue()
