"""Walk folders and stores, and look single files up: name, size and version, no audio."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from embedlib.catalog.allowed import ANYWHERE, Allowed
from embedlib.catalog.uris import is_url, refusal_behind, store_errors, unreadable
from embedlib.catalog.version import local_version, remote_version
from embedlib.errors import CatalogError

N_LOOK_UPS = 32
"""Files of a manifest looked up at a time: that waits for a disk or a store, not for a core."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG})
# The file itself is at fault; any other errno is the disk or the network.


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as its source holds it.

    Attributes
    ----------
    name : str
        Path relative to the root of the source, with ``/`` separators.
    uri : str
        Absolute local path, or URL.
    size : int
        Bytes; -1 where the source does not say.
    version : str
        Changes when the file does.
    """

    name: str
    uri: str
    size: int
    version: str


def look_up(uris: Sequence[str], *, allowed: Allowed = ANYWHERE) -> list[tuple[int, str]]:
    """Tell size and version of files, whether they are there or not.

    Parameters
    ----------
    uris : sequence of str
        Absolute local paths and URLs, which may be asked for.
    allowed : Allowed
        Where the servers of URLs may send us.

    Returns
    -------
    found : list of (int, str)
        Size in bytes and version of each; -1 and "" of those that are not there.

    Raises
    ------
    CatalogError
        If a disk or a store does not answer.
    SourceRefusedError
        If a server is, or sends us, where it may not be.
    ConfigError
        If the package for a URL is not installed.
    """
    n_threads = min(N_LOOK_UPS, max(1, len(uris)))
    found = [(-1, "")] * len(uris)
    # A share for each thread: handing over a file of its own takes longer than looking it up.
    shares = [slice(first, None, n_threads) for first in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as pool:
        look = partial(_look_up_all, allowed=allowed)
        for share, part in zip(shares, pool.map(look, map(uris.__getitem__, shares)), strict=True):
            found[share] = part
    return found


def local_files(root: str, *, max_depth: int | None = None) -> Iterator[SourceFile]:
    """Walk a local folder, as ``find -L`` does.

    Hidden files and folders are left out. Links are followed, but not into a folder that the walk
    is inside of. A link to nothing is a file of size -1.

    Parameters
    ----------
    root : str
        Absolute path of a folder.
    max_depth : int, optional
        Levels to descend; 1 lists the folder alone. No limit by default.

    Yields
    ------
    file : SourceFile
        In the order of the names, level by level.

    Raises
    ------
    CatalogError
        If a folder cannot be read, or a name is not UTF-8.
    """
    try:
        yield from _walk(root, "", max_depth, ancestors=())
    except OSError as exc:
        raise unreadable(str(exc.filename or root), exc) from exc


def remote_files(
    url: str, *, max_depth: int | None = None, allowed: Allowed = ANYWHERE
) -> Iterator[SourceFile]:
    """Walk a folder of a store.

    Parameters
    ----------
    url : str
        fsspec URL of a folder.
    max_depth : int, optional
        Levels to descend; no limit by default.
    allowed : Allowed
        Where the server of the URL may send us.

    Yields
    ------
    file : SourceFile
        In the order of the names; hidden ones are left out.

    Raises
    ------
    CatalogError
        If the store does not answer.
    """
    store, root = allowed.store(url)
    try:
        found = store.find(root, maxdepth=max_depth, detail=True)
    except store_errors() as exc:
        raise unreadable(url, exc) from exc
    for path, info in sorted(found.items()):
        name = path.removeprefix(root.rstrip("/")).lstrip("/")
        if info["type"] == "file" and not _is_hidden(name):
            yield SourceFile(name, _url_of(store, path, url), *_size_and_version(info))


def remote_kind(url: str, *, allowed: Allowed = ANYWHERE) -> str:
    """Ask a store what lies at a URL.

    Parameters
    ----------
    url : str
        fsspec URL.
    allowed : Allowed
        Where the server of the URL may send us.

    Returns
    -------
    kind : str
        ``file``, ``directory`` or ``missing``.

    Raises
    ------
    CatalogError
        If the store does not answer.
    ConfigError
        If the package for the URL is not installed.
    """
    info = _remote_info(url, allowed)
    return "missing" if info is None else str(info["type"])


def check_name(name: str) -> str:
    """Refuse a name that no table can hold.

    Parameters
    ----------
    name : str
        Path as the operating system gave it.

    Returns
    -------
    name : str
        The same.

    Raises
    ------
    CatalogError
        If its bytes are not UTF-8.
    """
    if is_utf8(name):
        return name
    raise CatalogError(f"the name {name!a} is not valid UTF-8", fix="rename the file")


def is_utf8(text: str) -> bool:
    r"""Tell whether a text can be stored: Python keeps bytes it cannot decode as surrogates.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    is_utf8 : bool
        Whether it encodes.

    Examples
    --------
    >>> is_utf8("é"), is_utf8(b"\xe9".decode("utf-8", "surrogateescape"))
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(
    folder: str, prefix: str, depth: int | None, *, ancestors: tuple[tuple[int, int], ...]
) -> Iterator[SourceFile]:
    stats = os.stat(folder)
    identity = (stats.st_dev, stats.st_ino)
    if identity in ancestors or depth == 0:
        return
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not _is_hidden(e.name)), key=lambda e: e.name)
    for entry in visible:
        name = check_name(prefix + entry.name)
        if entry.is_dir():
            below = None if depth is None else depth - 1
            yield from _walk(entry.path, name + "/", below, ancestors=(*ancestors, identity))
        elif entry.is_file() or _is_dangling(entry):
            yield SourceFile(name, entry.path, *_look_up_local(entry.path))


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _is_hidden(name: str) -> bool:
    return any(component.startswith(".") for component in name.split("/"))


def _look_up_all(uris: Sequence[str], *, allowed: Allowed) -> list[tuple[int, str]]:
    return [_look_up_one(uri, allowed) for uri in uris]


def _look_up_one(uri: str, allowed: Allowed) -> tuple[int, str]:
    if not is_url(uri):
        return _look_up_local(uri)
    info = _remote_info(uri, allowed)
    return (-1, "") if info is None else _size_and_version(info)


def _remote_info(url: str, allowed: Allowed) -> Mapping[str, object] | None:
    store, path = allowed.store(url)
    try:
        info: Mapping[str, object] = store.info(path)
    except FileNotFoundError as exc:
        if refusal := refusal_behind(exc):
            raise refusal from exc
        return None
    except store_errors() as exc:
        raise unreadable(url, exc) from exc
    return info


def _look_up_local(path: str) -> tuple[int, str]:
    try:
        stats = os.stat(path)
    except OSError as exc:
        if exc.errno in _ABSENT:
            return -1, ""
        raise unreadable(path, exc) from exc
    return (stats.st_size if stat.S_ISREG(stats.st_mode) else -1), local_version(stats)


def _size_and_version(info: Mapping[str, object]) -> tuple[int, str]:
    size = info.get("size")
    return (-1 if size is None else int(str(size))), remote_version(info)


def _url_of(store: Any, path: str, url: str) -> str:
    _, link, chain = url.partition("::")
    return f"{store.unstrip_protocol(path)}{link}{chain}"
