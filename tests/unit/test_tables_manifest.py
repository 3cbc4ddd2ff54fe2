"""The fingerprint of a table: written once, compared ever after."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from embedlib.errors import ConfigError, FingerprintError, OutputError
from embedlib.tables.layout import existing_root, model_folder, output_root
from embedlib.tables.manifest import Column, ModelManifest, ensure_manifest, read_manifest
from embedlib.tables.vectors import model_schema

MOODS = Column("moods", 2, ("out",), "vector", 1, "head", "cd" * 32, ("sad", "glad"))
NEW_FIELDS = (
    "spec",
    "n_vectors",
    "readout",
    "readout_version",
    "columns",
    "patch_input",
    "patch_input_version",
)


def test_a_manifest_reads_back_equal(tmp_path: Path, manifest: ModelManifest) -> None:
    ensure_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path / "tiny") == manifest


def test_the_same_manifest_is_accepted_again(tmp_path: Path, manifest: ModelManifest) -> None:
    ensure_manifest(tmp_path, manifest)
    ensure_manifest(tmp_path, manifest)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["model.json"]


def test_further_columns_read_back_equal(tmp_path: Path, banded: ModelManifest) -> None:
    ensure_manifest(tmp_path, banded)
    assert read_manifest(tmp_path / "tiny") == banded


def test_a_model_json_of_schema_1_says_what_it_always_meant(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    data = dataclasses.asdict(manifest) | {"schema_version": 1}
    old = {name: value for name, value in data.items() if name not in NEW_FIELDS}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.json").write_text(json.dumps(old))
    assert read_manifest(tmp_path / "tiny") == dataclasses.replace(manifest, schema_version=1)
    ensure_manifest(tmp_path, manifest)


def test_a_table_is_of_the_model_that_it_is_named_after_unless_told(
    manifest: ModelManifest,
) -> None:
    assert manifest.spec == "tiny"
    assert dataclasses.replace(manifest, spec="msd-musicnn-1").spec == "msd-musicnn-1"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": "other"},
        {"n_vectors": 16},
        {"readout": "spleeter-sum"},
        {"readout_version": 2},
        {"patch_input": "tempocnn"},
        {"patch_input_version": 2},
        {"last_patch": "centred"},
    ],
)
def test_what_makes_vectors_of_patches_is_part_of_the_fingerprint(
    tmp_path: Path, manifest: ModelManifest, change: dict[str, object]
) -> None:
    ensure_manifest(tmp_path, manifest)
    with pytest.raises(FingerprintError, match=rf"{next(iter(change))}=.* \(now "):
        ensure_manifest(tmp_path, dataclasses.replace(manifest, **change))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ((), f"made with columns.moods=2 values of out of head head {'cd' * 32}, readout vector 1"),
        ((), r"readout vector 1 \(now absent\)"),
        ((dataclasses.replace(MOODS, name="a"), MOODS), r"columns.a=absent \(now 2 values of out"),
        ((dataclasses.replace(MOODS, n_dims=3, classes=()),), "now 3 values of out"),
        ((dataclasses.replace(MOODS, nodes=("a", "b")),), "now 2 values of a, b of head"),
        ((dataclasses.replace(MOODS, readout="max"),), "now .* readout max 1"),
        ((dataclasses.replace(MOODS, readout_version=2),), "now .* readout vector 2"),
        ((dataclasses.replace(MOODS, head="other"),), "now .* of head other cdcd"),
        ((dataclasses.replace(MOODS, head_sha256="ef" * 32),), "now .* of head head efef"),
        ((dataclasses.replace(MOODS, head="", head_sha256=""),), "now 2 values of out, readout"),
    ],
)
def test_other_columns_are_refused_with_what_differs_in_words(
    tmp_path: Path, manifest: ModelManifest, columns: tuple[Column, ...], said: str
) -> None:
    ensure_manifest(tmp_path, dataclasses.replace(manifest, columns=(MOODS,)))
    with pytest.raises(FingerprintError, match=said) as caught:
        ensure_manifest(tmp_path, dataclasses.replace(manifest, columns=columns))
    assert "Column(" not in str(caught.value)


def test_neither_names_of_classes_nor_the_order_of_columns_are_part_of_the_fingerprint(
    tmp_path: Path, banded: ModelManifest
) -> None:
    ensure_manifest(tmp_path, banded)
    unnamed = [dataclasses.replace(column, classes=()) for column in banded.columns]
    ensure_manifest(tmp_path, dataclasses.replace(banded, columns=tuple(unnamed[::-1])))


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".a", "-a", "é", "a,b", "a\n", 'a"b'])
def test_a_column_name_of_other_characters_is_refused(manifest: ModelManifest, name: str) -> None:
    column = dataclasses.replace(MOODS, name=name)
    with pytest.raises(ConfigError, match="cannot name a column; use letters, digits"):
        dataclasses.replace(manifest, columns=(column,))


@pytest.mark.parametrize(
    "names",
    [
        ("track_id",),
        ("embedding",),
        ("embeddings",),
        ("t0_ms",),
        ("t1_ms",),
        ("patch",),
        ("band",),
        ("Status",),
        ("moods", "moods"),
        ("moods", "MOODS"),
        ("moods", "patch_moods"),
        ("patch_moods", "moods"),
    ],
)
def test_a_column_name_that_is_taken_is_refused(
    manifest: ModelManifest, names: tuple[str, ...]
) -> None:
    columns = tuple(dataclasses.replace(MOODS, name=name) for name in names)
    with pytest.raises(ConfigError, match=f"the column {names[-1]!r} clashes with"):
        dataclasses.replace(manifest, columns=columns)


def test_a_column_name_may_be_that_of_a_published_head(manifest: ModelManifest) -> None:
    column = dataclasses.replace(MOODS, name="emomusic-msd-musicnn-1.0_x")
    schema = model_schema(dataclasses.replace(manifest, columns=(column,)))
    assert schema.names[-2:] == [column.name, f"patch_{column.name}"]


def test_each_value_has_a_name_or_none_has() -> None:
    with pytest.raises(ConfigError, match="'moods' has 3 values and 2 names of classes"):
        dataclasses.replace(MOODS, n_dims=3)


def test_a_difference_names_every_field_with_both_values(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    ensure_manifest(tmp_path, manifest)
    other = dataclasses.replace(manifest, patch_hop_frames=187, patches=False)
    with pytest.raises(FingerprintError) as caught:
        ensure_manifest(tmp_path, other)
    assert "patch_hop_frames=93 (now 187)" in str(caught.value)
    assert "patches=True (now False)" in str(caught.value)
    assert "use a new output folder or the old value" in str(caught.value)


def test_licence_and_citation_are_no_part_of_the_fingerprint(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    ensure_manifest(tmp_path, manifest)
    ensure_manifest(tmp_path, dataclasses.replace(manifest, licence="CC BY", citation="Pons 2019"))
    assert read_manifest(tmp_path / "tiny").licence == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "holds no schema_version"),
        (b'{"schema_version": 1}', "Field required"),
        (b'{"schema_version": 3, "colour": 1}', "newer embedlib"),
        (b"\xff\xfe", "damaged"),
    ],
)
def test_a_model_json_that_cannot_be_read_is_one_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(OutputError, match=reason) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_field_of_the_same_schema_is_refused(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    data = {**dataclasses.asdict(manifest), "colour": "blue"}
    (tmp_path / "model.json").write_text(json.dumps(data))
    with pytest.raises(OutputError, match="colour"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("name", "embedding", "damaged: the column 'embedding' clashes"),
        ("n_dims", 7, "damaged: the column 'moods' has 7 values and 2 names"),
        ("n_dims", "2", "damaged: columns.0.n_dims"),
        ("colour", "blue", "damaged: columns.0.colour"),
    ],
)
def test_a_damaged_column_of_a_model_json_is_one_line(
    tmp_path: Path, manifest: ModelManifest, key: str, value: object, reason: str
) -> None:
    column = dataclasses.asdict(MOODS) | {key: value}
    data = dataclasses.asdict(manifest) | {"columns": [column]}
    (tmp_path / "model.json").write_text(json.dumps(data))
    with pytest.raises(OutputError, match=reason) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_model_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot read .*model\.json"):
        read_manifest(tmp_path)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, manifest: ModelManifest) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot write to"):
        ensure_manifest(tmp_path / "out", manifest)


@pytest.mark.parametrize("out", ["https://host/out", "memory://out", "ftp://host/out"])
def test_an_output_that_is_in_no_object_store_is_refused_with_a_way_out(out: str) -> None:
    with pytest.raises(ConfigError, match="give a folder, or a URL of s3://"):
        output_root(out)


def test_a_file_url_is_a_local_output() -> None:
    assert output_root("file:///tmp/out") == Path("/tmp/out")


def test_a_path_that_delta_tables_would_unquote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds '%20', which Delta tables cannot have"):
        output_root(tmp_path / "50%20off")


def test_a_url_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        output_root("https://me:secret@host/out")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("model", ["", "../up", "a/b", ".hidden", "catalog", "with space"])
def test_a_model_name_that_is_no_folder_name_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a model table"):
        model_folder(tmp_path, model)


def test_a_folder_of_something_else_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(OutputError, match=r"it holds holiday\.jpg"):
        existing_root(tmp_path)


def test_a_missing_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is not a folder"):
        existing_root(tmp_path / "nowhere")
