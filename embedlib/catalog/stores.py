"""Places in object stores, used as `pathlib.Path` is: the part of it that outputs need.

A folder of a store is a prefix of names: it is there as soon as something is in it. A file appears
whole or not at all.
"""

from __future__ import annotations

import errno
import io
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from embedlib.catalog.patience import patiently, reason_of, unanswered
from embedlib.catalog.uris import filesystem, store_errors

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class StoreStat:
    """What a store says of a file, by the names of `os.stat_result`.

    Attributes
    ----------
    st_size : int
        Bytes.
    """

    st_size: int


@dataclass(frozen=True, slots=True, order=True)
class StorePath:
    """A file or folder of an object store; a name that travels, the connection stays here.

    Methods are those of `pathlib.Path`. When the store does not answer, or refuses, they raise
    `RunError`, after `patiently` trying.

    Attributes
    ----------
    url : str
        ``s3://bucket/a/b``, without slash at the end.

    Examples
    --------
    >>> folder = StorePath("s3://bucket/out") / "msd-musicnn-1"
    >>> str(folder), folder.name, str(folder.parent)
    ('s3://bucket/out/msd-musicnn-1', 'msd-musicnn-1', 's3://bucket/out')
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> StorePath:
        """The folder that this lies in."""
        return StorePath(self.url.rpartition("/")[0])

    def absolute(self) -> StorePath:
        """Give itself: a URL is absolute."""
        return self

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder comes with what is in it."""

    def stat(self) -> StoreStat:
        """Tell the size of a file; raises `FileNotFoundError` where there is none."""
        return StoreStat(int(self._read(lambda store, key: store.info(key))["size"] or 0))

    def exists(self) -> bool:
        """Tell whether a file or a folder is here."""
        return self._kind() != ""

    def is_file(self) -> bool:
        """Tell whether a file is here."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Tell whether something lies below."""
        return self._kind() == "directory"

    def iterdir(self) -> Iterator[StorePath]:
        """Give what lies in this folder, files and folders."""
        for path in self._read(lambda store, key: store.ls(key, detail=False)):
            name = path.rstrip("/").rpartition("/")[2]
            if name != self.name:  # an object that marks the folder itself
                yield self / name

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """Give what lies below and has a name like `pattern`."""
        found = self._read(lambda store, key: store.glob(f"{key}/{pattern}"))
        n_own = len(_key(self.url))
        yield from (StorePath(f"{self.url}{path[n_own:]}") for path in found)

    def read_bytes(self) -> bytes:
        """Read a file; raises `FileNotFoundError` where there is none."""
        content: bytes = self._read(lambda store, key: store.cat_file(key))
        return content

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read a file as text; raises `FileNotFoundError` where there is none."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write a file, over one that is there."""
        self._write(lambda store, key: store.pipe_file(key, content))

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write a file from text, over one that is there."""
        self.write_bytes(text.encode(encoding))

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete a file."""
        try:
            self._read(lambda store, key: store.rm_file(key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def open(self) -> io.RawIOBase:
        """Open a file for reading, range by range as they are asked for."""
        return _StoreFile(self)

    def read_range(self, start: int, stop: int) -> bytes:
        """Read some bytes of a file.

        Parameters
        ----------
        start, stop : int >= 0
            First byte, and the one after the last.

        Returns
        -------
        content : bytes
            Less where the file ends before.
        """
        content: bytes = self._read(lambda store, key: store.cat_file(key, start=start, end=stop))
        return content

    def upload(self, path: Path) -> None:
        """Put a local file here, over one that is there.

        Parameters
        ----------
        path : Path
            The file.

        Raises
        ------
        OSError
            If the store does not take it. Another machine may have more luck, so that this is no
            error of ours yet.
        """
        try:
            patiently(lambda: self._ask(lambda store, key: store.put_file(str(path), key)))
        except store_errors() as exc:
            raise OSError(errno.EIO, f"{self.url} cannot be written: {reason_of(exc)}") from exc

    def create(self, content: bytes) -> bool:
        """Create a file, unless somebody else has.

        Parameters
        ----------
        content : bytes
            All of it.

        Returns
        -------
        created : bool
            False if the file was already there; it is left as it is. Where the store is not
            `is_exclusive`, and somebody else does the same at the same moment, both may succeed.
        """
        if self.exists():
            return False
        try:
            self._write(lambda store, key: store.pipe_file(key, content, mode="create"))
        except FileExistsError:
            return False
        return True

    def is_exclusive(self) -> bool:
        """Try whether of two that create one file here the second is told so.

        Returns
        -------
        is_exclusive : bool
            False where the store lets both succeed.

        Raises
        ------
        RunError
            If the store does not take conditional writes at all.
        """
        name = f".embedlib-{uuid.uuid4().hex}"
        self._write(lambda store, key: store.pipe_file(f"{key}/{name}", b"", mode="create"))
        try:
            self._write(lambda store, key: store.pipe_file(f"{key}/{name}", b"", mode="create"))
        except FileExistsError:
            return True
        finally:
            (self / name).unlink(missing_ok=True)
        return False

    def _kind(self) -> str:
        try:
            return str(self._read(lambda store, key: store.info(key))["type"])
        except FileNotFoundError:
            return ""

    def _ask(self, work: Callable[[Any, str], Answer]) -> Answer:
        store, key = filesystem(self.url)
        store.invalidate_cache()  # others write here too
        return work(store, key)

    def _read(self, work: Callable[[Any, str], Answer]) -> Answer:
        try:
            return patiently(lambda: self._ask(work))
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url) from None
        except store_errors() as exc:
            raise unanswered(self.url, exc) from exc

    def _write(self, work: Callable[[Any, str], object]) -> None:
        try:
            patiently(lambda: self._ask(work))
        except FileExistsError:
            raise
        except store_errors() as exc:  # also that there is no such bucket
            raise unanswered(self.url, exc) from exc


Place: TypeAlias = Path | StorePath
"""Where something of an output lies."""


class _StoreFile(io.RawIOBase):
    """Ranges of an object as a file, each a request of its own: Parquet asks for what it needs."""

    def __init__(self, path: StorePath) -> None:
        self._path = path
        self._n_bytes = path.stat().st_size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._n_bytes}
        self._position = origin[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._n_bytes)
        if stop <= self._position:
            return 0
        content = self._path.read_range(self._position, stop)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _key(url: str) -> str:
    return filesystem(url)[1]
