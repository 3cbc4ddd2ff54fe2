from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from embedlib.catalog.shards import assign_shards, estimate_audio_s, group_shards
from embedlib.records import Track


@st.composite
def catalogues(draw: st.DrawFn) -> list[Track]:
    ids = draw(st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=120))
    sizes = st.one_of(st.integers(-1, 10**7), st.integers(10**8, 10**9))
    return [Track(i, f"/{i}.wav", draw(sizes), draw(st.sampled_from("12"))) for i in ids]


@given(catalogues())
def test_each_track_is_in_exactly_one_shard(tracks: list[Track]) -> None:
    shards = group_shards(assign_shards(tracks))

    members = [track.track_id for shard in shards for track in shard.tracks]
    assert sorted(members) == sorted(track.track_id for track in tracks)
    assert len({shard.shard_id for shard in shards}) == len(shards)


@given(catalogues(), st.randoms(use_true_random=False))
def test_shards_do_not_depend_on_the_order_of_the_listing(
    tracks: list[Track], shuffler: random.Random
) -> None:
    shuffled = tracks.copy()
    shuffler.shuffle(shuffled)

    assert group_shards(assign_shards(shuffled)) == group_shards(assign_shards(tracks))


@given(catalogues())
def test_there_are_32_shards_where_there_are_as_many_tracks_and_minutes(
    tracks: list[Track],
) -> None:
    shards = group_shards(assign_shards(tracks))

    minutes = sum(map(estimate_audio_s, tracks)) / 60
    assert len(shards) >= min(32, len(tracks), minutes)


@given(catalogues(), st.sampled_from([0.25, 0.5, 3.0]))
def test_no_shard_is_longer_than_wanted_unless_it_is_one_track(
    tracks: list[Track], shard_hours: float
) -> None:
    shards = group_shards(assign_shards(tracks, shard_hours=shard_hours))

    long = [shard for shard in shards if shard.audio_s > 3_600.0 * shard_hours * (1 + 1e-12)]
    assert all(len(shard.tracks) == 1 for shard in long)


@given(catalogues())
def test_a_shard_says_how_much_audio_it_holds(tracks: list[Track]) -> None:
    for shard in group_shards(assign_shards(tracks)):
        assert abs(shard.audio_s - sum(map(estimate_audio_s, shard.tracks))) < 1e-6
