"""Two outputs hold the same rows, or `diff` says which model, track and column differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.records import PartResult, Status, TrackRow
from embedlib.tables import diff as diff_module
from embedlib.tables.commit import commit_parts
from embedlib.tables.diff import diff
from embedlib.tables.manifest import ModelManifest

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]
MakeOutput = Callable[..., Path]


@pytest.fixture
def rows(make_row: MakeRow) -> list[TrackRow]:
    states = [Status.OK, Status.MISSING, Status.OK, Status.DAMAGED, Status.OK]
    return [make_row(name, status=state) for name, state in zip("abcde", states, strict=True)]


@pytest.fixture
def first(tmp_path: Path, make_output: MakeOutput, rows: list[TrackRow]) -> Path:
    return make_output(tmp_path / "first", rows)


def scaled(row: TrackRow, factor: float) -> TrackRow:
    return dataclasses.replace(row, patch_embeddings=row.patch_embeddings * np.float32(factor))


def test_other_attempts_and_error_texts_are_the_same_rows(
    tmp_path: Path, first: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    failed = dataclasses.replace(rows[1], decoded=dataclasses.replace(rows[1].decoded, error="x"))
    second = make_output(tmp_path / "second", [rows[0], failed, *rows[2:]], attempt_id="other")
    found = diff(first, second)
    assert found.differences == ()
    assert (found.n_rows, found.exact) == (5, ("tiny",))


def test_the_order_of_commits_does_not_matter(
    tmp_path: Path, first: Path, make_part: MakePart, rows: list[TrackRow]
) -> None:
    second = tmp_path / "second"
    for number in (2, 0, 1):
        pair = rows[2 * number : 2 * number + 2][::-1]
        commit_parts(second, "tiny", [make_part(second, pair, shard_id=f"{number:02x}")])
    assert diff(first, second).differences == ()


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"status": Status.TRUNCATED}, "status"),
        ({"n_samples": 160_001}, "n_samples"),
        ({"duration_s": 10.5}, "duration_s"),
        ({"content_hash": "sha256:00"}, "content_hash"),
        ({"n_bad_packets": 1}, "n_bad_packets"),
    ],
)
def test_a_fact_that_differs_is_named(
    tmp_path: Path,
    first: Path,
    make_output: MakeOutput,
    rows: list[TrackRow],
    changes: dict[str, object],
    column: str,
) -> None:
    changed = dataclasses.replace(rows[2], decoded=dataclasses.replace(rows[2].decoded, **changes))
    second = make_output(tmp_path / "second", [*rows[:2], changed, *rows[3:]])
    (found,) = diff(first, second).differences
    assert (found.model, found.track_id, found.column) == ("tiny", "c", column)


def test_another_uri_is_a_difference(
    tmp_path: Path, first: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    moved = dataclasses.replace(rows[0], track=dataclasses.replace(rows[0].track, uri="/new/a"))
    (found,) = diff(first, make_output(tmp_path / "second", [moved, *rows[1:]])).differences
    assert str(found) == "tiny a uri: /music/a against /new/a"


def test_one_engine_on_one_machine_must_agree_bit_by_bit(
    tmp_path: Path, first: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    second = make_output(tmp_path / "second", [scaled(rows[0], 1 + 1e-6), *rows[1:]])
    found = diff(first, second)
    assert {each.column for each in found.differences} == {"embedding", "patch_embeddings"}
    assert {each.track_id for each in found.differences} == {"a"}


@pytest.mark.parametrize(
    "provenance",
    [{"engine": "other", "machine": "here"}, {"engine": "fake", "machine": "there"}, {}],
)
@pytest.mark.parametrize(("factor", "n_differences"), [(1 + 5e-6, 0), (1 + 2e-5, 2)])
def test_other_engines_and_machines_may_differ_a_little(
    tmp_path: Path,
    first: Path,
    make_output: MakeOutput,
    rows: list[TrackRow],
    provenance: dict[str, str],
    factor: float,
    n_differences: int,
) -> None:
    changed = [scaled(rows[0], factor), *rows[1:]]
    found = diff(first, make_output(tmp_path / "second", changed, provenance=provenance))
    assert len(found.differences) == n_differences
    assert found.exact == ()


def test_a_value_that_is_no_number_is_a_difference(
    tmp_path: Path, first: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    second = make_output(tmp_path / "second", [scaled(rows[0], np.nan), *rows[1:]], provenance={})
    assert [each.column for each in diff(first, second).differences] == [
        "embedding",
        "patch_embeddings",
    ]
    assert diff(second, second).differences == ()


def test_other_starts_are_a_difference(
    tmp_path: Path, first: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    late = dataclasses.replace(rows[0], patch_t0_ms=rows[0].patch_t0_ms + np.int32(1))
    (found,) = diff(first, make_output(tmp_path / "second", [late, *rows[1:]])).differences
    assert (found.track_id, found.column) == ("a", "patch_t0_ms")


def test_missing_and_doubled_tracks_are_named(
    tmp_path: Path, first: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    second = make_output(tmp_path / "second", [*rows[:4], rows[0]])
    assert [str(each) for each in diff(first, second).differences] == [
        "tiny a track_id: 1 rows against 2 rows",
        "tiny e track_id: 1 rows against 0 rows",
    ]


def test_a_model_that_only_one_has_is_named(
    tmp_path: Path,
    first: Path,
    make_output: MakeOutput,
    make_part: MakePart,
    rows: list[TrackRow],
    manifest: ModelManifest,
) -> None:
    second = make_output(tmp_path / "second", rows)
    make_part(second, rows, manifest=dataclasses.replace(manifest, model="vgg"))
    (found,) = diff(first, second).differences
    assert str(found) == "vgg model.json: absent against present"


def test_a_fingerprint_that_differs_is_named(
    tmp_path: Path,
    first: Path,
    make_output: MakeOutput,
    rows: list[TrackRow],
    manifest: ModelManifest,
) -> None:
    other = dataclasses.replace(manifest, decoder="essentia")
    (found,) = diff(first, make_output(tmp_path / "second", rows, manifest=other)).differences
    assert str(found) == "tiny model.json decoder: 'pyav' against 'essentia'"


@pytest.fixture
def banded_rows(make_row: MakeRow, banded: ModelManifest) -> list[TrackRow]:
    states = [Status.OK, Status.MISSING, Status.OK]
    return [
        make_row(name, status=state, manifest=banded)
        for name, state in zip("abc", states, strict=True)
    ]


def with_moods(row: TrackRow, factor: float) -> TrackRow:
    activations, moods = row.columns
    return dataclasses.replace(row, columns=(activations, moods * np.float32(factor)))


def test_further_columns_of_one_engine_must_agree_bit_by_bit(
    tmp_path: Path, make_output: MakeOutput, banded_rows: list[TrackRow], banded: ModelManifest
) -> None:
    first = make_output(tmp_path / "first", banded_rows, manifest=banded)
    changed = [*banded_rows[:2], with_moods(banded_rows[2], 1 + 1e-6)]
    second = make_output(tmp_path / "second", changed, manifest=banded)
    assert diff(first, first).differences == ()
    assert [(each.track_id, each.column) for each in diff(first, second).differences] == [
        ("c", "moods-1.0"),
        ("c", "patch_moods-1.0"),
    ]


@pytest.mark.parametrize(("factor", "n_differences"), [(1 + 5e-6, 0), (1 + 2e-5, 2)])
def test_further_columns_of_other_engines_may_differ_a_little(
    tmp_path: Path,
    make_output: MakeOutput,
    banded_rows: list[TrackRow],
    banded: ModelManifest,
    factor: float,
    n_differences: int,
) -> None:
    first = make_output(tmp_path / "first", banded_rows, manifest=banded)
    changed = [with_moods(banded_rows[0], factor), *banded_rows[1:]]
    second = make_output(tmp_path / "second", changed, manifest=banded, provenance={})
    assert len(diff(first, second).differences) == n_differences


def test_a_small_value_may_differ_by_more_than_its_vector(
    tmp_path: Path, make_output: MakeOutput, rows: list[TrackRow]
) -> None:
    outs = []
    for machine, value in (("here", 1e-8), ("there", 2e-8)):
        vectors = rows[0].patch_embeddings.copy()
        vectors[:, 0] = value
        changed = dataclasses.replace(rows[0], patch_embeddings=vectors)
        outs.append(make_output(tmp_path / machine, [changed], provenance={"machine": machine}))
    assert diff(*outs).differences == ()


def test_one_of_several_vectors_of_a_patch_that_differs_is_found(
    tmp_path: Path, make_output: MakeOutput, banded_rows: list[TrackRow], banded: ModelManifest
) -> None:
    vectors = banded_rows[0].patch_embeddings * np.float32(100)
    vectors[7] /= np.float32(1000)
    first = dataclasses.replace(banded_rows[0], patch_embeddings=vectors)
    moved = vectors.copy()
    moved[7] *= np.float32(1 + 2e-5)
    second = dataclasses.replace(first, patch_embeddings=moved)
    outs = [
        make_output(tmp_path / name, [row], manifest=banded, provenance={"machine": name})
        for name, row in (("first", first), ("second", second))
    ]
    assert [each.column for each in diff(*outs).differences] == ["patch_embeddings"]


def test_a_column_that_only_one_has_is_named_once(
    tmp_path: Path, make_output: MakeOutput, banded_rows: list[TrackRow], banded: ModelManifest
) -> None:
    first = make_output(tmp_path / "first", banded_rows, manifest=banded)
    fewer = dataclasses.replace(banded, columns=banded.columns[1:])
    rows = [dataclasses.replace(row, columns=row.columns[1:]) for row in banded_rows]
    (found,) = diff(first, make_output(tmp_path / "second", rows, manifest=fewer)).differences
    assert str(found) == (
        "tiny model.json columns.activations: "
        "2 values of model/Sigmoid, readout vector 1 against absent"
    )


def test_windows_of_ids_find_the_same_differences(
    tmp_path: Path,
    first: Path,
    make_output: MakeOutput,
    rows: list[TrackRow],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = make_output(tmp_path / "second", [*rows[:4], scaled(rows[4], 2)])
    whole = diff(first, second)
    monkeypatch.setattr(diff_module, "BATCH_BYTES", 100)
    assert diff(first, second) == whole
    assert {each.track_id for each in whole.differences} == {"e"}
