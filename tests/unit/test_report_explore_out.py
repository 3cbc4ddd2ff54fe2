"""From an output to a page to explore: what is read, the verb, and what is said when it cannot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from embedlib.cli.explore import explore as verb
from embedlib.errors import ConfigError, OutputError
from embedlib.records import PartResult, Status, TrackRow
from embedlib.report.explore_layout import unit_vectors
from embedlib.report.explore_neighbours import nearest
from embedlib.report.explore_source import read_population
from embedlib.tables.catalog import adopt
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.reader import open_output

MakeRow = Callable[..., TrackRow]
MakePart = Callable[..., PartResult]

app = typer.Typer()
app.command()(verb)


def printed(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def with_track(row: TrackRow, **changes: object) -> TrackRow:
    return dataclasses.replace(row, track=dataclasses.replace(row.track, **changes))


def commit(
    out: Path, rows: list[TrackRow], make_part: MakePart, *, manifest: ModelManifest
) -> Path:
    """Rows in two parts, in no order of ids, and the catalogue that they were planned by."""
    adopt(out, [row.track for row in rows], sources=["/music"])
    parts = [
        make_part(out, half, shard_id=shard_id, manifest=manifest)
        for shard_id, half in (("0a", rows[1::2]), ("0b", rows[::2]))
        if half
    ]
    commit_parts(out, manifest.model, parts)
    return out


@pytest.fixture
def rows(make_row: MakeRow, banded: ModelManifest) -> list[TrackRow]:
    tracks = [
        with_track(make_row(name, manifest=banded), carried=(("genre", genre), ("status", "new")))
        for name, genre in zip("cabd", ("rock", "jazz", "jazz", "folk"), strict=True)
    ]
    tracks[3] = with_track(tracks[3], start_s=1.0, end_s=2.5)
    return [*tracks, make_row("e", status=Status.MISSING, manifest=banded)]


@pytest.fixture
def out(tmp_path: Path, make_part: MakePart, rows: list[TrackRow], banded: ModelManifest) -> Path:
    """Four tracks with embeddings and one without; a head; a manifest's columns; one clip."""
    return commit(tmp_path / "out", rows, make_part, manifest=banded)


def facts(out: Path) -> dict[str, tuple[object, ...]]:
    return {fact.name: fact.values for fact in read_population(out).facts}


def test_tracks_are_sorted_and_each_keeps_its_own_vector(out: Path) -> None:
    population = read_population(out, model="tiny")
    table = open_output(out).tracks("tiny")
    vectors = dict(zip(table.track_ids, table.to_numpy(), strict=True))
    assert population.ids == ("a", "b", "c", "d")
    np.testing.assert_array_equal(population.vectors, [vectors[name] for name in "abcd"])
    assert population.n_left_out == 1
    assert population.version == table.snapshot.version


def test_facts_are_those_of_the_table_and_of_the_catalogue(out: Path) -> None:
    found = facts(out)
    assert found["genre"] == ("jazz", "jazz", "rock", "folk")
    assert found["status"] == ("ok",) * 4
    assert found["status (catalogue)"] == ("new",) * 4
    assert found["start_s"] == (None, None, None, 1.0)
    assert found["folder"] == ("music",) * 4
    assert "track_id" not in found


def test_of_a_head_the_likeliest_class_is_a_fact(out: Path) -> None:
    table = open_output(out).tracks("tiny")
    best = dict(zip(table.track_ids, table.to_numpy("moods-1.0").argmax(axis=1), strict=True))
    assert facts(out)["moods-1.0"] == tuple(("sad", "calm", "glad")[best[n]] for n in "abcd")


def test_of_a_clip_its_stretch_is_what_is_played(out: Path) -> None:
    assert read_population(out).audio == (
        *(f"file:///music/{name}" for name in "abc"),
        "file:///music/d#t=1,2.5",
    )


def test_a_row_of_another_version_takes_nothing_from_the_catalogue(
    tmp_path: Path, make_part: MakePart, make_row: MakeRow, manifest: ModelManifest
) -> None:
    row = make_row("a")
    planned = dataclasses.replace(row.track, version="18", carried=(("genre", "rock"),))
    adopt(tmp_path, [planned], sources=["/music"])
    commit_parts(tmp_path, "tiny", [make_part(tmp_path, [row])])
    assert "genre" not in facts(tmp_path)


def test_a_model_must_be_named_where_there_are_two(
    out: Path, make_part: MakePart, make_row: MakeRow, manifest: ModelManifest
) -> None:
    second = dataclasses.replace(manifest, model="second")
    commit_parts(out, "second", [make_part(out, [make_row("a")], manifest=second)])
    with pytest.raises(ConfigError, match="choose one by --model: second, tiny"):
        read_population(out)
    assert read_population(out, model="second").ids == ("a",)


def test_an_output_where_all_tracks_failed_is_one_line(
    tmp_path: Path, make_part: MakePart, make_row: MakeRow, manifest: ModelManifest
) -> None:
    commit(tmp_path, [make_row("a", status=Status.EMPTY)], make_part, manifest=manifest)
    with pytest.raises(OutputError, match=r"no track of .*tiny has an embedding"):
        read_population(tmp_path)


def test_the_page_lies_in_the_output_by_model_and_its_path_is_printed_last(out: Path) -> None:
    lines = printed(out).splitlines()
    assert Path(lines[-1]) == out / "explore" / "tiny" / "index.html"
    assert Path(lines[-1]).is_file()
    assert lines[-2].startswith("4 tracks of tiny, ")
    assert open_output(out).models == ("tiny",)


def test_json_is_one_object(out: Path, tmp_path: Path) -> None:
    answer = json.loads(printed(out, "--to", tmp_path / "page", "--colour", "genre", "--json"))
    assert answer["page"] == str(tmp_path / "page" / "index.html")
    assert (answer["n_tracks"], answer["n_left_out"]) == (4, 1)
    assert answer["colours"][0] == "genre"
    written = [path for path in (tmp_path / "page").rglob("*") if path.is_file()]
    assert answer["n_files"] == len(written)
    assert answer["n_bytes"] == sum(path.stat().st_size for path in written)


def test_a_colour_that_no_column_gives_is_one_line_and_nothing_is_written(out: Path) -> None:
    with pytest.raises(
        ConfigError, match="'colour_of_the_sky' gives no colours; choose from genre"
    ):
        printed(out, "--colour", "colour_of_the_sky")
    assert not (out / "explore").exists()


def test_a_folder_that_cannot_be_made_is_one_line(out: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of its path is a file"):
        printed(out, "--to", tmp_path / "file" / "page")


def test_neighbours_may_be_left_out(out: Path, tmp_path: Path) -> None:
    printed(out, "--neighbours", 0, "--to", tmp_path / "page")
    (tracks,) = (tmp_path / "page" / "data").glob("tracks-*.js")
    assert '"index":"","distance":""' in tracks.read_text()


def test_neighbours_are_those_of_the_search_command(
    tmp_path: Path, make_part: MakePart, make_row: MakeRow, manifest: ModelManifest
) -> None:
    pytest.importorskip("lancedb")
    from embedlib.search.build import build
    from embedlib.search.query import query

    out = commit(tmp_path, [make_row(f"{n:02}") for n in range(30)], make_part, manifest=manifest)
    build(out, "tiny")
    population = read_population(out)
    found = nearest(unit_vectors(population.vectors), k=7)
    for row in (0, 11, 29):
        expected = query(out, "tiny", track=population.ids[row], k=7)
        assert [population.ids[near] for near in found.index[row]] == [e.track_id for e in expected]
        np.testing.assert_allclose(found.distance[row], [e.distance for e in expected], atol=1e-6)
