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
from embedlib.tables.schema import FLOAT_LEAVES, MODEL_SCHEMA

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]


def test_a_part_has_the_columns_of_the_schema(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(tmp_path, [make_row("b"), make_row("a")])
    table = pq.read_table(tmp_path / "tiny" / part.file_name)
    assert table.schema.equals(MODEL_SCHEMA)
    assert table["track_id"].to_pylist() == ["b", "a"]


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


def test_a_part_of_failures_only_is_well_formed(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(tmp_path, [make_row("a", status=Status.EMPTY)])
    read = pq.read_table(tmp_path / "tiny" / part.file_name)
    assert read["embedding"].null_count == 1
    assert part.n_patches == 0


def test_float_leaves_have_neither_dictionary_nor_statistics(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    part = make_part(tmp_path, [make_row("a")])
    group = pq.read_metadata(tmp_path / "tiny" / part.file_name).row_group(0)
    columns = {
        column.path_in_schema: column for column in map(group.column, range(group.num_columns))
    }
    for leaf in FLOAT_LEAVES:
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
    assert footer[b"embedlib.n_dims"] == b"4"
    assert footer[b"embedlib.schema_version"] == b"1"


def test_row_groups_are_bounded_by_bytes(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 2 * 5 * 4 * 4)
    part = make_part(tmp_path, [make_row(track_id) for track_id in "abcde"])
    footer = pq.read_metadata(tmp_path / "tiny" / part.file_name)
    groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    assert groups == [2, 2, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"patch_embeddings": None},
        {"patch_embeddings": np.zeros((5, 3), np.float32)},
        {"patch_embeddings": np.zeros((5, 4), np.float64)},
        {"patch_embeddings": np.zeros((4, 4), np.float32)},
        {"patch_t0_ms": None},
    ],
)
def test_rows_that_do_not_fit_are_refused_and_leave_no_file(
    tmp_path: Path, make_row: MakeRow, make_part: MakePart, change: dict[str, object]
) -> None:
    with pytest.raises(OutputError, match="track a is ok with patches of shape"):
        make_part(tmp_path, [dataclasses.replace(make_row("a"), **change)])
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
