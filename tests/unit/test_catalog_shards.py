from __future__ import annotations

from dataclasses import replace

import pytest

from embedlib.catalog.shards import assign_shards, estimate_audio_s, group_shards
from embedlib.errors import ConfigError
from embedlib.records import Track


def song(track_id: str, *, audio_s: float = 200.0) -> Track:
    return Track(track_id, f"/music/{track_id}.wav", int(176_400 * audio_s), "1")


@pytest.mark.parametrize(
    ("uri", "audio_s"),
    [("a.WAV", 10.0), ("a.flac", 17.64), ("a.mp3", 73.5), ("a.opus", 147.0), ("a.sph", 73.5)],
)
def test_the_estimate_follows_the_format(uri: str, audio_s: float) -> None:
    assert estimate_audio_s(Track("a", uri, 1_764_000, "")) == pytest.approx(audio_s)


@pytest.mark.parametrize(
    ("start_s", "end_s", "audio_s"),
    [(2.0, 5.0, 3.0), (None, 5.0, 5.0), (4.0, None, 6.0), (40.0, None, 0.0), (40.0, 50.0, 10.0)],
)
def test_the_estimate_follows_the_stretch(
    start_s: float | None, end_s: float | None, audio_s: float
) -> None:
    track = replace(song("a", audio_s=10.0), start_s=start_s, end_s=end_s)

    assert estimate_audio_s(track) == audio_s


def test_a_file_of_unknown_size_counts_as_a_song() -> None:
    assert estimate_audio_s(Track("a", "s3://b/a.wav", -1, "")) == 240.0


def test_a_large_catalogue_has_two_thousand_shards_or_fewer_by_four_hours() -> None:
    tracks = [song(f"{n:06}", audio_s=3_600.0) for n in range(4_000)]

    shards = group_shards(assign_shards(tracks))

    assert {shard.audio_s for shard in shards} == {7_200.0}


@pytest.mark.parametrize(("n_tracks", "audio_s", "n_shards"), [(195, 1.5, 5), (63, 11.0, 13)])
def test_short_files_share_shards_of_a_minute(n_tracks: int, audio_s: float, n_shards: int) -> None:
    tracks = [song(f"{n:03}", audio_s=audio_s) for n in range(n_tracks)]

    assert len(group_shards(assign_shards(tracks))) == n_shards


def test_shard_hours_cuts_short_files_apart() -> None:
    tracks = [song(f"{n:03}", audio_s=1.0) for n in range(20)]

    assert len(group_shards(assign_shards(tracks, shard_hours=1e-9))) == 20


def test_a_long_file_is_a_shard_alone() -> None:
    tracks = [song(f"{n:03}") for n in range(320)]
    tracks[100] = song("100", audio_s=36_000.0)

    shards = group_shards(assign_shards(tracks))

    assert ["100"] in [[track.track_id for track in shard.tracks] for shard in shards]


def test_shard_hours_sets_the_size() -> None:
    tracks = [song(f"{n:04}", audio_s=360.0) for n in range(3_200)]

    shards = group_shards(assign_shards(tracks, shard_hours=2.0))

    assert {shard.audio_s for shard in shards} == {7_200.0}


@pytest.mark.parametrize("shard_hours", [0.0, -1.0, float("nan"), float("inf")])
def test_shard_hours_must_be_positive(shard_hours: float) -> None:
    with pytest.raises(ConfigError, match=f"shard_hours={shard_hours} is no amount of audio"):
        assign_shards([song("a")], shard_hours=shard_hours)


def test_no_tracks_make_no_shards() -> None:
    assert group_shards(assign_shards([])) == []


def test_a_moved_catalogue_keeps_its_shard_ids() -> None:
    tracks = [song(f"{n}") for n in range(50)]
    moved = [replace(track, uri=f"s3://bucket/{track.track_id}.wav") for track in tracks]

    assert [t.shard_id for t in assign_shards(tracks)] == [t.shard_id for t in assign_shards(moved)]


@pytest.mark.parametrize(
    "change", [{"version": "2"}, {"track_id": "b"}, {"start_s": 1.0}, {"end_s": 1.0}]
)
def test_other_content_gets_another_shard_id(change: dict[str, str]) -> None:
    [before] = assign_shards([song("a")])
    [after] = assign_shards([replace(song("a"), **change)])  # type: ignore[arg-type]

    assert before.shard_id != after.shard_id


def test_the_id_of_a_shard_stays_the_same_between_releases() -> None:
    [track] = assign_shards([song("a")])

    assert track.shard_id == "8171b911509b07f4"
