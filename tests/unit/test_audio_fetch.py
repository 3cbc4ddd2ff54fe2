"""Fetching: bytes are hashed in one pass, and a file that is not the planned one is noticed."""

from __future__ import annotations

import errno
import hashlib
import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedlib.audio.fetch import REMOTE_BLOCK_BYTES, local_copy
from embedlib.catalog import patience
from embedlib.catalog.uris import stored
from embedlib.catalog.version import local_version
from embedlib.errors import ChangedAudioError, MissingAudioError, UnreadableAudioError
from embedlib.records import Track

CONTENT = b"some bytes" * 1_000


class EtagStore(MemoryFileSystem):  # type: ignore[misc]
    """A store in memory whose objects have an etag, as those of S3 do."""

    protocol = "etag"
    store: dict[str, Any] = {}  # noqa: RUF012  its base has it as a class attribute too
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("etag://", "memory://")))

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        etag = hashlib.md5(self.cat_file(path)).hexdigest()
        return {**super().info(path, **kwargs), "ETag": f'"{etag}"'}


@pytest.fixture
def etag_store() -> Iterator[EtagStore]:
    fsspec.register_implementation("etag", EtagStore, clobber=True)
    store = EtagStore(skip_instance_cache=True)
    yield store
    EtagStore.store.clear()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(CONTENT)
    return path


def planned(path: Path) -> Track:
    stat = path.stat()
    return Track("t", str(path), stat.st_size, local_version(stat))


def remote(uri: str, content: bytes) -> Track:
    return Track("t", uri, len(content), hashlib.md5(content).hexdigest())


def test_a_local_file_is_used_where_it_is(song: Path) -> None:
    with local_copy(planned(song)) as audio:
        assert (audio.path, audio.size) == (str(song), len(CONTENT))


@pytest.mark.parametrize("prefix", ["", "file://", "local://"])
def test_the_hash_is_that_of_the_bytes(song: Path, prefix: str) -> None:
    with local_copy(Track("t", f"{prefix}{song}", -1, "")) as audio:
        assert audio.content_hash == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def test_a_relative_path_is_made_absolute(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(song.parent)
    with local_copy(Track("t", "song.wav", -1, "")) as audio:
        assert audio.path == str(song)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with (
        pytest.raises(MissingAudioError, match=r"gone\.wav does not exist"),
        local_copy(Track("t", str(tmp_path / "gone.wav"), 3, "1")),
    ):
        pass


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    with (
        pytest.raises(UnreadableAudioError, match="Is a directory"),
        local_copy(Track("t", str(tmp_path), -1, "")),
    ):
        pass


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refused_file_is_unreadable(
    song: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_stat(song, number, monkeypatch)
    with pytest.raises(UnreadableAudioError), local_copy(Track("t", str(song), -1, "")):
        pass


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_trouble_of_the_disk_is_no_result_about_the_file(
    song: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_stat(song, number, monkeypatch)
    with pytest.raises(OSError) as caught, local_copy(Track("t", str(song), -1, "")):  # noqa: PT011
        pass
    assert caught.value.errno == number


def fail_stat(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    true_stat = os.stat

    def stat(name: Any, **kwargs: Any) -> os.stat_result:
        if name == str(path):
            raise OSError(number, os.strerror(number), name)
        return true_stat(name, **kwargs)

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize(("size", "version"), [(len(CONTENT) + 1, None), (len(CONTENT), "17")])
def test_another_version_than_planned_is_changed(
    song: Path, size: int, version: str | None
) -> None:
    track = Track("t", str(song), size, version or planned(song).version)
    with pytest.raises(ChangedAudioError, match="changed since it was planned"), local_copy(track):
        pass


@pytest.mark.parametrize("version", ["", "planned"])
def test_a_file_that_changes_while_it_is_decoded_is_changed(song: Path, version: str) -> None:
    track = planned(song) if version else Track("t", str(song), -1, "")
    with local_copy(track) as audio:
        song.write_bytes(CONTENT + b"more")
        with pytest.raises(ChangedAudioError, match="size 10004 bytes, planned 10000"):
            audio.check_unchanged()


def test_an_unplanned_file_may_have_any_version(song: Path) -> None:
    with local_copy(Track("t", str(song), 5, "")) as audio:
        audio.check_unchanged()
        assert audio.size == len(CONTENT)


def test_an_object_is_copied_and_the_copy_is_deleted(etag_store: EtagStore) -> None:
    etag_store.pipe_file("/a/song.flac", CONTENT)
    with local_copy(remote("etag://a/song.flac", CONTENT)) as audio:
        copy = Path(audio.path)
        audio.check_unchanged()
        assert copy.suffix == ".flac"
        assert copy.read_bytes() == CONTENT
    assert not copy.exists()


def test_an_object_longer_than_a_block_arrives_whole(etag_store: EtagStore) -> None:
    content = os.urandom(REMOTE_BLOCK_BYTES + 7)
    etag_store.pipe_file("/long.wav", content)
    with local_copy(remote("etag://long.wav", content)) as audio:
        assert audio.content_hash == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_credentials_of_a_url_are_not_shown(etag_store: EtagStore) -> None:
    track = remote("etag://ann:secret@a/gone.flac?signature=ab12", CONTENT)
    with pytest.raises(MissingAudioError) as caught, local_copy(track):
        pass
    assert "secret" not in str(caught.value)
    assert "ab12" not in str(caught.value)


def test_a_missing_object_is_missing(etag_store: EtagStore) -> None:
    with (
        pytest.raises(MissingAudioError, match="etag://a/gone"),
        local_copy(remote("etag://a/gone.flac", CONTENT)),
    ):
        pass


def test_another_etag_than_planned_is_changed(etag_store: EtagStore) -> None:
    etag_store.pipe_file("/song.flac", CONTENT[::-1])
    with (
        pytest.raises(ChangedAudioError, match="version"),
        local_copy(remote("etag://song.flac", CONTENT)),
    ):
        pass


def test_an_object_that_is_replaced_while_it_is_read_is_changed(
    etag_store: EtagStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag_store.pipe_file("/song.flac", CONTENT)

    def replaced_after_open(self: EtagStore, path: str, *args: Any, **kwargs: Any) -> Any:
        before = MemoryFileSystem._open(self, path, *args, **kwargs)
        monkeypatch.undo()
        etag_store.pipe_file("/song.flac", CONTENT[::-1])
        return before

    monkeypatch.setattr(EtagStore, "_open", replaced_after_open)
    with pytest.raises(ChangedAudioError), local_copy(remote("etag://song.flac", CONTENT)):
        pass


def test_an_object_that_gives_more_than_it_announced_is_changed(
    etag_store: EtagStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag_store.pipe_file("/song.flac", CONTENT)
    whole = EtagStore.info
    monkeypatch.setattr(EtagStore, "info", lambda *args: {**whole(*args), "size": 10})
    track = replace(remote("etag://song.flac", CONTENT), size=10)
    with pytest.raises(ChangedAudioError, match="more than 10 bytes came"), local_copy(track):
        pass


@pytest.mark.parametrize("error", [PermissionError("403"), TimeoutError("slow"), OSError("reset")])
def test_trouble_of_a_store_passes_through(
    etag_store: EtagStore, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    monkeypatch.setattr(patience, "DELAYS_S", ())

    def fail(self: EtagStore, path: str, **kwargs: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(EtagStore, "info", fail)
    with (
        pytest.raises(type(error), match=str(error)),
        local_copy(remote("etag://song.flac", CONTENT)),
    ):
        pass


def test_trouble_of_a_store_that_passes_is_outlasted(
    etag_store: EtagStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "DELAYS_S", (0.0, 0.0))
    etag_store.pipe_file("/song.flac", CONTENT)
    troubles = [TimeoutError("slow"), ConnectionResetError("reset")]
    opened = MemoryFileSystem._open

    def fail_twice(self: EtagStore, path: str, *args: Any, **kwargs: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return opened(self, path, *args, **kwargs)

    monkeypatch.setattr(EtagStore, "_open", fail_twice)
    with local_copy(remote("etag://song.flac", CONTENT)) as audio:
        assert Path(audio.path).read_bytes() == CONTENT


def test_what_a_store_says_of_a_signed_url_is_passed_on_without_the_signature(
    etag_store: EtagStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: EtagStore, path: str, **kwargs: Any) -> dict[str, Any]:
        raise PermissionError("403 for https://host/song.flac?sig=ab12")

    monkeypatch.setattr(EtagStore, "info", refuse)
    with (
        pytest.raises(OSError, match=r"403 for https://host/song\.flac") as caught,
        local_copy(remote("etag://song.flac", CONTENT)),
    ):
        pass
    assert "ab12" not in "".join(traceback.format_exception(caught.value))


def test_what_a_table_keeps_of_a_signed_url_is_no_missing_file() -> None:
    with (
        pytest.raises(UnreadableAudioError, match="not kept; list its source again"),
        local_copy(Track("t", stored("https://host/song.flac?sig=ab12"), 1, "v")),
    ):
        pass
