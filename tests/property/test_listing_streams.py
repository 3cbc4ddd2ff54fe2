"""Listings held against a catalogue in a database, and the same in dictionaries."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from embedlib.catalog.shards import assign_shards, group_shards
from embedlib.records import Track
from embedlib.tables.listed import Changes, Listing


@st.composite
def listings(draw: st.DrawFn) -> list[Track]:
    """Tracks of any id, in any order; those of one id may differ from listing to listing."""
    ids = draw(st.lists(st.text(min_size=1, max_size=2), unique=True, max_size=60))
    places, versions = st.sampled_from(["/a", "/b", "s3://b/a"]), st.sampled_from("12")
    stretches = st.sampled_from([None, 0.0, 1.5])
    carried = st.sampled_from([(), (("genre", "jazz"), ("mood", ""))])
    return [
        Track(
            track_id,
            f"{draw(places)}/{number}.wav",
            draw(st.integers(-1, 10**9)),
            draw(versions),
            start_s=draw(stretches),
            carried=draw(carried),
        )
        for number, track_id in enumerate(ids)
    ]


def in_memory(listed: list[Track], known: dict[str, Track]) -> tuple[dict[str, Track], Changes]:
    """What is planned, by the definition."""
    now = {track.track_id: track for track in listed}
    new = assign_shards(track for track in listed if track.track_id not in known)
    changed = sorted(i for i in known if i in now and now[i].version != known[i].version)
    vanished = sorted(i for i in known if i not in now)
    changes = Changes(
        n_new=len(new),
        n_known=len(listed) - len(new),
        n_changed=len(changed),
        n_vanished=len(vanished),
        changed=tuple(changed[:10]),
        vanished=tuple(vanished[:10]),
    )
    return known | {track.track_id: track for track in new}, changes


@given(st.lists(listings(), min_size=1, max_size=3))
def test_a_stream_plans_what_dictionaries_would(generations: list[list[Track]]) -> None:
    known: dict[str, Track] = {}
    for listed in generations:
        listing = Listing(listed)
        changes = listing.hold_against(known.values())
        new = [track for _, shard in listing.new_shards() for track in shard]
        known, expected = in_memory(listed, known)
        assert changes == expected
        assert list(listing.planned) == sorted(known.values(), key=lambda t: t.track_id)
        assert len(new) == changes.n_new
        shards = {shard.shard_id: shard for shard in group_shards(known.values())}
        assert {name: listing.planned.shard(name) for name in listing.planned.sizes} == shards


@given(listings(), listings())
def test_nothing_is_left_of_the_catalogue_that_was_compared_before(
    listed: list[Track], other: list[Track]
) -> None:
    listing = Listing(listed)
    listing.hold_against(replace(track, shard_id="0") for track in other)
    list(listing.new_shards())
    assert listing.hold_against(()) == Changes(n_new=len(listed), n_known=0)
    assert len(listing.planned) == 0
