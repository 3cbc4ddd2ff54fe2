"""The catalogue follows the sources, and what only moved is told from what is new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from embedlib.catalog.duplicates import duplicate_id, is_duplicate
from embedlib.errors import ConfigError, OutputError
from embedlib.records import Track
from embedlib.tables import catalog_log
from embedlib.tables import reconcile as module
from embedlib.tables.catalog import Plan, adopt, read_plan
from embedlib.tables.pending import pending_shards
from embedlib.tables.reconcile import Kind, Reconciliation, commit, reconcile
from embedlib.tables.snapshot import read_snapshot

SOURCES = ["/music"]
SONGS = tuple(Track(f"{n:02}.wav", f"/music/{n:02}.wav", 1_000 + n, f"v{n}") for n in range(40))


class Hashes(dict[str, str]):
    """Says what lies where, and remembers who asked."""

    def __init__(self, contents: Mapping[str, str] | None = None) -> None:
        super().__init__(contents or {})
        self.asked: list[str] = []

    def __call__(self, track: Track) -> str:
        self.asked.append(track.uri)
        return self.get(track.uri, f"hash of {track.uri}")


def look(out: Path, listed: Iterable[Track], hashes: Hashes | None = None) -> Reconciliation:
    asked = Hashes() if hashes is None else hashes
    return reconcile(out, listed, sources=SOURCES, content_hash=asked)


def take(out: Path, listed: Iterable[Track] = SONGS) -> Plan:
    return commit(out, look(out, listed))


def extract(out: Path, *, model: str = "m", statuses: Iterable[str] = ("ok",)) -> None:
    """Give each planned track a row that says what it holds."""
    (out / model).mkdir(exist_ok=True)
    (out / model / "model.json").touch()
    rows = [
        {
            "track_id": track.track_id,
            "version": track.version,
            "shard_id": track.shard_id,
            "status": status,
            "content_hash": f"hash of {track.uri}",
        }
        for track, status in zip(read_plan(out), cycle(statuses), strict=False)
    ]
    write_deltalake(out / model, pa.Table.from_pylist(rows), mode="overwrite")


def renamed(track: Track, name: str) -> Track:
    return replace(track, track_id=name, uri=f"/music/{name}")


def moves(found: Reconciliation) -> list[tuple[str, str]]:
    return [(move.old_track_id, move.track.track_id) for move in found.moves()]


def numbers(found: Reconciliation) -> tuple[int, int, int, int, int]:
    return found.n_new, found.n_changed, found.n_moved, found.n_deleted, found.n_unchanged


def by_id(tracks: Iterable[Track]) -> dict[str, Track]:
    return {track.track_id: track for track in tracks}


def ever_named(folder: Path) -> set[Path]:
    """List the files that any version of a table has."""
    versions = range(DeltaTable(folder).version() + 1)
    return {file.path for at in versions for file in read_snapshot(folder, at=at).files}


# What changes


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    found = look(tmp_path / "out", SONGS)
    assert numbers(found) == (40, 0, 0, 0, 0)
    assert not (tmp_path / "out").exists()


def test_a_first_commit_plans_what_was_listed_and_the_next_one_finds_nothing(
    tmp_path: Path,
) -> None:
    plan = take(tmp_path)
    version = DeltaTable(tmp_path / "catalog").version()
    assert [replace(track, shard_id="") for track in plan.tracks] == list(SONGS)
    assert tuple(plan.tracks) == read_plan(tmp_path)
    assert look(tmp_path, reversed(SONGS)).is_empty
    assert list(take(tmp_path, reversed(SONGS)).tracks) == list(plan.tracks)
    assert DeltaTable(tmp_path / "catalog").version() == version


def test_each_kind_of_change_is_counted_and_named(tmp_path: Path) -> None:
    take(tmp_path)
    edited = replace(SONGS[1], version="edited")
    found = look(tmp_path, [edited, *SONGS[2:], renamed(SONGS[5], "new.wav")])
    assert numbers(found) == (1, 1, 0, 1, 38)
    assert [found.named(kind) for kind in Kind] == [("new.wav",), ("01.wav",), (), ("00.wav",)]


def test_no_more_are_named_than_wanted(tmp_path: Path) -> None:
    assert look(tmp_path, SONGS).named(Kind.NEW, limit=2) == ("00.wav", "01.wav")


@pytest.mark.parametrize(
    "other", [{"version": "2"}, {"size": 7}, {"uri": "/music/x"}, {"start_s": 1.0}, {"end_s": 9.5}]
)
def test_a_track_that_differs_in_one_thing_is_pending_again(
    tmp_path: Path, other: dict[str, object]
) -> None:
    take(tmp_path)
    extract(tmp_path)
    found = look(tmp_path, [replace(SONGS[0], **other), *SONGS[1:]])
    plan = commit(tmp_path, found)
    assert numbers(found) == (0, 1, 0, 0, 39)
    pending = pending_shards(tmp_path, "m", plan.tracks)
    assert [t.track_id for shard in pending.values() for t in shard.tracks] == ["00.wav"]


def test_a_deleted_track_that_comes_back_as_it_was_is_not_pending(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    take(tmp_path, SONGS[1:])
    plan = take(tmp_path)
    assert list(plan.tracks) == list(read_plan(tmp_path))
    assert pending_shards(tmp_path, "m", plan.tracks).sizes.keys() <= {
        by_id(plan.tracks)["00.wav"].shard_id
    }


def test_shards_of_unchanged_tracks_stay(tmp_path: Path) -> None:
    before = by_id(take(tmp_path).tracks)
    after = by_id(take(tmp_path, [replace(SONGS[0], version="2"), *SONGS[2:]]).tracks)
    assert all(after[i] == before[i] for i in after.keys() - {"00.wav"})
    assert after["00.wav"].shard_id not in {track.shard_id for track in before.values()}


# What moved


def test_a_renamed_file_is_moved_with_its_shard_assigned(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    found = look(
        tmp_path,
        [*SONGS[1:], renamed(SONGS[0], "b.wav")],
        Hashes({"/music/b.wav": "hash of /music/00.wav"}),
    )
    [move] = found.moves()
    planned = by_id(commit(tmp_path, found).tracks)
    assert (move.old_track_id, move.old_version) == ("00.wav", "v0")
    assert move.track == planned["b.wav"]
    assert numbers(found) == (0, 0, 1, 0, 39)
    assert found.named(Kind.MOVED) == ("b.wav",)


def test_only_new_places_with_the_size_of_a_vanished_file_are_hashed(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    hashes = Hashes()
    listed = [
        replace(SONGS[1], size=SONGS[0].size, version="edited"),  # at a place that is known
        replace(SONGS[2], version="touched"),
        *SONGS[3:],
        renamed(SONGS[0], "like-00.wav"),
        replace(renamed(SONGS[2], "like-02.wav"), version="new"),  # where nothing has vanished
        replace(renamed(SONGS[3], "like-03.wav"), version="new"),
        replace(renamed(SONGS[0], "other.wav"), size=5),
    ]
    found = look(tmp_path, listed, hashes)
    assert hashes.asked == ["/music/like-00.wav"]
    assert numbers(found) == (4, 2, 0, 1, 37)


def test_without_rows_nothing_is_hashed(tmp_path: Path) -> None:
    take(tmp_path)
    hashes = Hashes()
    look(tmp_path, [*SONGS[1:], renamed(SONGS[0], "b.wav")], hashes)
    assert hashes.asked == []


def test_files_that_swap_their_names_are_moved(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    swapped = [renamed(SONGS[0], "01.wav"), renamed(SONGS[1], "00.wav")]
    contents = {"/music/00.wav": "hash of /music/01.wav", "/music/01.wav": "hash of /music/00.wav"}
    found = look(tmp_path, [*swapped, *SONGS[2:]], Hashes(contents))
    assert moves(found) == [("01.wav", "00.wav"), ("00.wav", "01.wav")]
    assert numbers(found) == (0, 0, 2, 0, 38)


def test_a_chain_of_renames_moves_each_file_once(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    shifted = [renamed(SONGS[n], f"{n + 1:02}.wav") for n in range(3)]  # over 03.wav, which is gone
    contents = {f"/music/{n + 1:02}.wav": f"hash of /music/{n:02}.wav" for n in range(3)}
    found = look(tmp_path, [*shifted, *SONGS[4:]], Hashes(contents))
    assert moves(found) == [("00.wav", "01.wav"), ("01.wav", "02.wav"), ("02.wav", "03.wav")]
    commit(tmp_path, found)
    assert look(tmp_path, [*shifted, *SONGS[4:]]).is_empty


def test_a_known_id_at_a_new_place_is_moved_where_the_content_is_the_same(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    elsewhere = replace(SONGS[0], uri="/music/sub/00.wav")
    contents = Hashes({elsewhere.uri: "hash of /music/00.wav"})
    found = look(tmp_path, [elsewhere, *SONGS[1:]], contents)
    before = by_id(read_plan(tmp_path))["00.wav"]
    [move] = found.moves()
    assert (move.old_track_id, move.track.track_id, move.track.version) == (
        "00.wav",
        "00.wav",
        "v0",
    )
    assert move.track.shard_id != before.shard_id


def test_equal_files_are_paired_in_the_order_of_their_ids_each_once(tmp_path: Path) -> None:
    same = [Track(name, f"/music/{name}", 9, "1") for name in ("c", "a", "b")]
    take(tmp_path, [*SONGS, *same])
    extract(tmp_path)
    hashes = Hashes({f"/music/{name}": "hash of /music/a" for name in ("x", "y", "z", "w")})
    table = DeltaTable(tmp_path / "m").to_pyarrow_table().to_pylist()
    rows = [row | {"content_hash": "hash of /music/a"} for row in table if row["track_id"] in "abc"]
    write_deltalake(tmp_path / "m", pa.Table.from_pylist(rows), mode="overwrite")
    new = [Track(name, f"/music/{name}", 9, "2") for name in ("z", "w", "y", "x")]
    found = look(tmp_path, [*SONGS, *new], hashes)
    assert moves(found) == [("a", "w"), ("b", "x"), ("c", "y")]
    assert found.named(Kind.NEW) == ("z",)


def test_moved_tracks_that_shared_a_shard_share_one_again(tmp_path: Path) -> None:
    tracks = [replace(track, track_id=f"{n:03}") for n, track in enumerate(SONGS * 4)]
    take(tmp_path, [replace(t, uri=f"/music/{t.track_id}") for t in tracks])
    extract(tmp_path)
    before = {track.track_id: track.shard_id for track in read_plan(tmp_path)}
    names = [f"x{7 * n % len(tracks):03}" for n in range(len(tracks))]  # in another order
    new = [renamed(track, name) for track, name in zip(tracks, names, strict=True)]
    contents = {
        new.uri: f"hash of /music/{old.track_id}" for old, new in zip(tracks, new, strict=True)
    }
    pairs = {
        (before[move.old_track_id], move.track.shard_id)
        for move in look(tmp_path, new, Hashes(contents)).moves()
    }
    assert len(pairs) == len(set(before.values())) == len({new for _, new in pairs})


@pytest.mark.parametrize("status", ["missing", "unreadable", "changed", "timeout", "crashed"])
def test_a_row_that_says_nothing_of_the_content_is_not_moved(tmp_path: Path, status: str) -> None:
    take(tmp_path)
    extract(tmp_path)
    extract(tmp_path, model="other", statuses=[status])
    contents = Hashes({"/music/b.wav": "hash of /music/00.wav"})
    found = look(tmp_path, [*SONGS[1:], renamed(SONGS[0], "b.wav")], contents)
    assert numbers(found) == (1, 0, 0, 1, 39)


def test_a_failure_that_follows_from_the_content_moves_with_it(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path, statuses=["undecodable"])
    contents = Hashes({"/music/b.wav": "hash of /music/00.wav"})
    found = look(tmp_path, [*SONGS[1:], renamed(SONGS[0], "b.wav")], contents)
    assert moves(found) == [("00.wav", "b.wav")]


# Clips, duplicates, carried columns, signatures


def clips_of(uri: str) -> list[Track]:
    return [
        Track(f"{Path(uri).name}#t={n},{n + 1}", uri, 500, "1", start_s=float(n), end_s=n + 1.0)
        for n in range(3)
    ]


def test_the_clips_of_a_renamed_file_move_together_and_it_is_hashed_once(tmp_path: Path) -> None:
    take(tmp_path, clips_of("/music/old"))
    extract(tmp_path)
    hashes = Hashes({"/music/new": "hash of /music/old"})
    found = look(tmp_path, reversed(clips_of("/music/new")), hashes)
    assert moves(found) == [(f"old#t={n},{n + 1}", f"new#t={n},{n + 1}") for n in range(3)]
    assert hashes.asked == ["/music/new"]


def test_a_clip_of_another_stretch_is_not_moved(tmp_path: Path) -> None:
    take(tmp_path, clips_of("/music/old"))
    extract(tmp_path)
    other = [replace(clip, start_s=None) for clip in clips_of("/music/new")]
    found = look(tmp_path, other, Hashes({"/music/new": "hash of /music/old"}))
    assert numbers(found) == (3, 0, 0, 3, 0)


def test_the_later_of_two_equal_ids_is_planned_under_a_name_of_its_own(tmp_path: Path) -> None:
    later = [replace(SONGS[0], uri="/music/sub/00.wav"), replace(SONGS[0], uri="/music/z/00.wav")]
    found = look(tmp_path, [*SONGS, *later])
    tracks = by_id(commit(tmp_path, found).tracks)
    assert found.n_duplicates == 2
    assert tracks["00.wav"].uri == SONGS[0].uri
    assert {t.uri for t in read_plan(tmp_path) if is_duplicate(t)} == {t.uri for t in later}
    assert look(tmp_path, [*SONGS, *reversed(later)]).is_empty


def test_a_duplicate_becomes_the_track_when_the_first_is_gone(tmp_path: Path) -> None:
    later = replace(SONGS[0], uri="/music/sub/00.wav")
    take(tmp_path, [*SONGS, later])
    found = look(tmp_path, [later, *SONGS[1:]])
    assert numbers(found) == (0, 1, 0, 1, 39)
    assert found.named(Kind.DELETED) == (duplicate_id(later),)


def test_a_duplicate_is_never_taken_for_a_moved_file(tmp_path: Path) -> None:
    take(tmp_path)
    extract(tmp_path)
    later = replace(SONGS[0], track_id="01.wav", uri="/music/sub/01.wav")
    hashes = Hashes()
    found = look(tmp_path, [*SONGS[1:], later], hashes)
    assert (found.n_moved, found.n_duplicates, hashes.asked) == (0, 1, [])


def test_columns_that_are_carried_along_follow_the_listing_and_keep_the_shards(
    tmp_path: Path,
) -> None:
    before = by_id(take(tmp_path).tracks)
    jazz = [replace(t, carried=(("mood", "sad"), ("genre", "jazz"))) for t in SONGS[:2]]
    listed = [*jazz, *SONGS[2:]]
    found = look(tmp_path, listed)
    assert (found.n_unchanged, found.is_empty) == (40, False)
    commit(tmp_path, found)
    after = by_id(read_plan(tmp_path))
    assert dict(after["01.wav"].carried) == {"genre": "jazz", "mood": "sad"}
    assert {i: t.shard_id for i, t in after.items()} == {i: t.shard_id for i, t in before.items()}
    assert look(tmp_path, listed).is_empty


def test_what_was_carried_along_stays_where_it_is_not_asked_for(tmp_path: Path) -> None:
    take(tmp_path, [replace(track, carried=(("genre", "jazz"),)) for track in SONGS])
    plan = take(tmp_path, SONGS[1:])
    assert {track.carried for track in plan.tracks} == {(("genre", "jazz"),)}
    assert tuple(plan.tracks) == read_plan(tmp_path)


def test_another_signature_of_a_url_changes_nothing_but_the_plan(tmp_path: Path) -> None:
    one, two = (Track("a", f"https://h/a.wav?sig={n}", 1, "v") for n in (1, 2))
    take(tmp_path, [one])
    found = look(tmp_path, [two])
    assert found.is_empty
    assert [track.uri for track in commit(tmp_path, found).tracks] == [two.uri]
    assert [track.uri for track in read_plan(tmp_path)] == ["https://h/a.wav?***"]


# The commit


def test_files_without_a_touched_track_stay_as_they_are(tmp_path: Path) -> None:
    adopt(tmp_path, SONGS[:20], sources=SOURCES)
    adopt(tmp_path, SONGS, sources=SOURCES)
    before = {file.path for file in read_snapshot(tmp_path / "catalog").files}
    take(tmp_path, [replace(SONGS[0], version="2"), *SONGS[1:]])
    after = {file.path for file in read_snapshot(tmp_path / "catalog").files}
    assert len(before & after) == 1
    assert len(after) == 2


def test_earlier_versions_stay_readable(tmp_path: Path) -> None:
    take(tmp_path)
    version = DeltaTable(tmp_path / "catalog").version()
    take(tmp_path, SONGS[:1])
    assert DeltaTable(tmp_path / "catalog", version=version).to_pyarrow_table().num_rows == 40
    assert DeltaTable(tmp_path / "catalog").to_pyarrow_table().num_rows == 1


def test_a_catalogue_of_which_all_is_gone_is_empty(tmp_path: Path) -> None:
    take(tmp_path)
    assert len(take(tmp_path, []).tracks) == 0
    assert read_plan(tmp_path) == ()


@pytest.mark.parametrize("rival", ["index", "extract"])
def test_a_driver_that_was_overtaken_reconciles_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rival: str
) -> None:
    take(tmp_path, SONGS[:10])
    exchange = module.exchange_files

    def overtaken(*args: object, **options: object) -> bool:
        monkeypatch.setattr(module, "exchange_files", exchange)
        if rival == "index":
            take(tmp_path, SONGS[5:30])
        else:
            adopt(tmp_path, SONGS[5:30], sources=SOURCES)
        return exchange(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "exchange_files", overtaken)
    plan = take(tmp_path, SONGS[8:])
    assert tuple(plan.tracks) == read_plan(tmp_path)
    assert [replace(track, shard_id="") for track in plan.tracks] == list(SONGS[8:])
    assert set((tmp_path / "catalog").glob("*.parquet")) == ever_named(tmp_path / "catalog")


def test_drivers_that_commit_at_once_lose_no_track_and_have_none_twice(tmp_path: Path) -> None:
    take(tmp_path, SONGS[:20])
    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(lambda _: take(tmp_path, SONGS[10:]), range(4)))
    assert [replace(t, shard_id="") for t in read_plan(tmp_path)] == list(SONGS[10:])
    assert {tuple(plan.tracks) for plan in plans} == {read_plan(tmp_path)}


def test_an_answer_that_is_lost_is_found_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = catalog_log.try_to_commit
    answers = [answer, lambda *args: not answer(*args)]
    monkeypatch.setattr(catalog_log, "try_to_commit", lambda *args: answers.pop(0)(*args))
    assert tuple(take(tmp_path).tracks) == read_plan(tmp_path)
    assert answers == []


def test_a_commit_that_fails_leaves_the_catalogue_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("the disk is full", fix="free space")

    take(tmp_path, SONGS[:1])
    files = sorted((tmp_path / "catalog").glob("*.parquet"))
    monkeypatch.setattr(catalog_log, "_log", full)
    with pytest.raises(OutputError, match="the disk is full"):
        take(tmp_path)
    assert sorted((tmp_path / "catalog").glob("*.parquet")) == files
    assert len(read_plan(tmp_path)) == 1


def test_other_sources_are_refused_before_anything_is_listed(tmp_path: Path) -> None:
    take(tmp_path)
    with pytest.raises(ConfigError, match="was made from /music, not from /other"):
        reconcile(tmp_path, [], sources=["/other"], content_hash=Hashes())
