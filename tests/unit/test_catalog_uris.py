from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedlib.catalog.files import local_files, look_up
from embedlib.catalog.uris import absolute, is_url, masked, store_errors
from embedlib.catalog.version import local_version, remote_version
from embedlib.errors import CatalogError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://key:se/cr+et@bucket/a.wav", "s3://***@bucket/a.wav"),
        ("https://ann:p@ss@host:80/a.wav", "https://***@host:80/a.wav"),
        ("https://token@host/a.wav", "https://***@host/a.wav"),
        ("https://host/a.wav?sig=secret&b=2", "https://host/a.wav?***"),
        ("GET ftp://u:p@h/a failed: ftp://u:p@h/b", "GET ftp://***@h/a failed: ftp://***@h/b"),
        ("https://host:8080/a@b.wav", "https://host:8080/a@b.wav"),
        ("s3://bucket/who?.wav", "s3://bucket/who?.wav"),
        ("/music/a@b: who?.wav", "/music/a@b: who?.wav"),
    ],
)
def test_credentials_are_masked_and_nothing_else(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize("uri", ["s3://b/x", "memory://x", "zip://a::s3://b/x.zip", "https://h/x"])
def test_urls_are_known_by_their_protocol(uri: str) -> None:
    assert is_url(uri)


@pytest.mark.parametrize("uri", ["a.wav", "/a:b.wav", "file:///a", "1://x", "~/x", "a%3A//b"])
def test_paths_are_no_urls(uri: str) -> None:
    assert not is_url(uri)


@pytest.mark.parametrize(
    ("source", "folder", "expected"),
    [
        ("a/../b.wav", "/x", "/x/b.wav"),
        ("file:///a b%20.wav", "/x", "/a b%20.wav"),
        ("b.wav", "s3://bucket/cat", "s3://bucket/cat/b.wav"),
        ("/b.wav", "s3://bucket/cat", "/b.wav"),
        ("s3://c/b.wav", "/x", "s3://c/b.wav"),
    ],
)
def test_a_source_has_one_absolute_form(source: str, folder: str, expected: str) -> None:
    assert absolute(source, folder=folder) == expected


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"ETag": '"abc-2"', "LastModified": "x"}, "abc-2"),
        ({"etag": "abc"}, "abc"),
        ({"md5Hash": "m==", "generation": "7"}, "m=="),
        ({"ETag": None, "generation": 7}, "7"),
        ({"ETag": "", "mtime": 1.5}, "1.5"),
        ({"size": 3}, ""),
    ],
)
def test_the_version_of_an_object_is_the_most_telling_key(
    info: dict[str, object], version: str
) -> None:
    assert remote_version(info) == version


def test_the_version_of_a_file_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"")
    before = local_version(path.stat())

    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    assert local_version(path.stat()) == str(int(before) + 1)


@pytest.mark.parametrize("name", ["gone", "a.wav/x", "x" * 300, "loop"])
def test_a_file_that_cannot_be_there_is_looked_up_as_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")

    assert look_up([str(tmp_path / name)]) == [(-1, "")]


def test_a_disk_that_does_not_answer_stops_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(path: str) -> None:
        raise OSError(116, "Stale file handle", path)

    monkeypatch.setattr(os, "stat", stale)

    with pytest.raises(CatalogError, match=r"/nfs/a\.wav cannot be read: Stale file handle"):
        look_up(["/nfs/a.wav"])


def test_a_folder_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", denied)

    with pytest.raises(CatalogError, match=f"{tmp_path} cannot be read: Permission denied"):
        list(local_files(str(tmp_path)))


def test_errors_of_a_client_that_is_loaded_count_as_those_of_a_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = SimpleNamespace(HttpError=type("HttpError", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "gcsfs.retry", client)  # type: ignore[arg-type]

    assert client.HttpError in store_errors()
