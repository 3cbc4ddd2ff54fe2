"""Damage that is done on purpose is found, and nothing else is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from embedlib.errors import OutputError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.verify import verify

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]


@pytest.fixture
def rows(make_row: MakeRow) -> list[TrackRow]:
    return [make_row("a"), make_row("b"), make_row("c", status=Status.MISSING), make_row("d")]


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, rows: list[TrackRow]) -> Path:
    return make_output(tmp_path / "out", rows)


def problems(out: Path) -> list[str]:
    return [str(problem) for problem in verify(out).problems]


def with_row(rows: list[TrackRow], **changes: object) -> list[TrackRow]:
    return [dataclasses.replace(rows[0], **changes), *rows[1:]]


def with_decoded(rows: list[TrackRow], **changes: object) -> list[TrackRow]:
    return with_row(rows, decoded=dataclasses.replace(rows[0].decoded, **changes))


def test_a_whole_output_has_no_problems(out: Path) -> None:
    report = verify(out)
    assert (report.problems, report.notes) == ((), ())
    assert (report.n_tracks, report.n_rows) == (4, (("tiny", 4),))


def test_a_removed_part_is_found(out: Path) -> None:
    (out / "tiny" / "part-00-1.parquet").unlink()
    found = problems(out)
    assert "part-00-1.parquet" in found[0]
    assert "is missing, but the log names it" in found[0]
    assert found[1:] == [
        f"tiny: {track_id}: it has no row, but the catalogue lists it" for track_id in "ab"
    ]


def test_a_truncated_part_is_found(out: Path) -> None:
    path = out / "tiny" / "part-01-1.parquet"
    path.write_bytes(path.read_bytes()[:-64])
    assert f"{path} is damaged" in problems(out)[0]


def test_a_part_with_damage_in_the_middle_is_found(out: Path) -> None:
    path = out / "tiny" / "part-00-1.parquet"
    content = bytearray(path.read_bytes())
    content[8:200] = bytes(192)
    path.write_bytes(content)
    assert f"{path} is damaged" in problems(out)[0]


def test_a_part_that_was_replaced_is_found(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(out, [make_row("a")], shard_id="ff")
    (out / "tiny" / part.file_name).rename(out / "tiny" / "part-00-1.parquet")
    found = problems(out)
    assert any("the log says" in each and "bytes" in each for each in found)
    assert "tiny: part-00-1.parquet: it holds 1 rows, the log says 2" in found


def test_a_missing_track_is_found(
    tmp_path: Path, rows: list[TrackRow], make_output: MakeOutput
) -> None:
    out = make_output(tmp_path, rows)
    write_deltalake(
        out / "catalog", pa.table({"track_id": ["e"], "version": ["17"]}), mode="append"
    )
    assert problems(out) == ["tiny: e: it has no row, but the catalogue lists it"]


def test_a_track_that_nobody_planned_is_found(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    commit_parts(out, "tiny", [make_part(out, [make_row("z")], shard_id="ff")])
    assert problems(out) == ["tiny: z: it has a row, but the catalogue does not list it"]


def test_a_duplicated_row_is_found(out: Path, make_row: MakeRow, make_part: MakePart) -> None:
    commit_parts(out, "tiny", [make_part(out, [make_row("a")], shard_id="ff")])
    assert problems(out) == ["tiny: a: it has 2 rows"]


def test_a_track_that_is_planned_twice_is_found(out: Path) -> None:
    write_deltalake(
        out / "catalog", pa.table({"track_id": ["a"], "version": ["17"]}), mode="append"
    )
    assert problems(out) == ["catalog: a: it has 2 rows"]


def test_a_row_of_another_version_is_found(
    tmp_path: Path, rows: list[TrackRow], make_output: MakeOutput
) -> None:
    out = make_output(tmp_path, rows)
    DeltaTable(out / "catalog").update({"version": "'18'"}, predicate="track_id = 'b'")
    assert problems(out) == ["tiny: b: its row is of version 17, planned is 18"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_found(
    tmp_path: Path, rows: list[TrackRow], make_output: MakeOutput, value: float
) -> None:
    patches = rows[0].patch_embeddings.copy()
    patches[3, 2] = value
    out = make_output(tmp_path, with_row(rows, patch_embeddings=patches))
    assert problems(out) == [
        "tiny: a: its embedding holds NaN or infinity",
        "tiny: a: its patches hold NaN or infinity",
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_samples": 190_000}, "n_patches is 5, but 190000 samples at 16000 Hz give 6"),
        ({"sr_hz": 44_100}, "n_patches is 5, but 160000 samples at 44100 Hz give 1"),
        ({"sr_hz": 0}, "n_patches is 5, but 160000 samples at 0 Hz give 0"),
    ],
)
def test_a_number_of_patches_that_the_length_does_not_give_is_found(
    tmp_path: Path,
    rows: list[TrackRow],
    make_output: MakeOutput,
    changes: dict[str, int],
    sentence: str,
) -> None:
    out = make_output(tmp_path, with_decoded(rows, **changes))
    assert problems(out) == [f"tiny: a: {sentence}"]


def test_essentia_may_be_two_samples_off(
    tmp_path: Path, rows: list[TrackRow], make_output: MakeOutput, manifest: ModelManifest
) -> None:
    # The least number of samples that gives 6 patches; two less give 5.
    essentia = dataclasses.replace(manifest, resampler="essentia-q1")
    first_of_six = 166_401
    near = with_decoded(rows, n_samples=first_of_six)
    assert problems(make_output(tmp_path / "soxr", near)) != []
    assert problems(make_output(tmp_path / "essentia", near, manifest=essentia)) == []


def test_starts_that_do_not_follow_the_hop_are_found(
    tmp_path: Path, rows: list[TrackRow], make_output: MakeOutput
) -> None:
    starts = rows[0].patch_t0_ms + np.int32(1)
    out = make_output(tmp_path, with_row(rows, patch_t0_ms=starts))
    assert problems(out) == ["tiny: a: its patches do not start where the hop says"]


def rewrite(path: Path, column: str, change: Callable[[list[object]], list[object]]) -> None:
    """Change a column of a part in place, so that only its size tells."""
    table = pq.read_table(path)
    index = table.schema.get_field_index(column)
    values = pa.array(change(table[column].to_pylist()), table.schema.field(column).type)
    pq.write_table(table.set_column(index, table.schema.field(column), values), path)


@pytest.mark.parametrize(
    ("column", "change", "sentence"),
    [
        ("embedding", lambda all_: [[1, 2, 3, 4], *all_[1:]], "is not the mean of its patches"),
        ("embedding", lambda all_: [[1, 2], *all_[1:]], "its embedding has not 4 values"),
        ("embedding", lambda all_: [None, *all_[1:]], "its embedding has not 4 values"),
        ("patch_t0_ms", lambda all_: [all_[0][:-1], *all_[1:]], "differ in length"),
        ("patch_embeddings", lambda all_: [all_[0][:-1], *all_[1:]], "differ in length"),
        ("patch_embeddings", lambda all_: [[[1.0]] * 5, *all_[1:]], "differ in length"),
        ("patch_embeddings", lambda all_: [None, *all_[1:]], "its patches are missing"),
        ("status", lambda all_: ["fine", *all_[1:]], "its status 'fine' is unknown"),
        ("status", lambda all_: ["missing", *all_[1:]], "status 'missing' and an embedding"),
    ],
)
def test_a_row_that_contradicts_itself_is_found(
    out: Path, column: str, change: Callable[[list[object]], list[object]], sentence: str
) -> None:
    rewrite(out / "tiny" / "part-00-1.parquet", column, change)
    found = [each for each in problems(out) if "the log says" not in each]
    assert len(found) == 1
    assert found[0].startswith("tiny: a: ")
    assert sentence in found[0]


def test_patches_where_there_should_be_none_are_found(out: Path, manifest: ModelManifest) -> None:
    path = out / "tiny" / "model.json"
    path.write_text(path.read_text().replace('"patches": true', '"patches": false'))
    assert problems(out)[0] == "tiny: a: it has patches, but model.json says there are none"


def test_files_that_no_log_names_are_notes(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(out, [make_row("a")], attempt_id="2")
    (out / "tiny" / ".part-00-3.parquet.tmp").touch()
    report = verify(out)
    assert report.problems == ()
    assert [note.split(" ")[0].rsplit("/")[-1] for note in report.notes] == [
        ".part-00-3.parquet.tmp",
        "part-0a-2.parquet",
    ]


def test_a_model_without_a_commit_misses_all_tracks(
    out: Path, make_part: MakePart, make_row: MakeRow, manifest: ModelManifest
) -> None:
    make_part(out, [make_row("a")], manifest=dataclasses.replace(manifest, model="second"))
    assert len([each for each in problems(out) if each.startswith("second: ")]) == 4


def test_an_output_without_catalogue_cannot_be_verified(
    tmp_path: Path, make_part: MakePart, make_row: MakeRow
) -> None:
    make_part(tmp_path, [make_row("a")])
    with pytest.raises(OutputError, match="holds no catalogue; give the folder"):
        verify(tmp_path)
