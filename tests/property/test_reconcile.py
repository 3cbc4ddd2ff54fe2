"""Histories of sources: after each commit the catalogue is what was listed, whatever was before."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from embedlib.catalog.duplicates import duplicate_id
from embedlib.records import Track
from embedlib.tables.catalog import read_plan
from embedlib.tables.reconcile import Kind, Reconciliation, commit, reconcile

Listing = list[Track]
World = dict[str, tuple[str, int]]
"""Content and time of change of each file, by its name."""
Key = tuple[str, str, str]
"""Id, version and shard of a row."""

NAMES = st.sampled_from("abcdef")
STRETCHES = st.sampled_from([(None, None), (0.0, 1.5), (1.5, None)])
CARRIED = st.sampled_from([(), (("genre", "jazz"),), (("genre", ""), ("mood", "sad"))])


@st.composite
def tracks(draw: st.DrawFn) -> Track:
    """One of few ids, places, sizes and versions, so that all kinds of changes meet."""
    start_s, end_s = draw(STRETCHES)
    return Track(
        draw(NAMES),
        f"/m/{draw(NAMES)}",
        draw(st.sampled_from([-1, 0, 7, 8])),
        draw(st.sampled_from(["", "1", "2"])),
        start_s=start_s,
        end_s=end_s,
        carried=draw(CARRIED),
    )


HISTORIES = st.lists(st.lists(tracks(), max_size=8), min_size=2, max_size=4)


def no_hash(_: Track) -> str:
    return ""


def look(out: Path, listed: Listing, hashed: Callable[[Track], str] = no_hash) -> Reconciliation:
    return reconcile(out, listed, sources=["/m"], content_hash=hashed)


def what_is_embedded(track: Track) -> Track:
    return replace(track, shard_id="", carried=())


def with_distinct_ids(listed: Listing) -> dict[str, Track]:
    """What is to be planned, by the definition."""
    expected: dict[str, Track] = {}
    for track in listed:
        name = duplicate_id(track) if track.track_id in expected else track.track_id
        expected[name] = replace(track, track_id=name)
    return expected


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_after_each_commit_the_catalogue_is_what_was_listed(history: list[Listing]) -> None:
    before: dict[str, Track] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for listed in history:
            expected = {i: what_is_embedded(t) for i, t in with_distinct_ids(listed).items()}
            found = look(out, listed)
            plan = commit(out, found)
            after = {track.track_id: track for track in read_plan(out)}
            assert {i: what_is_embedded(track) for i, track in after.items()} == expected
            assert list(plan.tracks) == list(after.values())
            check_shards(before, after)
            check_numbers(found, before, after)
            assert look(out, listed).is_empty
            before = after


def check_shards(before: dict[str, Track], after: dict[str, Track]) -> None:
    """Unchanged tracks keep their shard, and all others get another."""
    assert all(track.shard_id for track in after.values())
    for track_id in before.keys() & after.keys():
        old, new = before[track_id], after[track_id]
        is_same = what_is_embedded(old) == what_is_embedded(new)
        assert (old.shard_id == new.shard_id) == is_same


def check_numbers(found: Reconciliation, before: dict[str, Track], after: dict[str, Track]) -> None:
    both = before.keys() & after.keys()
    changed = {i for i in both if what_is_embedded(before[i]) != what_is_embedded(after[i])}
    expected = {
        Kind.NEW: after.keys() - both,
        Kind.CHANGED: changed,
        Kind.MOVED: set(),
        Kind.DELETED: before.keys() - both,
    }
    assert {kind: set(found.named(kind, limit=100)) for kind in Kind} == expected
    numbers = (found.n_new, found.n_changed, found.n_moved, found.n_deleted)
    assert numbers == tuple(map(len, expected.values()))
    assert found.n_unchanged == len(both) - len(changed)


@settings(max_examples=15, deadline=None)
@given(st.lists(tracks(), max_size=8, unique_by=lambda track: track.track_id), st.data())
def test_shards_do_not_depend_on_the_order_of_the_listing(
    listed: Listing, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(listed))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, second = (
            commit(Path(out), look(Path(out), each))
            for out, each in ((one, listed), (two, shuffled))
        )
        assert [t.shard_id for t in first.tracks] == [t.shard_id for t in second.tracks]


# A world of files that are written, renamed, swapped and deleted


@st.composite
def deeds(draw: st.DrawFn) -> Callable[[World, int], None]:
    """One thing that happens to a world at a time; what cannot happen leaves it as it is."""
    kind = draw(st.sampled_from(["write", "touch", "delete", "rename", "swap", "copy"]))
    name, other, content = draw(NAMES), draw(NAMES), draw(st.sampled_from(["x", "y", "long"]))

    def do(world: World, now: int) -> None:
        if kind == "write":
            world[name] = (content, now)
        elif name in world and kind == "touch":
            world[name] = (world[name][0], now)
        elif name in world and kind == "delete":
            del world[name]
        elif name in world and kind == "rename":
            world[other] = world.pop(name)
        elif name in world and kind == "copy":
            world[other] = (world[name][0], now)
        elif name in world and other in world and kind == "swap":
            world[name], world[other] = world[other], world[name]

    return do


NIGHTS = st.lists(st.lists(deeds(), max_size=6), min_size=1, max_size=4)


def digest(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def write_model(out: Path, rows: dict[Key, str]) -> None:
    """Write what the rows of a model say of contents."""
    (out / "m").mkdir(exist_ok=True)
    (out / "m" / "model.json").touch()
    names = ("track_id", "version", "shard_id", "status", "content_hash")
    records = [dict(zip(names, (*key, "ok", found), strict=True)) for key, found in rows.items()]
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    write_deltalake(out / "m", pa.Table.from_pylist(records, schema=schema), mode="overwrite")


def one_night(out: Path, world: World, rows: dict[Key, str]) -> dict[Key, str]:
    """Bring catalogue and rows up to a world: move, commit, extract what is pending, prune."""
    listed = [Track(n, f"/m/{n}", len(c), str(time)) for n, (c, time) in world.items()]
    found = look(out, listed, lambda track: digest(world[track.track_id][0]))
    left = {(i, version): content for (i, version, _), content in rows.items()}
    for move in found.moves():
        key = (move.track.track_id, move.track.version, move.track.shard_id)
        rows = rows | {key: left.pop((move.old_track_id, move.old_version))}  # each moves once
    planned = list(commit(out, found).tracks)
    after = {}
    for track in planned:
        key = (track.track_id, track.version, track.shard_id)
        after[key] = rows.get(key, digest(world[track.track_id][0]))
    write_model(out, after)
    return after


@settings(max_examples=25, deadline=None)
@given(NIGHTS)
def test_whatever_is_renamed_each_row_is_of_the_content_that_lies_there(
    nights: list[list[Callable[[World, int], None]]],
) -> None:
    world: World = {"a": ("x", 0), "b": ("y", 1), "c": ("x", 2)}
    with tempfile.TemporaryDirectory() as folder:
        rows = one_night(Path(folder), world, {})
        clock = count(3)  # nothing tells files of one size and time that swap their names
        for night in nights:
            for do in night:
                do(world, next(clock))
            rows = one_night(Path(folder), world, rows)
            contents = {track_id: content for (track_id, _, _), content in rows.items()}
            assert contents == {name: digest(content) for name, (content, _) in world.items()}
