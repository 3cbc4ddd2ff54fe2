"""Search by the command line, of sound files, over many partitions, and in an object store."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from deltalake import write_deltalake
from typer.testing import CliRunner

import embedlib
from embedlib.catalog.stores import StorePath
from embedlib.cli.export import export as export_command
from embedlib.cli.search import app as search_app
from embedlib.errors import ConfigError, FingerprintError
from embedlib.search.build import build
from embedlib.search.query import open_search, query
from embedlib.search.store import require_state, search_folder
from embedlib.tables.manifest import ensure_manifest, read_manifest
from embedlib.tables.vectors import model_schema

pytest.importorskip("lancedb")

MODEL = "untrained-msd-musicnn-1"
SERVER = Path(__file__).with_name("s3_server.py")
N_ROWS, N_DIMS = 60_000, 24


@pytest.fixture(scope="module")
def out(
    mixed_clips: Path, tmp_path_factory: pytest.TempPathFactory, in_this_process: object
) -> Path:
    """Four clips with an embedding, one without, and a search table of them."""
    folder = tmp_path_factory.mktemp("search") / "out"
    embedlib.extract([str(mixed_clips)], models=[MODEL], out=str(folder), local=True)
    build(folder, MODEL)
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, out: Path) -> Path:
    """So many tracks in clusters that an index of many partitions is made."""
    folder = tmp_path_factory.mktemp("large")
    manifest = read_manifest(out / MODEL)
    manifest = dataclasses.replace(manifest, model="tiny", n_dims=N_DIMS, columns=())
    ensure_manifest(folder, manifest)
    write_deltalake(folder / "tiny", rows(model_schema(manifest)))
    return folder


def rows(schema: pa.Schema) -> pa.Table:
    rng = np.random.default_rng(440)
    centres = rng.standard_normal((100, N_DIMS), dtype=np.float32)
    noise = rng.standard_normal((N_ROWS, N_DIMS), dtype=np.float32)
    vectors = centres[rng.integers(0, 100, N_ROWS)] + np.float32(0.5) * noise
    names = pa.array([f"t{number}" for number in range(N_ROWS)])
    facts = {"track_id": names, "uri": names, "status": pa.repeat("ok", N_ROWS)}
    facts |= {"duration_s": pa.array(np.arange(N_ROWS, dtype=np.float64))}
    facts |= {"n_patches": pa.repeat(pa.scalar(1, pa.int32()), N_ROWS)}
    facts |= {"embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), N_DIMS)}
    facts["embedding"] = facts["embedding"].cast(schema.field("embedding").type)
    return pa.table([facts.get(field.name, empty(field)) for field in schema], schema=schema)


def empty(field: pa.Field) -> pa.Array:
    if field.nullable:
        return pa.nulls(N_ROWS, field.type)
    value = "" if pa.types.is_string(field.type) else 0
    return pa.repeat(pa.scalar(value).cast(field.type), N_ROWS)


def said(command: object, *arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_command_builds_and_finds(mixed_clips: Path, out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("search"))
    built = json.loads(said(search_app, "build", copy, "--model", MODEL, "--json"))
    assert (built["n_rows"], built["is_anew"], built["is_exact"]) == (4, True, True)
    assert "4 tracks, 0 new or changed, 0 removed" in said(
        search_app, "build", copy, "--model", MODEL
    )
    found = json.loads(
        said(search_app, "query", copy, "--model", MODEL, "--track", "long.wav", "-k", 2, "--json")
    )
    assert found["metric"] == "cosine"
    assert [each["track_id"] for each in found["neighbours"]] == [
        each.track_id for each in query(out, MODEL, track="long.wav", k=2)
    ]
    table = said(search_app, "query", copy, "--model", MODEL, "--track", "long.wav")
    assert table.split()[:4] == ["distance", "track", "s", "uri"]
    assert str(mixed_clips / "short.flac") in table


def test_a_file_of_the_catalogue_is_nearest_to_itself(mixed_clips: Path, out: Path) -> None:
    for name in ("long.wav", "studio.wav"):
        found = json.loads(
            said(search_app, "query", out, "--model", MODEL, "--file", mixed_clips / name, "--json")
        )
        first = found["neighbours"][0]
        assert (first["track_id"], round(first["distance"], 6)) == (name, 0.0)


def test_a_file_is_embedded_with_the_options_of_the_table(
    mixed_clips: Path, tmp_path: Path, in_this_process: object
) -> None:
    out = tmp_path / "out"
    table = f"{MODEL}:patch_hop_frames=24,as=dense"
    embedlib.extract([str(mixed_clips)], models=[table], out=str(out), local=True)
    name = "untrained-dense"
    build(out, name)
    searched = said(
        search_app, "query", out, "--model", name, "--file", mixed_clips / "long.wav", "--json"
    )
    first = json.loads(searched)["neighbours"][0]
    assert (first["track_id"], round(first["distance"], 6)) == ("long.wav", 0.0)


def test_a_file_is_refused_where_the_model_here_is_another(
    mixed_clips: Path, out: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    manifest = json.loads((copy / MODEL / "model.json").read_text())
    (copy / MODEL / "model.json").write_text(json.dumps(manifest | {"seed": 7}))
    with pytest.raises(FingerprintError, match="seed=7, here it is 0"):
        said(search_app, "query", copy, "--model", MODEL, "--file", mixed_clips / "long.wav")


def test_a_vector_of_a_track_finds_the_track(out: Path, tmp_path: Path) -> None:
    tracks = embedlib.open(str(out)).tracks(MODEL)
    np.save(tmp_path / "v.npy", tracks.to_numpy()[1])
    line = ("query", out, "--model", MODEL, "--vector", tmp_path / "v.npy", "-k", 1, "--json")
    (found,) = json.loads(said(search_app, *line))["neighbours"]
    assert found["track_id"] == tracks.track_ids[1]


@pytest.mark.parametrize("asked", [(), ("--track", "a", "--file", "b")], ids=["none", "two"])
def test_one_thing_is_asked_for(out: Path, asked: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="of --track, --file and --vector are given"):
        said(search_app, "query", out, "--model", MODEL, *asked)


def test_recall_of_exact_search_is_one(out: Path) -> None:
    found = json.loads(said(search_app, "recall", out, "--model", MODEL, "--json"))
    assert (found["recall"], found["n_queries"], found["is_exact"]) == (1.0, 4, True)
    assert said(search_app, "recall", out, "--model", MODEL).startswith("recall at 10: 1.0000")


def test_the_command_exports(out: Path, tmp_path: Path) -> None:
    command = typer.Typer()
    command.command()(export_command)
    dest = tmp_path / "dest"
    told = json.loads(said(command, out, dest, "--to", "npy", "--what", "patches", "--json"))
    patches = embedlib.open(str(out)).patches(MODEL).to_numpy()
    np.testing.assert_array_equal(np.load(dest / "embedding.npy"), patches)
    assert (told["n_rows"], told["files"]) == (len(patches), ["embedding.npy", "ids.csv"])


def test_an_index_of_many_partitions_finds_the_nearest(large: Path) -> None:
    built = build(large, "tiny")
    state = require_state(search_folder(large), "tiny")
    assert (built.is_exact, state.n_indexed) == (False, N_ROWS)
    assert built.recall >= 0.97
    searcher = open_search(large, "tiny")
    assert searcher.recall(n_queries=200) >= 0.95
    vector = searcher.vector_of("t17")
    by_index, exact = (searcher.nearest(vector, k=20, exact=exact) for exact in (False, True))
    assert len({each.track_id for each in by_index} & {each.track_id for each in exact}) >= 19


def test_a_narrow_condition_on_an_index_gives_all_that_there_are(large: Path) -> None:
    build(large, "tiny")
    found = query(large, "tiny", track="t17", k=10, where="duration_s < 4")
    assert {each.track_id for each in found} == {"t0", "t1", "t2", "t3"}


def test_what_was_added_to_an_index_is_found_at_once(large: Path) -> None:
    build(large, "tiny")
    schema = model_schema(read_manifest(large / "tiny"))
    added = rows(schema).slice(17, 1).to_pylist()[0] | {"track_id": "twin"}
    write_deltalake(large / "tiny", pa.Table.from_pylist([added], schema=schema), mode="append")
    built = build(large, "tiny")
    assert (built.n_added, built.n_removed, built.is_anew) == (1, 0, False)
    (found,) = query(large, "tiny", track="t17", k=1)
    assert (found.track_id, round(found.distance, 6)) == ("twin", 0.0)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorePath]:
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    line = [sys.executable, str(SERVER), "atomic"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("AWS_ENDPOINT_URL", process.stdout.readline().strip())
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rightkey")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            s3fs.S3FileSystem.clear_instance_cache()
            yield StorePath("s3://store/runs/out")
            s3fs.S3FileSystem.clear_instance_cache()
        finally:
            process.kill()


def test_a_search_table_lies_in_a_store_as_on_a_disk(
    store: StorePath, mixed_clips: Path, out: Path, in_this_process: object
) -> None:
    embedlib.extract([str(mixed_clips)], models=[MODEL], out=str(store), local=True)
    assert build(store, MODEL).n_rows == 4
    again = build(store, MODEL)
    assert (again.n_added, again.is_anew) == (0, False)
    assert query(store, MODEL, track="long.wav") == query(out, MODEL, track="long.wav")
    assert build(store, MODEL, rebuild=True).is_anew
    assert {path.name for path in (store / "search").iterdir()} == {
        f"{MODEL}.json",
        f"{MODEL}.lance",
    }
