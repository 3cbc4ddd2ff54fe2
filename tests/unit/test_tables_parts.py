"""Part files: what is in them, and that they are whole or absent."""

from __future__ import annotations

import dataclasses
import errno
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedlib.errors import OutputError
from embedlib.records import KEPT, PartResult, Status, TrackRow
from embedlib.tables import parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import MODEL_SCHEMA
from embedlib.tables.vectors import model_schema, vector_columns

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]


def test_a_part_has_the_columns_of_the_schema(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(tmp_path, [make_row("b"), make_row("a")])
    table = pq.read_table(tmp_path / "tiny" / part.file_name)
    assert table.schema.equals(MODEL_SCHEMA)
    assert table["track_id"].to_pylist() == ["b", "a"]


def test_further_columns_follow_the_columns_of_every_table(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    part = make_part(tmp_path, [make_row("a", manifest=banded)], manifest=banded)
    schema = pq.read_schema(tmp_path / "tiny" / part.file_name)
    assert schema.equals(model_schema(banded))
    further = ["activations", "patch_activations", "moods-1.0", "patch_moods-1.0"]
    assert schema.names == [*MODEL_SCHEMA.names, *further]


def test_several_vectors_of_a_patch_are_one_patch(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    row = make_row("a", manifest=banded)
    part = make_part(tmp_path, [row], manifest=banded)
    (read,) = pq.read_table(tmp_path / "tiny" / part.file_name).to_pylist()
    assert (part.n_patches, read["n_patches"], len(read["patch_t0_ms"])) == (5, 5, 5)
    assert np.float32(read["patch_embeddings"]).shape == (15, 4)
    mean = row.patch_embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(read["embedding"], mean)


def test_further_columns_hold_the_mean_and_the_vector_of_each_patch(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    rows = [make_row("a", manifest=banded), make_row("b", status=Status.EMPTY)]
    part = make_part(tmp_path, rows, manifest=banded)
    read, failed = pq.read_table(tmp_path / "tiny" / part.file_name).to_pylist()
    for name, written in zip(("activations", "moods-1.0"), rows[0].columns, strict=True):
        mean = written.mean(axis=0, dtype=np.float64).astype(np.float32)
        np.testing.assert_array_equal(read[name], mean)
        np.testing.assert_array_equal(np.float32(read[f"patch_{name}"]), written)
        assert (failed[name], failed[f"patch_{name}"]) == (None, None)


def test_a_part_result_counts_what_was_written(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    rows = [make_row("a"), make_row("b", status=Status.MISSING), make_row("c")]
    part = make_part(tmp_path, rows, shard_id="0a", attempt_id="7f")
    assert part.file_name == "part-0a-7f.parquet"
    assert (part.n_rows, part.n_patches, part.audio_s) == (3, 10, 30.0)
    assert part.statuses == (("missing", 1), ("ok", 2))
    assert [stage for stage, _ in part.stage_s] == ["write"]
    assert part.n_bytes == (tmp_path / "tiny" / part.file_name).stat().st_size


def test_values_read_back_bit_by_bit(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    rows = [make_row("a"), make_row("b", status=Status.TIMEOUT), make_row("c")]
    part = make_part(tmp_path, rows)
    stored = pq.read_table(tmp_path / "tiny" / part.file_name).to_pylist()
    assert stored[1]["patch_embeddings"] is None
    for row, read in zip(rows[::2], stored[::2], strict=True):
        np.testing.assert_array_equal(np.float32(read["patch_embeddings"]), row.patch_embeddings)
        np.testing.assert_array_equal(read["patch_t0_ms"], row.patch_t0_ms)


def test_the_embedding_is_the_mean_taken_in_double_precision(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    patches = np.full((5, 4), 0.1, np.float32)
    patches[0] = 1e8
    row = dataclasses.replace(make_row("a"), patch_embeddings=patches)
    part = make_part(tmp_path, [row])
    read = pq.read_table(tmp_path / "tiny" / part.file_name)["embedding"][0].as_py()
    assert read == [float(np.float32(patches.astype(np.float64)[:, 0].mean()))] * 4


@pytest.mark.parametrize("status", list(Status))
def test_only_kept_statuses_carry_an_embedding(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, status: Status
) -> None:
    row = make_row("a")
    row = dataclasses.replace(row, decoded=dataclasses.replace(row.decoded, status=status))
    part = make_part(tmp_path, [row])
    read = pq.read_table(tmp_path / "tiny" / part.file_name).to_pylist()[0]
    assert read["status"] == status.value
    assert (read["embedding"] is not None) == (status in KEPT)
    assert read["n_patches"] == (5 if status in KEPT else 0)


def test_without_patches_only_the_mean_and_their_number_are_kept(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, manifest: ModelManifest
) -> None:
    part = make_part(
        tmp_path, [make_row("a")], manifest=dataclasses.replace(manifest, patches=False)
    )
    read = pq.read_table(tmp_path / "tiny" / part.file_name).to_pylist()[0]
    assert (read["patch_embeddings"], read["patch_t0_ms"]) == (None, None)
    assert (read["n_patches"], len(read["embedding"])) == (5, 4)


def test_without_patches_further_columns_keep_their_mean(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    without = dataclasses.replace(banded, patches=False)
    part = make_part(tmp_path, [make_row("a", manifest=banded)], manifest=without)
    (read,) = pq.read_table(tmp_path / "tiny" / part.file_name).to_pylist()
    assert (len(read["activations"]), read["patch_activations"]) == (2, None)


def test_a_part_of_failures_only_is_well_formed(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(tmp_path, [make_row("a", status=Status.EMPTY)])
    read = pq.read_table(tmp_path / "tiny" / part.file_name)
    assert read["embedding"].null_count == 1
    assert part.n_patches == 0


def test_vectors_have_neither_dictionary_nor_statistics(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, banded: ModelManifest
) -> None:
    part = make_part(tmp_path, [make_row("a", manifest=banded)], manifest=banded)
    group = pq.read_metadata(tmp_path / "tiny" / part.file_name).row_group(0)
    columns = {
        column.path_in_schema: column for column in map(group.column, range(group.num_columns))
    }
    for leaf in (leaf for column in vector_columns(banded) for leaf in column.leaves):
        assert columns[leaf].statistics is None
        assert "BYTE_STREAM_SPLIT" in columns[leaf].encodings
    assert columns["track_id"].statistics.min == "a"


def test_the_footer_says_what_made_the_file(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(tmp_path, [make_row("a")], provenance={"engine": "openvino 2026.1"})
    footer = pq.read_metadata(tmp_path / "tiny" / part.file_name).metadata
    assert footer[b"embedlib.engine"] == b"openvino 2026.1"
    assert footer[b"embedlib.machine"] == platform.node().encode()
    assert (footer[b"embedlib.n_dims"], footer[b"embedlib.n_vectors"]) == (b"4", b"1")
    assert footer[b"embedlib.schema_version"] == b"2"


def test_row_groups_are_bounded_by_bytes(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 2 * 5 * 4 * 4)
    part = make_part(tmp_path, [make_row(track_id) for track_id in "abcde"])
    footer = pq.read_metadata(tmp_path / "tiny" / part.file_name)
    groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    assert groups == [2, 2, 1]


def test_row_groups_count_the_bytes_of_all_vectors(
    tmp_path: Path,
    make_row: MakeRow,
    make_part: MakePart,
    banded: ModelManifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row_bytes = 5 * (3 * 4 + 2 + 3) * 4
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 3 * row_bytes)
    rows = [make_row(track_id, manifest=banded) for track_id in "abcde"]
    part = make_part(tmp_path, rows, manifest=banded)
    footer = pq.read_metadata(tmp_path / "tiny" / part.file_name)
    groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    assert groups == [3, 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patch_embeddings": None}, "patch_embeddings none, not float32"),
        ({"patch_embeddings": np.zeros((5, 4), np.float32)}, r"\(5, 4\), not .* \(15, 4\)"),
        ({"patch_embeddings": np.zeros((15, 3), np.float32)}, r"\(15, 3\), not .* \(15, 4\)"),
        ({"patch_embeddings": np.zeros((15, 4), np.float64)}, "patch_embeddings float64"),
        ({"patch_t0_ms": np.zeros(4, np.int32)}, r"\(15, 4\), not float32 of shape \(12, 4\)"),
        ({"patch_t0_ms": None}, "track a is ok without a patch"),
        ({"patch_t0_ms": np.zeros(0, np.int32)}, "track a is ok without a patch"),
        ({"columns": ()}, "track a has 0 further columns of vectors, not 2"),
        ({"columns": (np.zeros((5, 2), np.float32),) * 2}, r"patch_moods-1.0 .* \(5, 3\)"),
        ({"columns": (np.zeros((15, 2), np.float32),) * 2}, r"patch_activations .* \(5, 2\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_leave_no_file(
    tmp_path: Path,
    make_row: MakeRow,
    make_part: MakePart,
    banded: ModelManifest,
    change: dict[str, object],
    reason: str,
) -> None:
    row = dataclasses.replace(make_row("a", manifest=banded), **change)
    with pytest.raises(OutputError, match=reason):
        make_part(tmp_path, [row], manifest=banded)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["model.json"]


FILL = """
import resource, sys
import numpy as np
from pathlib import Path
from embedlib.errors import OutputError
from embedlib.records import DecodedTrack, Status, Track, TrackRow
from embedlib.tables.manifest import read_manifest
from embedlib.tables.parts import write_part
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0).standard_normal((100_000, 4), dtype=np.float32)
row = TrackRow(
    Track("a", "/a", 1, "1"), DecodedTrack(0, Status.OK),
    patch_t0_ms=np.zeros(100_000, np.int32), patch_embeddings=noise,
)
try:
    write_part(folder, manifest=read_manifest(folder), shard_id="0a", attempt_id="9",
               rows=[row], provenance={})
except OutputError as exc:
    print(exc)
print([path.name for path in folder.iterdir()])
"""


def test_a_file_over_the_size_limit_is_one_line_and_leaves_nothing(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(tmp_path, [make_row("a")])
    done = subprocess.run(
        [sys.executable, "-c", FILL, tmp_path / "tiny", "65536"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"cannot write to {tmp_path / 'tiny'}: a file would pass the size limit" in done.stdout
    assert "part-0a-9" not in done.stdout


def on_a_small_disk(disk: Path, tiny: Path, script: str) -> str:
    """Run a script on a copy of a model's folder on a disk of 128 KiB, and give what it prints."""
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=128k none "$1" && cp -r "$2" "$1"/tiny'
    shell = f'{mount} && exec "$3" -c "$4" "$1"/tiny 0'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell, "sh", disk, tiny, sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    return done.stdout


def test_a_full_disk_is_one_line_that_names_the_folder_and_leaves_nothing(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(tmp_path, [make_row("a")])
    said = on_a_small_disk(tmp_path / "full", tmp_path / "tiny", FILL)
    assert f"cannot write to {tmp_path / 'full' / 'tiny'}: its disk is full" in said
    assert "part-0a-9" not in said


COMMIT = """
import sys
from pathlib import Path
from embedlib.errors import OutputError
from embedlib.records import PartResult
from embedlib.tables.commit import commit_parts
folder = Path(sys.argv[1])
(path,) = folder.glob("*.parquet")
part = PartResult("tiny", "0a", path.name, 1, path.stat().st_size, 5, 10.0, ())
try:
    with open(folder.parent / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(512))
except OSError:
    pass
try:
    commit_parts(folder.parent, "tiny", [part])
except OutputError as exc:
    print(exc)
(folder.parent / "filler").unlink()
print(commit_parts(folder.parent, "tiny", [part]))
"""


def test_a_commit_to_a_full_disk_can_be_repeated_when_there_is_space(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    make_part(tmp_path, [make_row("a")])
    refused, repeated = on_a_small_disk(tmp_path / "full", tmp_path / "tiny", COMMIT).splitlines()
    assert refused.startswith(f"cannot write to {tmp_path / 'full' / 'tiny'}: its disk is full")
    assert repeated == "Commit(committed=('0a',), lost=())"


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota is used up")]
)
def test_a_disk_that_fills_up_while_syncing_is_told_too(
    tmp_path: Path,
    make_row: MakeRow,
    make_part: MakePart,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    reason: str,
) -> None:
    make_part(tmp_path, [make_row("a")], attempt_id="1")

    def refuse(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match=reason):
        make_part(tmp_path, [make_row("a")], attempt_id="2")


def test_an_error_of_the_infrastructure_passes_through_for_the_scheduler(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Stale"):
        make_part(tmp_path, [make_row("a")])
