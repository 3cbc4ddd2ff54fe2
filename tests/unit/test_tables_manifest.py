"""The fingerprint of a table: written once, compared ever after."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from embedlib.errors import ConfigError, FingerprintError, OutputError
from embedlib.tables.layout import existing_root, model_folder, output_root
from embedlib.tables.manifest import ModelManifest, ensure_manifest, read_manifest


def test_a_manifest_reads_back_equal(tmp_path: Path, manifest: ModelManifest) -> None:
    ensure_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path / "tiny") == manifest


def test_the_same_manifest_is_accepted_again(tmp_path: Path, manifest: ModelManifest) -> None:
    ensure_manifest(tmp_path, manifest)
    ensure_manifest(tmp_path, manifest)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["model.json"]


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
        (b'{"schema_version": 2, "colour": 1}', "newer embedlib"),
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


def test_a_missing_model_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot read .*model\.json"):
        read_manifest(tmp_path)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, manifest: ModelManifest) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot write to"):
        ensure_manifest(tmp_path / "out", manifest)


@pytest.mark.parametrize("out", ["s3://bucket/out", "gs://bucket", "file:///tmp/out"])
def test_a_url_as_output_is_refused_with_a_way_out(out: str) -> None:
    with pytest.raises(ConfigError, match="give the path of a folder"):
        output_root(out)


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
