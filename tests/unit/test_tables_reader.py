"""Readers: an output as Arrow, NumPy, pandas and Polars, and what they say when it is none."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from embedlib.errors import ConfigError, OutputError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.tables import parts as tables_parts
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.patches import patch_schema
from embedlib.tables.reader import open_output
from embedlib.tables.schema import PATCH_SCHEMA
from embedlib.tables.status import Failure, failures, status
from embedlib.tables.vectors import model_schema

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]


@pytest.fixture
def rows(make_row: MakeRow) -> list[TrackRow]:
    states = [Status.OK, Status.MISSING, Status.DAMAGED, Status.OK, Status.TOO_LONG]
    return [make_row(name, status=state) for name, state in zip("abcde", states, strict=True)]


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, rows: list[TrackRow]) -> Path:
    return make_output(tmp_path / "out", rows)


@pytest.fixture
def banded_rows(make_row: MakeRow, banded: ModelManifest) -> list[TrackRow]:
    states = [Status.OK, Status.MISSING, Status.DAMAGED]
    return [
        make_row(name, status=state, manifest=banded)
        for name, state in zip("abc", states, strict=True)
    ]


@pytest.fixture
def banded_out(
    tmp_path: Path, make_output: MakeOutput, banded_rows: list[TrackRow], banded: ModelManifest
) -> Path:
    """Three vectors per patch and two further columns, in two files."""
    return make_output(tmp_path / "banded", banded_rows, manifest=banded)


def test_an_output_lists_its_models(out: Path) -> None:
    assert open_output(out).models == ("tiny",)


def test_numpy_gives_the_mean_of_each_track_that_has_one(out: Path, rows: list[TrackRow]) -> None:
    tracks = open_output(out).tracks("tiny")
    kept = {
        row.track.track_id: row.patch_embeddings for row in rows if row.patch_embeddings is not None
    }
    means = [kept[track_id].mean(axis=0, dtype=np.float64) for track_id in tracks.track_ids]
    assert tracks.track_ids == ("a", "c", "d")
    np.testing.assert_array_equal(tracks.to_numpy(), np.float32(means))


@pytest.mark.parametrize("n_failed", [0, 3, 40])
def test_failed_tracks_leave_no_gap_in_a_matrix(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, n_failed: int
) -> None:
    failed = [make_row(f"f{number:02}", status=Status.MISSING) for number in range(n_failed)]
    kept = [make_row(name) for name in "xyz"]
    # From four failed tracks on, a file promises more vectors of four values than it has.
    parts = [make_part(tmp_path, [*failed, row], shard_id=row.track.track_id) for row in kept]
    commit_parts(tmp_path, "tiny", parts)
    written = [row.patch_embeddings for row in kept if row.patch_embeddings is not None]
    np.testing.assert_array_equal(
        open_output(tmp_path).patches("tiny").to_numpy(), np.concatenate(written)
    )
    means = [each.mean(axis=0, dtype=np.float64) for each in written]
    np.testing.assert_array_equal(
        open_output(tmp_path).tracks("tiny").to_numpy(), np.float32(means)
    )


def test_row_groups_are_read_into_one_matrix_in_their_order(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_parts, "ROW_GROUP_BYTES", 1)
    rows = [make_row(name) for name in "abcd"]
    out = make_output(tmp_path, rows)
    written = [row.patch_embeddings for row in rows if row.patch_embeddings is not None]
    np.testing.assert_array_equal(
        open_output(out).patches("tiny").to_numpy(), np.concatenate(written)
    )


def test_vectors_of_other_lengths_than_the_manifest_says_are_refused(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput
) -> None:
    out = make_output(tmp_path, [make_row("a")])
    manifest = out / "tiny" / "model.json"
    manifest.write_text(manifest.read_text().replace('"n_dims": 4', '"n_dims": 3'))
    with pytest.raises(OutputError, match="other lengths than 3"):
        open_output(out).tracks("tiny").to_numpy()


def test_a_table_without_any_embedding_is_an_empty_matrix(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput
) -> None:
    out = make_output(tmp_path, [make_row("a", status=Status.EMPTY)])
    assert open_output(out).tracks("tiny").to_numpy().shape == (0, 4)
    assert open_output(out).patches("tiny").to_numpy().shape == (0, 4)


def test_arrow_has_failed_tracks_too(out: Path) -> None:
    tracks = open_output(out).tracks("tiny")
    assert len(tracks) == 5
    assert tracks.to_arrow(["track_id"])["track_id"].to_pylist() == list("abcde")
    assert "patch_embeddings" not in tracks.to_arrow().column_names


def test_failures_have_a_reason(out: Path) -> None:
    failed = open_output(out).tracks("tiny").failures().to_pylist()
    assert [(row["track_id"], row["status"]) for row in failed] == [
        ("b", "missing"),
        ("e", "too_long"),
    ]
    assert failed[0]["error"] == "missing b"


def test_pandas_and_polars_hold_the_same_rows(out: Path) -> None:
    tracks = open_output(out).tracks("tiny")
    assert list(tracks.to_pandas()["track_id"]) == tracks.to_polars()["track_id"].to_list()
    assert tracks.to_polars().schema["embedding"] == pl.List(pl.Float32)
    patches = open_output(out).patches("tiny")
    assert list(patches.to_pandas()["t1_ms"]) == patches.to_polars()["t1_ms"].to_list()


def test_patches_are_one_row_each_with_start_and_end(out: Path) -> None:
    table = open_output(out).patches("tiny").to_arrow()
    assert table["track_id"].to_pylist() == ["a"] * 5 + ["c"] * 5 + ["d"] * 5
    assert table["patch"].to_pylist() == [0, 1, 2, 3, 4] * 3
    assert table["t0_ms"].to_pylist()[:3] == [0, 1488, 2976]
    # 187 frames of 256 samples at 16 kHz
    assert table["t1_ms"].to_pylist()[:3] == [2992, 4480, 5968]


def test_patches_are_the_rows_that_were_written(out: Path, rows: list[TrackRow]) -> None:
    written = [row.patch_embeddings for row in rows if row.patch_embeddings is not None]
    np.testing.assert_array_equal(
        open_output(out).patches("tiny").to_numpy(), np.concatenate(written)
    )


@pytest.mark.parametrize(("column", "index"), [("activations", 0), ("moods-1.0", 1)])
def test_any_vectors_are_a_matrix_in_the_order_of_the_tracks(
    banded_out: Path, banded_rows: list[TrackRow], column: str, index: int
) -> None:
    tracks = open_output(banded_out).tracks("tiny")
    written = [row.columns[index] for row in banded_rows if row.columns]
    means = [each.mean(axis=0, dtype=np.float64).astype(np.float32) for each in written]
    assert tracks.track_ids == ("a", "c")
    np.testing.assert_array_equal(tracks.to_numpy(column), means)


def test_the_classes_of_a_head_have_names(banded_out: Path) -> None:
    tracks, patches = (
        open_output(banded_out).tracks("tiny"),
        open_output(banded_out).patches("tiny"),
    )
    assert tracks.classes("moods-1.0") == patches.classes("moods-1.0") == ("sad", "calm", "glad")
    assert tracks.classes("activations") == tracks.classes("embedding") == ()


def test_all_columns_but_those_of_patches_are_in_the_rows_of_tracks(
    banded_out: Path, banded: ModelManifest
) -> None:
    names = open_output(banded_out).tracks("tiny").to_arrow().column_names
    patches = [name for name in model_schema(banded).names if name.startswith("patch_")]
    assert sorted([*names, *patches]) == sorted(model_schema(banded).names)
    assert names[-3:] == ["embedding", "activations", "moods-1.0"]


def test_columns_come_in_the_order_in_which_they_were_asked_for(banded_out: Path) -> None:
    wanted = ["moods-1.0", "track_id", "embedding"]
    assert open_output(banded_out).tracks("tiny").to_arrow(wanted).column_names == wanted


def test_the_rows_of_a_patch_with_bands_share_its_times_and_further_columns(
    banded_out: Path, banded_rows: list[TrackRow], banded: ModelManifest
) -> None:
    table = open_output(banded_out).patches("tiny").to_arrow()
    assert table.schema.equals(patch_schema(banded))
    assert table["track_id"].to_pylist() == ["a"] * 15 + ["c"] * 15
    assert table["patch"].to_pylist() == [patch for patch in range(5) for _ in range(3)] * 2
    assert table["band"].to_pylist() == [0, 1, 2] * 10
    assert table["t0_ms"].to_pylist()[:6] == [0, 0, 0, 1488, 1488, 1488]
    assert table["t1_ms"].to_pylist()[:6] == [2992] * 3 + [4480] * 3
    moods = np.repeat(np.concatenate([row.columns[1] for row in banded_rows[::2]]), 3, axis=0)
    np.testing.assert_array_equal(np.float32(table["moods-1.0"].to_pylist()), moods)


def test_there_are_no_bands_where_a_patch_has_one_vector(out: Path) -> None:
    assert open_output(out).patches("tiny").to_arrow().schema.equals(PATCH_SCHEMA)


def test_the_vectors_of_patches_are_those_that_were_written(
    banded_out: Path, banded_rows: list[TrackRow]
) -> None:
    patches = open_output(banded_out).patches("tiny")
    embeddings = np.concatenate([row.patch_embeddings for row in banded_rows[::2]])
    activations = np.concatenate([row.columns[0] for row in banded_rows[::2]])
    np.testing.assert_array_equal(patches.to_numpy(), embeddings)
    np.testing.assert_array_equal(patches.to_numpy("activations")[::3], activations)


def test_some_columns_of_patches_are_read_alone(banded_out: Path) -> None:
    patches = open_output(banded_out).patches("tiny")
    assert patches.to_arrow(["band", "moods-1.0"]).column_names == ["band", "moods-1.0"]
    assert sum(batch.num_rows for batch in patches.batches(["t0_ms"])) == 30


def test_a_column_is_not_mistaken_for_one_whose_name_goes_on(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, banded: ModelManifest
) -> None:
    first, second = banded.columns
    columns = (dataclasses.replace(first, name="x"), dataclasses.replace(second, name="x.list"))
    nested = dataclasses.replace(banded, columns=columns)
    out = make_output(tmp_path, [make_row("a", manifest=nested)], manifest=nested)
    tracks = open_output(out).tracks("tiny")
    assert (tracks.to_numpy("x").shape, tracks.to_numpy("x.list").shape) == ((1, 2), (1, 3))


@pytest.mark.parametrize("table", ["tracks", "patches"])
def test_unknown_vectors_name_those_that_are_there(banded_out: Path, table: str) -> None:
    opened = getattr(open_output(banded_out), table)("tiny")
    for read in (opened.to_numpy, opened.classes):
        with pytest.raises(OutputError, match=r"'mood'; choose from embedding, activations, moods"):
            read("mood")


def test_an_unknown_column_of_patches_names_those_that_are_there(banded_out: Path) -> None:
    with pytest.raises(OutputError, match="no column 'mood'; choose from track_id, patch, band"):
        open_output(banded_out).patches("tiny").to_arrow(["mood"])


def test_patches_may_start_before_the_audio(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, manifest: ModelManifest
) -> None:
    centred = dataclasses.replace(manifest, last_patch="centred")
    out = make_output(tmp_path, [make_row("a", manifest=centred)], manifest=centred)
    table = open_output(out).patches("tiny").to_arrow()
    assert table["t0_ms"][0].as_py() == -1504
    assert table["t1_ms"][0].as_py() == -1504 + 2992


def test_polars_duckdb_and_pandas_read_further_columns_from_the_files(
    banded_out: Path, banded_rows: list[TrackRow]
) -> None:
    activations = open_output(banded_out).tracks("tiny").to_numpy("activations").tolist()
    frame = pl.scan_delta(str(banded_out / "tiny")).sort("track_id").collect()
    assert frame["activations"].drop_nulls().to_list() == activations
    files = [str(path) for path in open_output(banded_out).files("tiny")]
    query = """select unnest("patch_moods-1.0") as y from read_parquet($files) order by track_id"""
    moods = duckdb.execute(query, {"files": files}).fetchnumpy()["y"]
    written = np.concatenate([row.columns[1] for row in banded_rows[::2]])
    np.testing.assert_array_equal(np.stack(list(moods)), written)
    pandas = open_output(banded_out).tracks("tiny").to_pandas()
    np.testing.assert_array_equal(np.stack(pandas["activations"].dropna().tolist()), activations)


def test_runs_that_name_the_columns_in_another_order_share_a_table(
    banded_out: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    swapped = dataclasses.replace(banded, columns=banded.columns[::-1])
    row = make_row("z", manifest=swapped)
    commit_parts(
        banded_out, "tiny", [make_part(banded_out, [row], shard_id="ff", manifest=swapped)]
    )
    moods = row.columns[0].mean(axis=0, dtype=np.float64).astype(np.float32)
    frame = pl.scan_delta(str(banded_out / "tiny")).filter(pl.col("track_id") == "z").collect()
    tracks = open_output(banded_out).tracks("tiny")
    np.testing.assert_array_equal(tracks.to_numpy("moods-1.0")[-1], moods)
    np.testing.assert_array_equal(frame["moods-1.0"][0], moods)


def test_other_delta_readers_see_the_same(out: Path) -> None:
    frame = pl.scan_delta(str(out / "tiny")).sort("track_id").collect()
    assert frame["track_id"].to_list() == list("abcde")
    assert frame["embedding"][0].to_list() == open_output(out).tracks("tiny").to_numpy()[0].tolist()


def test_an_open_table_does_not_change_under_later_commits(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    tracks = open_output(out).tracks("tiny")
    commit_parts(out, "tiny", [make_part(out, [make_row("z")], shard_id="ff")])
    assert len(tracks.to_arrow()) == 5
    assert len(open_output(out).tracks("tiny")) == 6


def test_an_older_version_reads_as_it_was(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    version = open_output(out).tracks("tiny").snapshot.version
    commit_parts(out, "tiny", [make_part(out, [make_row("z")], shard_id="ff")])
    assert len(open_output(out).tracks("tiny", at=version)) == 5
    assert len(open_output(out).files("tiny", at=version)) == 3


def test_the_files_of_a_table_are_those_that_count(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(out, [make_row("z")], shard_id="ff")
    names = [path.name for path in open_output(out).files("tiny")]
    assert names == ["part-00-1.parquet", "part-01-1.parquet", "part-02-1.parquet"]


def test_a_missing_version_is_one_line(out: Path) -> None:
    with pytest.raises(OutputError, match="at version 99"):
        open_output(out).tracks("tiny", at=99)


def test_an_unknown_model_names_those_that_are_there(out: Path) -> None:
    with pytest.raises(OutputError, match="no table of 'vgg'; it holds tiny"):
        open_output(out).tracks("vgg")


def test_an_unknown_column_names_those_that_are_there(out: Path) -> None:
    with pytest.raises(OutputError, match="no column 'mood'; choose from track_id"):
        open_output(out).tracks("tiny").to_arrow(["mood"])


def test_a_table_before_its_first_commit_says_so(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(tmp_path, [make_row("a")])
    with pytest.raises(OutputError, match="holds no rows yet"):
        open_output(tmp_path).tracks("tiny")


def test_patches_that_were_not_kept_cannot_be_read(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, manifest: ModelManifest
) -> None:
    without = dataclasses.replace(manifest, patches=False)
    out = make_output(tmp_path, [make_row("a")], manifest=without)
    with pytest.raises(OutputError, match="was made without patches"):
        open_output(out).patches("tiny")
    assert open_output(out).tracks("tiny").to_numpy().shape == (1, 4)


def test_a_file_without_a_column_is_one_line(
    banded_out: Path, make_row: MakeRow, make_part: MakePart, manifest: ModelManifest
) -> None:
    columns_of_all = dataclasses.replace(manifest, model="plain")
    part = make_part(banded_out, [make_row("a")], manifest=columns_of_all)
    path = open_output(banded_out).files("tiny")[0]
    (banded_out / "plain" / part.file_name).rename(path)
    with pytest.raises(OutputError, match=f"{path} has no column 'activations'"):
        open_output(banded_out).tracks("tiny").to_numpy("activations")


def test_a_missing_file_is_one_line(out: Path) -> None:
    (out / "tiny" / "part-01-1.parquet").unlink()
    with pytest.raises(OutputError, match=r"part-01-1\.parquet is missing, but the log names it"):
        open_output(out).tracks("tiny").to_numpy()


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_missing_frame_library_gives_the_line_that_installs_it(
    out: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    tracks = open_output(out).tracks("tiny")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'embedlib\[{package}\]'"):
        getattr(tracks, f"to_{package}")()


def test_status_counts_each_model(out: Path) -> None:
    (counted,) = status(out)
    assert (counted.model, counted.n_planned, counted.n_done, counted.n_failed) == ("tiny", 5, 5, 2)
    assert counted.statuses == (("damaged", 1), ("missing", 1), ("ok", 2), ("too_long", 1))
    assert (counted.n_patches, counted.audio_s) == (15, 50.0)
    assert counted.n_bytes == sum(path.stat().st_size for path in open_output(out).files("tiny"))


def test_status_counts_patches_and_not_their_vectors(banded_out: Path) -> None:
    (counted,) = status(banded_out)
    assert (counted.n_done, counted.n_patches) == (3, 10)


def test_status_of_a_model_without_a_commit_is_zero(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(tmp_path, [make_row("a")])
    (counted,) = status(tmp_path)
    assert (counted.n_planned, counted.n_done, counted.n_failed) == (0, 0, 0)


def test_failures_say_model_track_and_reason(out: Path) -> None:
    listed = list(failures(out))
    assert listed[0] == Failure("tiny", "b", "/music/b", "missing", "missing b")
    assert list(failures(out, "tiny")) == listed
