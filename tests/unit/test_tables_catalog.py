from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from embedlib.errors import ConfigError, OutputError
from embedlib.records import Shard, Track
from embedlib.tables import catalog
from embedlib.tables.catalog import Plan, adopt, read_plan
from embedlib.tables.catalog_files import CATALOG_SCHEMA
from embedlib.tables.listed import Changes
from embedlib.tables.pending import pending_shards

SOURCES = ["/music"]
SONGS = tuple(Track(f"{n:02}.wav", f"/music/{n:02}.wav", 35_280_000, "1") for n in range(40))


def take(out: Path, tracks: Iterable[Track] = SONGS) -> Plan:
    return adopt(out, tracks, sources=SOURCES)


def write_rows(out: Path, model: str, tracks: Iterable[Track]) -> None:
    columns = ("track_id", "version", "shard_id")
    rows = [{name: getattr(track, name) for name in columns} for track in tracks]
    write_deltalake(out / model, pa.Table.from_pylist(rows), mode="append")


def tracks_of(shards: Mapping[str, Shard]) -> list[Track]:
    tracks = (track for shard in shards.values() for track in shard.tracks)
    return sorted(tracks, key=lambda track: track.track_id)


def test_a_first_listing_is_all_new_and_every_track_has_a_shard(tmp_path: Path) -> None:
    plan = take(tmp_path)

    assert plan.changes == Changes(n_new=40, n_known=0)
    assert [replace(track, shard_id="") for track in plan.tracks] == list(SONGS)
    assert all(track.shard_id for track in plan.tracks)


def test_what_was_adopted_is_what_is_read(tmp_path: Path) -> None:
    odd = Track("é 'a\"[1]", "s3://b/%20?.wav", -1, "", 0.5, 7.25, "", (("ge nre, (x)", ""),))

    plan = take(tmp_path, [*SONGS, odd])

    assert read_plan(tmp_path) == tuple(plan.tracks)
    assert replace(list(plan.tracks)[-1], shard_id="") == odd


def test_the_same_listing_again_in_any_order_changes_nothing(tmp_path: Path) -> None:
    first = take(tmp_path)
    version = DeltaTable(tmp_path / "catalog").version()

    again = take(tmp_path, reversed(SONGS))

    assert list(again.tracks) == list(first.tracks)
    assert again.changes == Changes(n_new=0, n_known=40)
    assert DeltaTable(tmp_path / "catalog").version() == version


def test_new_tracks_get_shards_of_their_own(tmp_path: Path) -> None:
    first = take(tmp_path, SONGS[:35])

    plan = take(tmp_path)

    assert plan.changes == Changes(n_new=5, n_known=35)
    assert list(plan.tracks)[:35] == list(first.tracks)
    old = {track.shard_id for track in first.tracks}
    assert old.isdisjoint(track.shard_id for track in list(plan.tracks)[35:])


def test_changed_and_vanished_tracks_are_reported_and_stay_as_planned(tmp_path: Path) -> None:
    first = take(tmp_path)
    changed = replace(SONGS[3], version="2", size=7)

    plan = take(tmp_path, [changed, *SONGS[4:]])

    gone = ("00.wav", "01.wav", "02.wav")
    assert plan.changes == Changes(0, 37, 1, 3, changed=("03.wav",), vanished=gone)
    assert tuple(plan.tracks) == read_plan(tmp_path) == tuple(first.tracks)


def test_later_listings_may_carry_other_columns(tmp_path: Path) -> None:
    jazz = replace(SONGS[0], carried=(("genre", "jazz"),))
    sad = replace(SONGS[1], carried=(("mood", "sad"),))

    take(tmp_path, [jazz])
    take(tmp_path, [jazz, sad])
    take(tmp_path, [jazz, sad, SONGS[2]])

    assert [t.carried for t in read_plan(tmp_path)] == [jazz.carried, sad.carried, ()]
    assert DeltaTable(tmp_path / "catalog").to_pyarrow_table().num_columns == 9


def test_the_table_has_the_columns_that_any_delta_reader_expects(tmp_path: Path) -> None:
    take(tmp_path)

    assert DeltaTable(tmp_path / "catalog").to_pyarrow_dataset().schema.names == [
        *("track_id", "uri", "start_s", "end_s", "size", "version", "shard_id")
    ]


def test_other_sources_for_one_output_are_refused_and_both_are_named(tmp_path: Path) -> None:
    take(tmp_path)

    with pytest.raises(ConfigError, match=r"was made from /music, not from /a, /other; use a new"):
        adopt(tmp_path, SONGS, sources=["/other", "/a"])


def test_the_sources_of_an_output_are_kept_without_credentials(tmp_path: Path) -> None:
    adopt(tmp_path, SONGS, sources=["s3://key:se/cret@bucket/x", "/b/"])

    kept = json.loads((tmp_path / "catalog" / "sources.json").read_text())

    assert kept == {"sources": ["/b", "s3://***@bucket/x"]}


def test_a_listing_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    def broken() -> Iterable[Track]:
        yield SONGS[0]
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        take(tmp_path / "out", broken())

    assert not (tmp_path / "out").exists()


def test_a_driver_that_was_overtaken_adopts_what_the_other_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = catalog._append
    winners: list[Plan] = []

    def overtaken(table: DeltaTable, tracks: pa.RecordBatchReader) -> bool:
        monkeypatch.setattr(catalog, "_append", append)
        winners.append(take(tmp_path, SONGS[:30]))
        return append(table, tracks)

    monkeypatch.setattr(catalog, "_append", overtaken)
    plan = take(tmp_path)

    assert plan.changes == Changes(n_new=10, n_known=30)
    assert read_plan(tmp_path) == tuple(plan.tracks)
    assert set(winners[0].tracks) < set(plan.tracks)


def test_an_output_on_a_web_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="tables cannot be written to https://host/out"):
        adopt("https://host/out", SONGS, sources=SOURCES)


def test_the_signature_of_a_url_is_in_no_table_but_in_the_plan(tmp_path: Path) -> None:
    signed = [Track("a", "https://h/a.wav?sig=one", 1, "v"), Track("b", "https://h/b.wav", 1, "v")]
    again = [replace(signed[0], uri="https://h/a.wav?sig=two"), signed[1]]
    plans = [adopt(tmp_path, tracks, sources=["https://h/"]) for tracks in (signed, again)]
    found = [[track.uri for track in plan.tracks] for plan in plans]
    assert found == [[track.uri for track in tracks] for tracks in (signed, again)]
    assert [track.uri for track in read_plan(tmp_path)] == [
        "https://h/a.wav?***",
        "https://h/b.wav",
    ]
    assert b"sig=" not in b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())


def test_a_known_track_that_was_moved_keeps_the_place_that_was_planned(tmp_path: Path) -> None:
    adopt(tmp_path, [Track("a", "/old/a.wav", 1, "v")], sources=["/"])
    plan = adopt(tmp_path, [Track("a", "/new/a.wav", 1, "v")], sources=["/"])
    assert next(iter(plan.tracks)).uri == "/old/a.wav"


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises((OutputError, ConfigError), match="out"):
        take(tmp_path / "out")


def test_an_output_without_a_catalogue_has_no_plan(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no catalogue; give the folder that a run wrote"):
        read_plan(tmp_path)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sources"', '{"sources": 3}', "\x80"])
def test_damaged_sources_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    take(tmp_path)
    (tmp_path / "catalog" / "sources.json").write_text(content, encoding="latin-1")

    with pytest.raises(OutputError, match=r"sources\.json is damaged; restore it from a copy"):
        take(tmp_path)


def test_a_damaged_log_is_refused_in_one_line(tmp_path: Path) -> None:
    take(tmp_path)
    (tmp_path / "catalog" / "_delta_log" / f"{1:020}.json").write_text("garbage")

    with pytest.raises(OutputError, match="cannot read the log of") as caught:
        take(tmp_path)

    assert "\n" not in str(caught.value)


def test_a_data_file_that_is_gone_is_refused_by_name(tmp_path: Path) -> None:
    take(tmp_path)
    [part] = (tmp_path / "catalog").glob("*.parquet")
    part.unlink()

    with pytest.raises(OutputError, match=f"{part.name} is missing, but the log names it"):
        take(tmp_path)


def test_all_shards_are_pending_for_a_model_without_a_table(tmp_path: Path) -> None:
    plan = take(tmp_path)

    shards = pending_shards(tmp_path, "new-model", plan.tracks)

    assert tracks_of(shards) == list(plan.tracks)
    assert not (tmp_path / "new-model").exists()


def test_tracks_that_have_a_row_are_not_pending(tmp_path: Path) -> None:
    plan = take(tmp_path)
    write_rows(tmp_path, "m", list(plan.tracks)[:10])
    write_rows(tmp_path, "m", list(plan.tracks)[20:])

    shards = pending_shards(tmp_path, "m", plan.tracks)

    assert tracks_of(shards) == list(plan.tracks)[10:20]
    assert set(shards) == {t.shard_id for t in list(plan.tracks)[10:20]}


def test_a_row_of_another_version_leaves_the_track_pending(tmp_path: Path) -> None:
    plan = take(tmp_path)
    write_rows(tmp_path, "m", [replace(track, version="0") for track in plan.tracks])

    assert len(pending_shards(tmp_path, "m", plan.tracks)) == len({t.shard_id for t in plan.tracks})


def test_a_finished_model_has_nothing_pending(tmp_path: Path) -> None:
    plan = take(tmp_path)
    write_rows(tmp_path, "m", plan.tracks)

    assert pending_shards(tmp_path, "m", plan.tracks) == {}


def test_a_crash_before_the_first_row_is_made_good_by_the_next_run(tmp_path: Path) -> None:
    plan = take(tmp_path)
    shutil.rmtree(tmp_path / "catalog" / "_delta_log")
    DeltaTable.create(tmp_path / "catalog", CATALOG_SCHEMA)

    assert list(take(tmp_path).tracks) == list(plan.tracks)
