"""Tracks that are there twice: found by content and by embedding, whatever the size of blocks."""

from __future__ import annotations

import numpy as np
import pytest

from embedlib.errors import ConfigError
from embedlib.records import Float32
from embedlib.tasks import duplicates as module
from embedlib.tasks.duplicates import NEAR, Tracks, duplicates, near_pairs


def tracks(
    x: Float32, *, units: list[int] | None = None, hashes: list[str] | None = None
) -> Tracks:
    """Tracks t0, t1, ... each in a group of its own, with a content of its own."""
    n_tracks = len(x)
    return Tracks(
        tuple(f"t{number}" for number in range(n_tracks)),
        np.arange(n_tracks) if units is None else np.array(units),
        tuple(hashes or (f"h{id(x)}-{number}" for number in range(n_tracks))),
        x,
    )


def found(one: Tracks, other: Tracks | None = None, *, near: float = NEAR) -> list[tuple[str, ...]]:
    return [
        (pair.first, pair.second, pair.found_by) for pair in duplicates(one, other, near=near)[0]
    ]


@pytest.fixture
def x(rng: np.random.Generator) -> Float32:
    return rng.standard_normal((6, 8), dtype=np.float32)


def test_different_tracks_are_no_duplicates(x: Float32) -> None:
    assert duplicates(tracks(x)) == ((), 0)


def test_equal_content_is_found_once_for_each_further_track(x: Float32) -> None:
    song = tracks(x, hashes=["a", "b", "a", "c", "a", "d"])
    assert found(song) == [("t0", "t2", "content"), ("t0", "t4", "content")]


def test_an_unknown_content_equals_nothing(x: Float32) -> None:
    assert found(tracks(x, hashes=[""] * 6)) == []


def test_another_gain_and_a_little_noise_do_not_hide_a_recording(
    x: Float32, rng: np.random.Generator
) -> None:
    x[4] = 0.1 * x[1] + 1e-4 * rng.standard_normal(8)
    (pair,) = duplicates(tracks(x))[0]
    assert (pair.first, pair.second, pair.found_by) == ("t1", "t4", "embedding")
    assert NEAR <= pair.cosine <= 1


def test_a_pair_of_equal_content_is_not_reported_by_its_embeddings_too(x: Float32) -> None:
    x[3] = x[2]
    assert found(tracks(x, hashes=["a", "b", "c", "c", "d", "e"])) == [("t2", "t3", "content")]


def test_tracks_of_one_group_may_be_alike(x: Float32) -> None:
    x[3], x[5] = x[2], x[2]
    song = tracks(x, units=[0, 1, 2, 2, 3, 4], hashes=["a", "b", "c", "c", "d", "e"])
    assert found(song) == [("t2", "t5", "embedding"), ("t3", "t5", "embedding")]


def test_duplicates_with_the_external_set_come_first_and_whatever_the_groups(x: Float32) -> None:
    x[3] = x[2]
    other = tracks(x[[2, 0]].copy(), units=[2, 9])
    pairs, n_pairs = duplicates(tracks(x), other)
    assert [(pair.first, pair.second, pair.is_external) for pair in pairs] == [
        ("t0", "t1", True),
        ("t2", "t0", True),
        ("t3", "t0", True),
        ("t2", "t3", False),
    ]
    assert n_pairs == 4


def test_tracks_without_sound_embedding_are_near_to_nothing() -> None:
    x = np.ones((4, 3), np.float32)
    x[0], x[1], x[2] = 0, np.inf, np.nan
    assert found(tracks(x)) == []


@pytest.mark.parametrize("block_bytes", [1, 100, 2**20])
def test_near_pairs_do_not_depend_on_the_size_of_a_block(
    block_bytes: int, rng: np.random.Generator
) -> None:
    x, y = (rng.standard_normal((n, 3), dtype=np.float32) for n in (17, 11))
    expected = (x @ y.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))
    pairs = list(near_pairs(x, y, near=0.8, block_bytes=block_bytes))
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    assert np.array_equal(np.stack([first, second]), np.nonzero(expected >= 0.8))


def test_more_pairs_than_can_be_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 4)
    same = tracks(np.ones((5, 2), np.float32), hashes=["a", "a", "b", "c", "d"])
    pairs, n_pairs = duplicates(same)
    assert ([pair.found_by for pair in pairs], n_pairs) == (["content", *["embedding"] * 3], 10)


def test_sets_may_be_empty(x: Float32) -> None:
    assert duplicates(tracks(x[:0]), tracks(x)) == ((), 0)
    assert duplicates(tracks(x), tracks(x[:0])) == ((), 0)


@pytest.mark.parametrize("near", [0.0, 1.0, -0.5, float("nan")])
def test_a_cosine_out_of_range_is_refused(near: float, x: Float32) -> None:
    with pytest.raises(ConfigError, match=f"near={near} .*; give 0 < near < 1"):
        duplicates(tracks(x), near=near)


def test_embeddings_of_different_lengths_are_refused(x: Float32) -> None:
    with pytest.raises(ConfigError, match="embeddings of 8 and of 5 values cannot be near"):
        duplicates(tracks(x), tracks(x[:, :5]))
