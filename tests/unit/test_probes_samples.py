"""Embeddings come out of the tables in the order of the cohort, and their id says what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import OutputError
from embedlib.probes.samples import read_sample, read_samples
from embedlib.records import Status, TrackRow
from embedlib.tables.manifest import Column, ModelManifest, embeddings_fingerprint
from embedlib.tasks.cohort import Cohort

MakeRow = Callable[..., TrackRow]
MakeOutput = Callable[..., Path]


def cohort_of(*track_ids: str) -> Cohort:
    y = np.arange(len(track_ids), dtype=np.int64) % 2
    return Cohort("toy", ("a", "b"), tuple(sorted(track_ids)), y)


@pytest.fixture
def rows(make_row: MakeRow) -> dict[str, TrackRow]:
    statuses = {"b": Status.UNDECODABLE, "d": Status.DAMAGED}
    return {name: make_row(name, status=statuses.get(name, Status.OK)) for name in "cabfde"}


@pytest.fixture
def out(tmp_path: Path, make_output: MakeOutput, rows: dict[str, TrackRow]) -> Path:
    return make_output(tmp_path / "out", list(rows.values()))


def test_pooled_vectors_are_the_means_in_the_order_of_the_cohort(
    out: Path, rows: dict[str, TrackRow]
) -> None:
    sample = read_sample(out, "tiny", cohort_of("e", "a", "c"), uses_patches=False)
    means = [rows[name].patch_embeddings.mean(axis=0, dtype=np.float64) for name in "ace"]
    np.testing.assert_array_equal(sample.x, np.array(means, dtype=np.float32))
    assert sample.starts.tolist() == [0, 1, 2, 3]


def test_patches_of_a_track_follow_each_other_in_time(out: Path, rows: dict[str, TrackRow]) -> None:
    sample = read_sample(out, "tiny", cohort_of("f", "a"), uses_patches=True)
    for number, name in enumerate("af"):
        own = sample.x[sample.starts[number] : sample.starts[number + 1]]
        np.testing.assert_array_equal(own, rows[name].patch_embeddings)


@pytest.mark.parametrize("uses_patches", [False, True])
def test_tracks_that_failed_or_are_not_there_have_no_rows(out: Path, uses_patches: bool) -> None:
    sample = read_sample(out, "tiny", cohort_of("a", "b", "d", "x"), uses_patches=uses_patches)
    assert sample.has_vectors.tolist() == [True, False, True, False]
    assert len(sample.x) == sample.starts[-1]


def test_bands_of_a_patch_are_averaged(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, banded: ModelManifest
) -> None:
    row = make_row("a", manifest=banded)
    out = make_output(tmp_path / "out", [row], manifest=banded)
    sample = read_sample(out, "tiny", cohort_of("a"), uses_patches=True)
    bands = row.patch_embeddings.reshape(-1, 3, 4).mean(axis=1, dtype=np.float64)
    np.testing.assert_array_equal(sample.x, bands.astype(np.float32))


@pytest.mark.parametrize("uses_patches", [False, True])
def test_several_cohorts_at_once_give_what_each_gives_alone(out: Path, uses_patches: bool) -> None:
    cohorts = [cohort_of("a", "c", "b"), cohort_of("c", "f"), cohort_of("x")]
    together = read_samples(out, "tiny", cohorts, uses_patches=uses_patches)
    for cohort, found in zip(cohorts, together, strict=True):
        alone = read_sample(out, "tiny", cohort, uses_patches=uses_patches)
        np.testing.assert_array_equal(found.x, alone.x)
        np.testing.assert_array_equal(found.starts, alone.starts)
        assert found.embeddings_id == alone.embeddings_id


def test_other_tracks_in_the_table_leave_the_id_as_it_is(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput
) -> None:
    small = make_output(tmp_path / "small", [make_row("a"), make_row("c")])
    large = make_output(tmp_path / "large", [make_row(name) for name in "abcd"])
    ids = [
        read_sample(each, "tiny", cohort_of("a", "c"), uses_patches=False).embeddings_id
        for each in (small, large)
    ]
    assert ids[0] == ids[1]


def test_one_other_number_changes_the_id(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput
) -> None:
    row = make_row("a")
    changed = row.patch_embeddings.copy()
    changed[0, 0] += 1
    outs = [
        make_output(tmp_path / name, [dataclasses.replace(row, patch_embeddings=values)])
        for name, values in (("old", row.patch_embeddings), ("new", changed))
    ]
    ids = {
        read_sample(each, "tiny", cohort_of("a"), uses_patches=True).embeddings_id for each in outs
    }
    assert len(ids) == 2


def test_vectors_that_change_their_owner_change_the_id(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput
) -> None:
    out = make_output(tmp_path / "out", [make_row("a")])
    ids = {
        read_sample(out, "tiny", cohort_of("a", other), uses_patches=False).embeddings_id
        for other in ("x", "y")
    }
    assert len(ids) == 1  # whom the table does not hold plays no part
    owner = dataclasses.replace(make_row("a").track, track_id="b")
    moved = make_output(tmp_path / "moved", [dataclasses.replace(make_row("a"), track=owner)])
    ids.add(read_sample(moved, "tiny", cohort_of("b"), uses_patches=False).embeddings_id)
    assert len(ids) == 2


def test_an_older_version_has_its_own_tracks(out: Path) -> None:
    early = read_sample(out, "tiny", cohort_of("a", "e"), uses_patches=False, at=0)
    assert early.table_version == 0
    assert not early.has_vectors.any()


def test_a_table_without_patches_is_refused_where_they_are_wanted(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, manifest: ModelManifest
) -> None:
    bare = dataclasses.replace(manifest, patches=False)
    out = make_output(tmp_path / "out", [make_row("a", manifest=bare)], manifest=bare)
    assert len(read_sample(out, "tiny", cohort_of("a"), uses_patches=False).x) == 1
    with pytest.raises(OutputError, match="without patches"):
        read_sample(out, "tiny", cohort_of("a"), uses_patches=True)


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"patches": False}, True),
        ({"columns": (Column("moods", 2, ("out",), "vector", 1),)}, True),
        ({"licence": "MIT"}, True),
        ({"precision": "bf16"}, False),
        ({"patch_hop_frames": 187}, False),
        ({"graph_sha256": "cd" * 32}, False),
    ],
)
def test_the_fingerprint_is_of_the_embeddings_alone(
    manifest: ModelManifest, changes: dict[str, object], is_same: bool
) -> None:
    other = dataclasses.replace(manifest, **changes)
    assert (embeddings_fingerprint(other) == embeddings_fingerprint(manifest)) is is_same
