"""Queries: exact search is brute force, an index comes close, conditions come first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedlib.errors import ConfigError, FingerprintError, OutputError
from embedlib.records import Float32, PartResult, TrackRow
from embedlib.search.build import build
from embedlib.search.exact import nearest_distances, share_found
from embedlib.search.query import Neighbour, open_search, query
from embedlib.search.rows import search_batches
from embedlib.search.vectors import file_vector, npy_vector
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.reader import open_output

pytest.importorskip("lancedb")

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]

NAMES = [f'it\'s "{number}"' for number in range(200)]
ZERO = "silent"


@pytest.fixture(params=[1_000, 10], ids=["exact", "index"])
def out(
    request: pytest.FixtureRequest, tmp_path: Path, make_row: MakeRow, make_part: MakePart
) -> Path:
    """200 tracks in all directions, and one whose embedding is zero."""
    rows = [*map(make_row, NAMES), make_row(ZERO)]
    rows[-1].patch_embeddings[:] = 0
    commit_parts(tmp_path, "tiny", [make_part(tmp_path, rows)])
    build(tmp_path, "tiny", exact_rows=request.param)
    return tmp_path


def brute_force(out: Path, vector: Float32) -> list[tuple[str, float]]:
    """All tracks with a direction by cosine distance, in double precision."""
    tracks = open_output(out).tracks("tiny")
    matrix = tracks.to_numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):
        cosines = matrix @ vector / np.linalg.norm(matrix, axis=1) / np.linalg.norm(vector)
    pairs = zip(tracks.track_ids, 1 - cosines, strict=True)
    return sorted((pair for pair in pairs if np.isfinite(pair[1])), key=lambda pair: pair[1])


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_are_those_of_brute_force(out: Path, seed: int) -> None:
    vector = np.random.default_rng(seed).standard_normal(4).astype(np.float32)
    found = open_search(out, "tiny").nearest(vector, k=25)
    expected = brute_force(out, vector)[:25]
    assert [each.track_id for each in found] == [name for name, _ in expected]
    np.testing.assert_allclose(
        [each.distance for each in found], [distance for _, distance in expected], atol=1e-5
    )


def test_a_track_is_not_its_own_neighbour(out: Path) -> None:
    found = query(out, "tiny", track=NAMES[7], k=10)
    vector = open_search(out, "tiny").vector_of(NAMES[7])
    expected = [name for name, _ in brute_force(out, vector)][:11]
    assert expected[0] == NAMES[7]
    assert [each.track_id for each in found] == expected[1:]


def test_a_neighbour_says_where_it_lies_and_how_long_it_is(out: Path) -> None:
    (found,) = query(out, "tiny", track=NAMES[7], k=1)
    assert isinstance(found, Neighbour)
    assert (found.uri, found.duration_s) == (f"/music/{found.track_id}", 10.0)


def test_more_neighbours_than_tracks_are_all_that_have_a_direction(out: Path) -> None:
    assert len(query(out, "tiny", track=NAMES[0], k=1_000)) == len(NAMES) - 1


def test_a_condition_is_applied_before_the_search(out: Path) -> None:
    wanted = NAMES[100:103]
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in wanted)
    found = query(out, "tiny", track=NAMES[0], k=3, where=f"track_id IN ({listed})")
    assert sorted(each.track_id for each in found) == sorted(wanted)
    assert query(out, "tiny", track=NAMES[0], where="duration_s > 60") == ()


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("duration > 60", "No field named duration"),
        ("duration_s >", "sql parser error"),
        ("duration_s = 'long'", "could not convert"),
        ("duration_s", "does not return a boolean"),
        ("no_such(duration_s)", "no_such"),
    ],
)
def test_a_wrong_condition_is_one_line(out: Path, where: str, reason: str) -> None:
    with pytest.raises(ConfigError) as told:
        query(out, "tiny", track=NAMES[0], where=where)
    text = str(told.value)
    assert reason in text
    assert "\n" not in text
    assert "cargo" not in text
    assert "duration_s" in told.value.fix


@pytest.mark.parametrize("name", ["nobody", "x' OR 'a' = 'a", '"; --'])
def test_an_unknown_track_is_named_and_never_sql(out: Path, name: str) -> None:
    with pytest.raises(OutputError, match="has no track"):
        query(out, "tiny", track=name)


def test_what_has_no_direction_has_no_neighbours(out: Path) -> None:
    with pytest.raises(ConfigError, match="no direction"):
        query(out, "tiny", track=ZERO)


def test_less_than_one_neighbour_is_refused(out: Path) -> None:
    with pytest.raises(ConfigError, match="k=0"):
        query(out, "tiny", track=NAMES[0], k=0)


def test_a_search_table_that_lags_behind_says_so(
    out: Path, make_row: MakeRow, make_part: MakePart
) -> None:
    assert not open_search(out, "tiny").is_stale
    commit_parts(out, "tiny", [make_part(out, [make_row("new")], shard_id="0b")])
    assert open_search(out, "tiny").is_stale


def test_recall_is_measured_against_all_rows(out: Path) -> None:
    assert open_search(out, "tiny").recall(n_queries=50) > 0.99


def test_recall_is_the_share_of_exact_neighbours() -> None:
    nearest = np.float32([[0.1, 0.2], [0.1, 0.1]])
    assert share_found([np.float32([0.2, 0.1]), np.float32([0.1, 0.3])], nearest) == 0.75


def test_recall_does_not_ask_which_of_equals_was_found() -> None:
    assert share_found([np.float32([0.2, 0.1, 0.2])], np.float32([[0.1, 0.2]])) == 1.0


def test_recall_counts_rows_that_there_are() -> None:
    assert share_found([np.float32([0.1])], np.float32([[0.1, np.inf, np.inf]])) == 1.0


def test_exact_distances_do_not_depend_on_the_pieces(out: Path) -> None:
    tracks = open_output(out).tracks("tiny")
    (whole,) = search_batches(tracks)
    pieces = [whole.slice(start, 7) for start in range(0, len(whole), 7)]
    queries = tracks.to_numpy()[:5]
    one, other = (nearest_distances(each, queries, k=10) for each in ([whole], pieces))
    np.testing.assert_allclose(one, other, atol=1e-6)
    expected = [[distance for _, distance in brute_force(out, each)[:10]] for each in queries]
    np.testing.assert_allclose(one, expected, atol=1e-5)


def test_a_vector_is_read_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(4.0).reshape(1, 4))
    np.testing.assert_array_equal(npy_vector(tmp_path / "v.npy", n_dims=4), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.arange(5.0), r"shape \(5,\)"),
        (np.ones((2, 4)), r"shape \(2, 4\)"),
        (np.array([1, 2, 3, np.nan]), "finite"),
        (np.array(["a"] * 4), "no array of numbers"),
        (np.array([None] * 4), "no array of numbers"),
    ],
)
def test_a_file_that_holds_no_vector_is_refused(
    tmp_path: Path, values: np.ndarray, reason: str
) -> None:
    np.save(tmp_path / "v.npy", values, allow_pickle=True)
    with pytest.raises(ConfigError, match=reason):
        npy_vector(tmp_path / "v.npy", n_dims=4)


def test_a_vector_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        npy_vector(tmp_path / "v.npy", n_dims=4)


def test_a_file_is_not_embedded_by_another_model_than_the_table(manifest: ModelManifest) -> None:
    stand_in = "untrained-msd-musicnn-1"
    other = dataclasses.replace(manifest, spec=stand_in, untrained=True, graph_sha256="", seed=0)
    with pytest.raises(FingerprintError, match="tiny was made with"):
        file_vector("song.mp3", other)
