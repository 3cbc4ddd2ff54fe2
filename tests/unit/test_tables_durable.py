"""Files that are whole or absent, on a disk and in a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from embedlib.catalog.stores import Place, StorePath
from embedlib.tables.durable import whole_file


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield tmp_path if request.param == "disk" else StorePath("memory://bucket/out")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_files_of_one_name_that_are_written_at_once_stay_apart(folder: Place) -> None:
    # So are the parts of two models for one shard and one attempt.
    first, second = folder / "musicnn" / "part-a.parquet", folder / "vggish" / "part-a.parquet"
    for path in (first, second):
        path.parent.mkdir(parents=True)
    with whole_file(first) as one, whole_file(second) as other:
        one.write_text("musicnn")
        other.write_text("vggish")
    assert (first.read_text(), second.read_text()) == ("musicnn", "vggish")


def test_a_file_that_is_not_finished_is_not_there(folder: Place) -> None:
    path = folder / "part-a.parquet"
    with suppress(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert not path.exists()
    assert not temporary.exists()
