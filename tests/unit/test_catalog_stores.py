"""Places in stores: what a folder on disk does, a folder of a store does likewise."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedlib.catalog.places import place, require_exclusive
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import ConfigError, RunError


@pytest.fixture
def store() -> Iterator[StorePath]:
    """A folder of a store that lives in this process, and takes conditional writes."""
    yield StorePath("memory://bucket/out")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, store: StorePath) -> Place:
    return tmp_path / "out" if request.param == "disk" else store


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3a://bucket//a", "s3://bucket/a"),
        ("gcs://bucket/a b/Müsik", "gs://bucket/a b/Müsik"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_a_store_has_one_url(text: str, url: str) -> None:
    assert place(text) == StorePath(url)


@pytest.mark.parametrize("text", ["out", "/a/b", "file:///a/b"])
def test_a_path_stays_a_path(text: str) -> None:
    assert place(text) == Path(text.removeprefix("file://"))


@pytest.mark.parametrize("name", ["a*", "a?", "[1]", "a#b", "50%20off"])
def test_a_name_that_clients_read_differently_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="choose another name"):
        place(f"s3://bucket/{name}")


@pytest.mark.parametrize(
    "url", ["s3://key:hush@bucket/out", "az://c/out?sig=hush&se=1", "https://me:hush@host/out"]
)
def test_a_url_with_credentials_is_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ConfigError, match="carries credentials") as caught:
        place(url)
    assert "hush" not in str(caught.value)


def test_a_place_travels(store: StorePath) -> None:
    (store / "a").write_text("é")
    assert pickle.loads(pickle.dumps(store / "a")).read_text(encoding="utf-8") == "é"


def test_what_was_written_is_read_back(folder: Place) -> None:
    path = folder / "runs" / "one.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in (b"longer", b"short"):
        path.write_bytes(content)
        assert (path.read_bytes(), path.stat().st_size) == (content, len(content))


def test_files_and_folders_are_told_apart(folder: Place) -> None:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.json").write_text("{}")
    found = [
        (path.exists(), path.is_dir(), path.is_file())
        for path in (folder / "model", folder / "model" / "model.json", folder / "none")
    ]
    assert found == [(True, True, False), (True, False, True), (False, False, False)]


def test_a_folder_lists_what_is_in_it(folder: Place) -> None:
    (folder / "sub").mkdir(parents=True)
    for name in ("b.parquet", ".part-a", "sub/c.parquet"):
        (folder / name).write_text("")
    assert sorted(path.name for path in folder.iterdir()) == [".part-a", "b.parquet", "sub"]
    assert [path.name for path in folder.glob("*.parquet")] == ["b.parquet"]
    assert list(folder.glob("*/c.parquet")) == [folder / "sub" / "c.parquet"]


@pytest.mark.parametrize("call", ["read_bytes", "stat", "unlink"])
def test_a_file_that_is_not_there_is_not_found(folder: Place, call: str) -> None:
    with pytest.raises(FileNotFoundError):
        getattr(folder / "none", call)()


def test_deleting_what_is_gone_is_allowed_on_request(folder: Place) -> None:
    folder.mkdir(parents=True)
    (folder / "a").write_text("")
    (folder / "a").unlink()
    (folder / "a").unlink(missing_ok=True)
    assert not (folder / "a").exists()


def test_of_two_that_create_a_file_the_first_one_wins(store: StorePath) -> None:
    assert [(store / "a").create(content) for content in (b"first", b"second")] == [True, False]
    assert (store / "a").read_bytes() == b"first"


def test_a_creator_who_is_overtaken_is_told(
    store: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "a").write_bytes(b"first")
    monkeypatch.setattr(StorePath, "exists", lambda _: False)  # as it was a moment ago
    assert not (store / "a").create(b"second")
    assert (store / "a").read_bytes() == b"first"


def test_parquet_reads_ranges_of_an_object(store: StorePath, tmp_path: Path) -> None:
    table = pa.table({"a": list(range(5_000)), "b": ["x"] * 5_000})
    pq.write_table(table, tmp_path / "a.parquet")
    (store / "a.parquet").upload(tmp_path / "a.parquet")
    with (store / "a.parquet").open() as source:
        assert pq.read_table(source, columns=["a"]).equals(table.select(["a"]))


def test_an_open_object_reads_as_a_file_does(store: StorePath, tmp_path: Path) -> None:
    (store / "a").write_bytes(b"0123456789")
    (tmp_path / "a").write_bytes(b"0123456789")
    steps = [(2, 0, 3), (1, 1, 2), (-3, 2, 9), (20, 0, 5), (0, 0, -1)]
    found = []
    for path in (store / "a", tmp_path / "a"):
        opened: Any = path.open() if isinstance(path, StorePath) else path.open("rb", buffering=0)
        with opened as file:
            found.append([(file.seek(at, whence), file.read(n)) for at, whence, n in steps])
    assert found[0] == found[1]


def test_a_store_that_takes_no_upload_is_a_failed_try_not_the_end(
    store: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError("403")

    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    with pytest.raises(OSError, match="memory://bucket/out/a cannot be written: 403"):
        (store / "a").upload(tmp_path)


def test_a_store_that_refuses_is_one_line(
    store: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError("403 Forbidden")

    monkeypatch.setattr(MemoryFileSystem, "info", refuse)
    with pytest.raises(RunError, match="cannot use the store of memory://bucket/out/a: 403"):
        (store / "a").exists()


def test_a_store_with_conditional_writes_is_fit_for_several_writers(store: StorePath) -> None:
    require_exclusive(store, single_writer=False)
    assert not store.exists()


def test_a_store_without_them_needs_a_single_writer(
    store: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = MemoryFileSystem.pipe_file
    monkeypatch.setattr(
        MemoryFileSystem, "pipe_file", lambda self, path, value, **_: pipe(self, path, value)
    )
    with pytest.raises(ConfigError, match=r"two writers create one file.*--single-writer"):
        require_exclusive(store, single_writer=False)
    require_exclusive(store, single_writer=True)
