"""Every reader that the documents name reads the tables as they lie, and finds the same rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import embedlib
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.records import Float32
from embedlib.search.export import export
from embedlib.tables.reader import Output

MODEL = "untrained-msd-musicnn-1"
SR_HZ = 16_000

SPARK_TYPES = {"string", "long", "integer", "double", "float", "boolean"}
"""Simple types of Spark as its JSON schemas name them, among those that a model table has."""

Rows = dict[str, Float32 | None]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of different length, and a text that is none."""
    folder = tmp_path_factory.mktemp("readers")
    clips = folder / "clips"
    clips.mkdir()
    for number, seconds in enumerate((1.0, 4.0, 7.0)):
        music = synthesise_music(seconds, sr_hz=SR_HZ, n_channels=1, seed=number, style="drums")
        write_audio(clips / f"it's {number}.wav", music, sr_hz=SR_HZ)
    (clips / "text.wav").write_text("This is not music.")
    embedlib.extract([str(clips)], models=[MODEL], out=str(folder / "out"), local=True)
    return folder / "out"


@pytest.fixture(scope="module")
def output(out: Path) -> Output:
    return embedlib.open(str(out))


def rows_of(pairs: Iterator[tuple[str, Any]]) -> Rows:
    return {name: None if vector is None else np.float32(vector) for name, vector in pairs}


def by_embedlib(output: Output) -> Rows:
    return by_arrow(output.tracks(MODEL).to_arrow())


def by_arrow(table: Any) -> Rows:
    return rows_of(zip(*table.select(["track_id", "embedding"]).to_pydict().values(), strict=True))


def by_deltalake(output: Output) -> Rows:
    return by_arrow(DeltaTable(output.root / MODEL).to_pyarrow_table())


def by_pyarrow_files(output: Output) -> Rows:
    return by_arrow(pq.read_table([str(path) for path in output.files(MODEL)]))


def by_pyarrow_dataset(output: Output) -> Rows:
    return by_arrow(ds.dataset([str(path) for path in output.files(MODEL)]).to_table())


def by_pandas(output: Output) -> Rows:
    pytest.importorskip("pandas")
    frame = DeltaTable(output.root / MODEL).to_pandas(columns=["track_id", "embedding"])
    return rows_of(zip(frame["track_id"], frame["embedding"], strict=True))


def by_polars(output: Output) -> Rows:
    polars = pytest.importorskip("polars")
    frame = polars.scan_delta(str(output.root / MODEL)).select("track_id", "embedding").collect()
    return rows_of(frame.iter_rows())


def by_polars_files(output: Output) -> Rows:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet([str(path) for path in output.files(MODEL)])
    return rows_of(frame.select("track_id", "embedding").iter_rows())


def by_duckdb(output: Output) -> Rows:
    duckdb = pytest.importorskip("duckdb")
    files = [str(path) for path in output.files(MODEL)]
    query = "select track_id, embedding from read_parquet($files)"
    return rows_of(iter(duckdb.execute(query, {"files": files}).fetchall()))


def by_datasets(output: Output, cache: Path) -> Rows:
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in output.files(MODEL)]
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", columns=["track_id", "embedding"],
        cache_dir=str(cache),
    )  # fmt: skip
    return rows_of(zip(rows["track_id"], rows["embedding"], strict=True))


def by_spark(output: Output) -> Rows:
    """With the list of files: Delta's own package for Spark is fetched from the network."""
    sql = pytest.importorskip("pyspark.sql")
    session = sql.SparkSession.builder.master("local[1]").getOrCreate()
    try:
        frame = session.read.parquet(*(str(path) for path in output.files(MODEL)))
        return rows_of((row["track_id"], row["embedding"]) for row in frame.collect())
    finally:
        session.stop()


READERS: dict[str, Callable[[Output], Rows]] = {
    "deltalake": by_deltalake,
    "pyarrow": by_pyarrow_dataset,
    "pyarrow, files": by_pyarrow_files,
    "pandas": by_pandas,
    "Polars": by_polars,
    "Polars, files": by_polars_files,
    "DuckDB": by_duckdb,
    "Spark": by_spark,
}


def assert_same(found: Rows, expected: Rows) -> None:
    assert found.keys() == expected.keys()
    for name, vector in expected.items():
        if vector is None:
            assert found[name] is None
        else:
            np.testing.assert_array_equal(found[name], vector)


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_finds_the_rows_that_embedlib_finds(output: Output, reader: str) -> None:
    expected = by_embedlib(output)
    assert len(expected) == 4
    assert expected["text.wav"] is None
    assert_same(READERS[reader](output), expected)


def test_hugging_face_datasets_reads_the_files(output: Output, tmp_path: Path) -> None:
    assert_same(by_datasets(output, tmp_path), by_embedlib(output))


def test_the_log_asks_no_more_of_a_reader_than_the_first_version(output: Output) -> None:
    protocol = DeltaTable(output.root / MODEL).protocol()
    assert protocol.min_reader_version == 1
    assert not protocol.reader_features


def test_the_schema_in_the_log_is_one_of_spark(output: Output) -> None:
    schema = json.loads(DeltaTable(output.root / MODEL).schema().to_json())
    assert schema["type"] == "struct"
    expected = output.tracks(MODEL).to_arrow().schema.names
    assert {field["name"] for field in schema["fields"]} >= set(expected)
    for field in schema["fields"]:
        assert set(field) == {"name", "type", "nullable", "metadata"}
        assert is_spark_type(field["type"]), field


def is_spark_type(found: Any) -> bool:
    if isinstance(found, str):
        return found in SPARK_TYPES
    return found.keys() == {"type", "elementType", "containsNull"} and (
        found["type"] == "array" and is_spark_type(found["elementType"])
    )


def test_spark_itself_reads_the_schema_in_the_log(output: Output) -> None:
    types = pytest.importorskip("pyspark.sql.types")
    schema = json.loads(DeltaTable(output.root / MODEL).schema().to_json())
    assert types.StructType.fromJson(schema).fieldNames()


def test_lancedb_reads_what_was_exported_to_lance(out: Path, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    export(out, tmp_path / "dest", to="lance")
    found = by_arrow(lancedb.connect(tmp_path / "dest").open_table("tracks").to_arrow())
    expected = by_embedlib(embedlib.open(str(out)))
    assert_same(found, {name: vector for name, vector in expected.items() if vector is not None})


def test_readers_of_tables_survive_a_compaction_by_delta(out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    DeltaTable(copy / MODEL).optimize.compact()
    output = embedlib.open(str(copy))
    expected = by_embedlib(embedlib.open(str(out)))
    for reader in (by_embedlib, by_deltalake, by_pyarrow_files, by_duckdb, by_polars):
        assert_same(reader(output), expected)


def test_a_reader_that_loses_a_row_would_be_noticed(output: Output) -> None:
    expected = by_embedlib(output)
    fewer = dict(list(expected.items())[1:])
    with pytest.raises(AssertionError):
        assert_same(fewer, expected)
