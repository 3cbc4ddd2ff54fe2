"""Damage that is done on purpose is found, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from embedlib.errors import OutputError
from embedlib.features.patches import LastPatch
from embedlib.records import PartResult, Status, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.snapshot import read_snapshot
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
        "tiny: a: its patch_embeddings holds NaN or infinity",
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
        ("embedding", lambda all_: [[1, 2, 3, 4], *all_[1:]], "is not the mean of its patch"),
        ("embedding", lambda all_: [[1, 2], *all_[1:]], "its embedding has not 4 values"),
        ("embedding", lambda all_: [None, *all_[1:]], "its embedding has not 4 values"),
        ("patch_t0_ms", lambda all_: [all_[0][:-1], *all_[1:]], "holds 4 starts, n_patches is 5"),
        ("patch_t0_ms", lambda all_: [None, *all_[1:]], "its patch_t0_ms is missing"),
        ("patch_embeddings", lambda all_: [all_[0][:-1], *all_[1:]], "holds 4 vectors, not 1 for"),
        ("patch_embeddings", lambda all_: [[[1.0]] * 5, *all_[1:]], "of other than 4 values"),
        ("patch_embeddings", lambda all_: [None, *all_[1:]], "its patch_embeddings is missing"),
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


@pytest.fixture
def banded_out(
    tmp_path: Path, make_output: MakeOutput, make_row: MakeRow, banded: ModelManifest
) -> Path:
    """Two tracks with three vectors per patch and two further columns, in one file."""
    rows = [make_row(name, manifest=banded) for name in "ab"]
    return make_output(tmp_path / "banded", rows, manifest=banded)


def test_several_vectors_per_patch_and_further_columns_have_no_problems(banded_out: Path) -> None:
    assert verify(banded_out).problems == ()


@pytest.mark.parametrize(
    ("column", "change", "sentence"),
    [
        (
            "patch_embeddings",
            lambda all_: [all_[0][:-1], *all_[1:]],
            "its patch_embeddings holds 14 vectors, not 3 for each of 5 patches",
        ),
        ("activations", lambda all_: [[9.0, 9.0], *all_[1:]], "activations is not the mean of its"),
        ("activations", lambda all_: [[1.0], *all_[1:]], "its activations has not 2 values"),
        ("activations", lambda all_: [None, *all_[1:]], "its activations has not 2 values"),
        (
            "patch_moods-1.0",
            lambda all_: [all_[0] * 3, *all_[1:]],
            "its patch_moods-1.0 holds 15 vectors, not 1 for each of 5 patches",
        ),
        ("patch_moods-1.0", lambda all_: [None, *all_[1:]], "its patch_moods-1.0 is missing"),
        (
            "patch_moods-1.0",
            lambda all_: [[[np.nan] * 3] * 5, *all_[1:]],
            "its patch_moods-1.0 holds NaN or infinity",
        ),
        ("status", lambda all_: ["missing", *all_[1:]], "status 'missing' and an embedding"),
    ],
)
def test_a_further_column_that_contradicts_its_row_is_found(
    banded_out: Path, column: str, change: Callable[[list[object]], list[object]], sentence: str
) -> None:
    rewrite(banded_out / "tiny" / "part-00-1.parquet", column, change)
    found = [each for each in problems(banded_out) if "the log says" not in each]
    assert len(found) == 1
    assert found[0].startswith("tiny: a: ")
    assert sentence in found[0]


def test_a_failed_row_with_a_further_vector_is_found(
    tmp_path: Path, make_output: MakeOutput, make_row: MakeRow, banded: ModelManifest
) -> None:
    failed = make_row("a", status=Status.MISSING)
    out = make_output(tmp_path, [failed, make_row("b", manifest=banded)], manifest=banded)
    path = out / "tiny" / "part-00-1.parquet"
    rewrite(path, "activations", lambda all_: [[1.0, 2.0], *all_[1:]])
    assert "tiny: a: it has status 'missing' and an embedding" in problems(out)


def test_a_file_without_a_further_column_is_found(banded_out: Path) -> None:
    path = banded_out / "tiny" / "part-00-1.parquet"
    pq.write_table(pq.read_table(path).drop_columns("activations"), path)
    assert f"{path} has no column 'activations'" in problems(banded_out)[1]


@pytest.mark.parametrize(
    ("last", "n_patches"),
    [("tile-short", 5), ("pad-short", 5), ("discard", 5), ("repeat", 6), ("pad", 7)],
)
def test_counts_and_starts_follow_the_patch_rule(
    tmp_path: Path,
    make_output: MakeOutput,
    make_row: MakeRow,
    manifest: ModelManifest,
    last: LastPatch,
    n_patches: int,
) -> None:
    ruled = dataclasses.replace(manifest, last_patch=last)
    row = make_row("a", manifest=ruled)
    assert len(row.patch_t0_ms) == n_patches
    assert problems(make_output(tmp_path, [row], manifest=ruled)) == []


def test_centred_patches_start_before_the_audio_and_nowhere_else(
    tmp_path: Path, make_output: MakeOutput, make_row: MakeRow, manifest: ModelManifest
) -> None:
    centred = dataclasses.replace(manifest, last_patch="centred")
    row = make_row("a", manifest=centred)
    moved = dataclasses.replace(row, patch_t0_ms=row.patch_t0_ms - row.patch_t0_ms[0])
    assert problems(make_output(tmp_path / "right", [row], manifest=centred)) == []
    assert problems(make_output(tmp_path / "wrong", [moved], manifest=centred)) == [
        "tiny: a: its patches do not start where the hop says"
    ]


@pytest.fixture
def thirty_seconds(manifest: ModelManifest) -> ModelManifest:
    """Of a front end that puts zeros on both sides of audio shorter than 30 s."""
    return dataclasses.replace(
        manifest, front_end="tempocnn-mel-30s", sr_hz=11025, patch_frames=256, patch_hop_frames=128
    )


def test_zeros_before_the_audio_move_the_starts_of_patches(
    tmp_path: Path, make_output: MakeOutput, make_row: MakeRow, thirty_seconds: ModelManifest
) -> None:
    row = make_row("a", manifest=thirty_seconds)
    assert row.patch_t0_ms[0] == -10_000
    assert problems(make_output(tmp_path, [row], manifest=thirty_seconds)) == []


def test_starts_may_follow_from_any_length_that_essentias_resampler_gives(
    tmp_path: Path, make_output: MakeOutput, make_row: MakeRow, thirty_seconds: ModelManifest
) -> None:
    # The third patch starts at 1888 ms in 110247 samples, and at 1889 ms in two samples more.
    (row,) = with_decoded([make_row("a", manifest=thirty_seconds)], sr_hz=11025, n_samples=110_247)
    essentia = dataclasses.replace(thirty_seconds, resampler="essentia-q1")
    assert problems(make_output(tmp_path / "essentia", [row], manifest=essentia)) == []
    assert problems(make_output(tmp_path / "soxr", [row], manifest=thirty_seconds)) == [
        "tiny: a: its patches do not start where the hop says"
    ]


def test_an_instance_of_a_model_is_named_by_its_table(
    tmp_path: Path, make_output: MakeOutput, rows: list[TrackRow], manifest: ModelManifest
) -> None:
    instance = dataclasses.replace(manifest, model="tiny-slow", spec="tiny", patch_hop_frames=187)
    out = make_output(tmp_path, rows[:1], manifest=instance)
    assert {problem.model for problem in verify(out).problems} == {"tiny-slow"}
    assert "n_patches is 5, but 160000 samples at 16000 Hz give 3" in problems(out)[0]


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


def test_files_of_older_versions_are_one_note(out: Path) -> None:
    n_files = len(read_snapshot(out / "tiny").files)
    DeltaTable(out / "tiny").optimize.compact()
    (note,) = verify(out).notes
    assert note.startswith(f"{n_files} files in {out / 'tiny'} are of older versions alone")


def test_a_file_with_rows_of_another_shard_than_logged_is_found(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(out, [make_row("a")], shard_id="x", attempt_id="1")
    table = DeltaTable(out / "tiny")
    stats = {
        "numRecords": 1,
        "minValues": {"shard_id": "y"},
        "maxValues": {"shard_id": "y"},
        "nullCount": {"shard_id": 0},
    }
    action = AddAction(part.file_name, part.n_bytes, {}, 0, True, json.dumps(stats))
    table.create_write_transaction([action], "append", table.schema())
    assert f"tiny: {part.file_name}: it holds rows of the shard x, the log says y" in problems(out)


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
