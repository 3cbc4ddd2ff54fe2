"""Exports, each read back: the rows of the table, in a form of others."""

from __future__ import annotations

import csv
import dataclasses
import errno
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import yaml

from embedlib.catalog.stores import StorePath
from embedlib.errors import ConfigError, OutputError
from embedlib.records import Status, TrackRow
from embedlib.search.export import FORMATS, export
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.reader import open_output

MakeRow = Callable[..., TrackRow]
MakeOutput = Callable[..., Path]

IDS = ["a\tb\nc", 'it\'s, "quoted"', "<b>é</b>"]
FILES = {
    "lance": ("tracks.lance",),
    "hf": ("README.md", "data/train-0.parquet"),
    "npy": ("activations.npy", "embedding.npy", "ids.csv", "moods-1.0.npy"),
    "projector": ("metadata.tsv", "projector_config.pbtxt", "tensors.tsv"),
}


@pytest.fixture
def out(tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, banded: ModelManifest) -> Path:
    """Three tracks with names that need quoting and one that failed, in two files."""
    rows = [make_row(name, manifest=banded) for name in IDS]
    rows.insert(1, make_row("gone", status=Status.MISSING, manifest=banded))
    return make_output(tmp_path / "out", rows, manifest=banded)


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "dest"


def expected(out: Path, what: str) -> pa.Table:
    output = open_output(out)
    if what == "patches":
        return output.patches("tiny").to_arrow()
    tracks = output.tracks("tiny").to_arrow()
    return tracks.filter(pa.compute.is_valid(tracks["embedding"]))


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_names_what_it_wrote(out: Path, dest: Path, to: str) -> None:
    if to == "lance":
        pytest.importorskip("lancedb")
    summary = export(out, dest, to=to)
    assert (summary.n_rows, summary.n_without, summary.what) == (3, 1, "tracks")
    assert summary.files == FILES[to]
    assert all((dest / file).exists() for file in summary.files)
    assert [path.name for path in dest.parent.iterdir()] == ["dest"]


@pytest.mark.parametrize("what", ["tracks", "patches"])
def test_npy_gives_matrices_and_their_rows(out: Path, dest: Path, what: str) -> None:
    export(out, dest, to="npy", what=what)
    table = expected(out, what)
    for name in ("embedding", "activations", "moods-1.0"):
        matrix = np.load(dest / f"{name}.npy")
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix, table[name].to_pylist())
    with (dest / "ids.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["track_id"] for row in rows] == table["track_id"].to_pylist()
    times = "duration_s" if what == "tracks" else "t1_ms"
    assert [float(row[times]) for row in rows] == table[times].to_pylist()


@pytest.mark.parametrize("what", ["tracks", "patches"])
def test_lance_gives_vectors_of_fixed_size(out: Path, dest: Path, what: str) -> None:
    lancedb = pytest.importorskip("lancedb")
    export(out, dest, to="lance", what=what)
    found = lancedb.connect(dest).open_table(what).to_arrow()
    table = expected(out, what)
    assert found.schema.field("embedding").type.list_size == 4
    assert "moods-1_0" in found.column_names
    for name in found.column_names:
        assert found[name].to_pylist() == table[name.replace("1_0", "1.0")].to_pylist()


@pytest.mark.parametrize("what", ["tracks", "patches"])
def test_hugging_face_gives_parquet_and_a_card(out: Path, dest: Path, what: str) -> None:
    export(out, dest, to="hf", what=what)
    found, table = ds.dataset(dest / "data").to_table(), expected(out, what)
    for name in found.column_names:
        assert found[name].to_pylist() == table[name].to_pylist()
    card = (dest / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    (split,) = head["dataset_info"]["splits"]
    assert (split["name"], split["num_examples"]) == ("train", len(table))
    assert [each["name"] for each in head["dataset_info"]["features"]] == found.column_names
    assert "| tracks without embedding, left out | 1 |" in card


def test_datasets_loads_the_folder(
    out: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    export(out, dest, to="hf")
    rows = datasets.load_dataset(str(dest), split="train", cache_dir=str(tmp_path / "cache"))
    table = expected(out, "tracks")
    assert rows["track_id"][:] == table["track_id"].to_pylist()
    assert rows["embedding"][:] == table["embedding"].to_pylist()
    assert str(rows.features["embedding"]) == "List(Value('float32'), length=4)"


@pytest.mark.parametrize("what", ["tracks", "patches"])
def test_the_projector_gets_tensors_names_and_a_configuration(
    out: Path, dest: Path, what: str
) -> None:
    export(out, dest, to="projector", what=what)
    table = expected(out, what)
    tensors = np.loadtxt(dest / "tensors.tsv", dtype=np.float32, delimiter="\t")
    np.testing.assert_array_equal(tensors, table["embedding"].to_pylist())
    header, *lines = (dest / "metadata.tsv").read_text().split("\n")[:-1]
    names = [dict(zip(header.split("\t"), each.split("\t"), strict=True)) for each in lines]
    plain = [re.sub(r"\s", " ", name) for name in table["track_id"].to_pylist()]
    assert [each["track_id"] for each in names] == plain
    config = (dest / "projector_config.pbtxt").read_text()
    assert re.findall(r"tensor_shape: (\d+)", config) == [str(len(table)), "4"]


def test_an_export_of_nothing_is_whole(
    tmp_path: Path, make_row: MakeRow, make_output: MakeOutput, dest: Path
) -> None:
    out = make_output(tmp_path / "out", [make_row("gone", status=Status.MISSING)])
    for to in FORMATS:
        assert export(out, dest / to, to=to).n_rows == 0
    assert np.load(dest / "npy" / "embedding.npy").shape == (0, 4)
    assert ds.dataset(dest / "hf" / "data").count_rows() == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"to": "csv"}, "'csv' is no format"),
        ({"to": "npy", "what": "bands"}, "'bands' is no kind of row"),
    ],
)
def test_what_cannot_be_exported_is_named(
    out: Path, dest: Path, arguments: dict[str, str], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        export(out, dest, **arguments)


def test_a_folder_with_something_in_it_is_left_alone(out: Path, dest: Path) -> None:
    dest.mkdir(parents=True)
    export(out, dest, to="npy")
    with pytest.raises(ConfigError, match="is there already"):
        export(out, dest, to="hf")
    assert (dest / "ids.csv").exists()


def test_a_store_is_no_place_for_an_export(out: Path) -> None:
    with pytest.raises(ConfigError, match="local disk"):
        export(out, StorePath("s3://bucket/dest"), to="npy")


def test_of_several_models_one_is_to_be_named(
    out: Path, dest: Path, make_row: MakeRow, make_part: Callable[..., object]
) -> None:
    manifest = dataclasses.replace(open_output(out).tracks("tiny").manifest, model="other")
    make_part(out, [make_row("a", manifest=manifest)], manifest=manifest)
    with pytest.raises(ConfigError, match="other, tiny; name one by --model"):
        export(out, dest, to="npy")
    assert export(out, dest, to="npy", model="tiny").n_rows == 3


@pytest.mark.parametrize("to", FORMATS)
def test_a_missing_part_is_named_and_nothing_is_left(out: Path, dest: Path, to: str) -> None:
    path = open_output(out).files("tiny")[-1]
    content = path.read_bytes()
    # The key columns are read first: the damage is among the vectors.
    middle = content.find(b"PAR1", 4) // 2
    path.write_bytes(content[:middle] + b"\xff" * 64 + content[middle + 64 :])
    with pytest.raises(OutputError, match=path.name):
        export(out, dest, to=to)
    assert not dest.exists()
    assert not list(dest.parent.glob(".*"))


def test_a_full_disk_is_one_line(out: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="its disk is full"):
        export(out, dest, to="npy")
    assert not list(dest.parent.iterdir())
