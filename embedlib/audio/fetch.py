"""Bring the file of a track within reach of the decoder, and notice when it is not the planned one.

The first stop of a track. A file that turns out missing, locked or changed is a result
(`AudioError`); a store that does not answer is not: its error passes through, for the scheduler
to try again.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from stat import S_ISDIR, S_ISREG
from typing import IO

from fsspec import AbstractFileSystem

from embedlib.catalog.allowed import ANYWHERE, WAY_OUT, Allowed
from embedlib.catalog.patience import patiently, reason_of
from embedlib.catalog.uris import (
    absolute,
    is_url,
    lacks_credentials,
    masked,
    refusal_behind,
    store_errors,
    without_query,
)
from embedlib.catalog.version import local_version, remote_version
from embedlib.errors import (
    AudioDeadlineError,
    ChangedAudioError,
    MissingAudioError,
    SourceRefusedError,
    UnreadableAudioError,
)
from embedlib.records import Track

LOCAL_BLOCK_BYTES = 1 << 17
"""Read into the cache of a core: 1 MiB takes 1.6 times as long to read and hash a WAV file."""
REMOTE_BLOCK_BYTES = 8 << 20
"""One request to a store per block: large enough to hide its latency, small enough for memory."""

UNANNOUNCED_BYTES = 4 << 30
"""Most that is taken of a file whose server tells no size: as much as a WAV file can hold."""

UNREADABLE_ERRNOS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""What a local file system says about a file; other errors (EIO, ESTALE ...) are about itself."""

_LIST_AGAIN = "`embedlib index --out OUT` lists the sources again"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Size and version of a file at one moment.

    Attributes
    ----------
    size : int
        Bytes.
    version : str
        As `embedlib.catalog.version` tells it.
    """

    size: int
    version: str


@dataclass(frozen=True, slots=True)
class LocalAudio:
    """A file that the decoder can open by its path.

    Attributes
    ----------
    path : str
        Absolute local path: of the file itself, or of a temporary copy.
    name : str
        What people know it by: `path`, or the URL without credentials.
    size : int
        Bytes that were read.
    content_hash : str
        ``sha256:<hex>`` of these bytes.
    planned : Sighting or None
        What `path` must still be when decoding ends; None for a copy, which nobody else writes.
    """

    path: str
    name: str
    size: int
    content_hash: str
    planned: Sighting | None = None

    def check_unchanged(self) -> None:
        """Compare the file with the planned version; call it after the last byte was decoded.

        Raises
        ------
        ChangedAudioError
            If size or version differ.
        MissingAudioError
            If the file is gone.
        """
        if self.planned is not None:
            _compare(_sight_local(self.path), self.planned, name=self.name)


@contextmanager
def local_copy(
    track: Track, *, cpu_deadline_s: float = math.inf, allowed: Allowed = ANYWHERE
) -> Iterator[LocalAudio]:
    """Give a local path with the bytes of a track, hashed, for as long as the context lasts.

    Local files are used where they are; others are streamed in blocks into a temporary file,
    which is deleted at the end. Size and version are compared with the planned ones before the
    first and after the last byte; a track without `version` was never planned, so its file need
    only stay as it is found.

    Parameters
    ----------
    track : Track
        Its `uri`, `size` and `version` are read.
    cpu_deadline_s : float
        What a local file may take to be hashed: one with holes can be larger than any disk.
    allowed : Allowed
        Where the track may lie.

    Yields
    ------
    audio : LocalAudio
        What to decode.

    Raises
    ------
    MissingAudioError
        If there is no such file.
    UnreadableAudioError
        If the local file system refuses to hand it out, it lies where it may not, or it has no end.
    ChangedAudioError
        If it is not the version that was planned.
    AudioDeadlineError
        If a local file has not come to its end by then.
    OSError
        If the store fails for longer than `patiently` waits, or the disk. Clients of stores have
        errors of their own, which pass through too, unless they quote credentials.
    ConfigError
        If fsspec does not know the protocol of the URL.
    """
    uri = allowed.followed(absolute(track.uri))
    if reason := allowed.refusal(uri):
        raise UnreadableAudioError(f"{masked(track.uri)} is refused: {reason}", fix=WAY_OUT)
    if not is_url(uri):
        yield _read_in_place(uri, track, cpu_deadline_s)
        return
    if lacks_credentials(track.uri):
        raise UnreadableAudioError(
            f"the credentials in {track.uri} are not kept", fix="list its source again"
        )
    store, path = allowed.store(track.uri)
    suffix = os.path.splitext(without_query(path))[1]
    with tempfile.NamedTemporaryFile(prefix="embedlib-", suffix=suffix) as copy:
        yield _fetch(store, path, copy, track)


def _read_in_place(path: str, track: Track, cpu_deadline_s: float) -> LocalAudio:
    with _local_errors(path):
        planned = _planned(track, _sight_local(path))
        with open(path, "rb") as file:
            look = _look_at_clock(path, cpu_deadline_s)
            content_hash = _hash_blocks(file, LOCAL_BLOCK_BYTES, keep=look)
    audio = LocalAudio(path, path, planned.size, content_hash, planned)
    audio.check_unchanged()
    return audio


def _fetch(store: AbstractFileSystem, path: str, copy: IO[bytes], track: Track) -> LocalAudio:
    try:
        return patiently(lambda: _download(store, path, copy, track))
    except SourceRefusedError as exc:
        raise UnreadableAudioError(
            f"{masked(track.uri)} is refused: {exc.args[0]}", fix=exc.fix
        ) from exc
    except store_errors() as exc:
        if masked(str(exc)) == str(exc):
            raise
        # Without its cause, which a traceback in a log would show.
        raise OSError(reason_of(exc)) from None


def _download(store: AbstractFileSystem, path: str, copy: IO[bytes], track: Track) -> LocalAudio:
    name = masked(track.uri)
    copy.seek(0)
    copy.truncate()  # of an earlier try
    try:
        planned = _planned(track, _sight_remote(store, path))
        # Without a cache, which would hold a second and larger block.
        with store.open(path, "rb", cache_type="none") as source:
            keep = _within(planned.size, copy, name=name)
            content_hash = _hash_blocks(source, REMOTE_BLOCK_BYTES, keep=keep)
        _compare(_sight_remote(store, path), planned, name=name)
    except FileNotFoundError as exc:
        raise refusal_behind(exc) or _missing(name) from exc
    copy.flush()
    size = copy.tell()
    if planned.size not in (-1, size):
        raise _changed(name, f"{size} bytes were read, {planned.size} were planned")
    return LocalAudio(copy.name, name, size, content_hash)


def _hash_blocks(
    source: IO[bytes], block_bytes: int, *, keep: Callable[[bytes], object] | None = None
) -> str:
    digest = hashlib.sha256()
    while block := source.read(block_bytes):
        digest.update(block)
        if keep is not None:
            keep(block)
    return f"sha256:{digest.hexdigest()}"


def _within(size: int, copy: IO[bytes], *, name: str) -> Callable[[bytes], None]:
    """Make what writes blocks, and refuses those of a stream that does not end where it should."""

    def keep(block: bytes) -> None:
        n_bytes = copy.tell() + len(block)
        if size != -1 and n_bytes > size:
            raise _changed(name, f"more than {size} bytes came, {size} were planned")
        if n_bytes > UNANNOUNCED_BYTES and size == -1:
            raise UnreadableAudioError(
                f"{name} gave {n_bytes} bytes without an end, and its server tells no size",
                fix="bring the file to a disk or a store, and list it there",
            )
        copy.write(block)

    return keep


def _look_at_clock(path: str, cpu_deadline_s: float) -> Callable[[bytes], None]:
    """Make what refuses blocks of a file that come too late."""
    began_s = time.thread_time()

    def look(_: bytes) -> None:
        if time.thread_time() - began_s > cpu_deadline_s:
            raise AudioDeadlineError(
                f"{path} took more CPU time to hash than cpu_deadline_s={cpu_deadline_s:g}",
                fix="raise the limit",
            )

    return look


def _sight_local(path: str) -> Sighting:
    with _local_errors(path):
        stat = os.stat(path)
    if not (S_ISREG(stat.st_mode) or S_ISDIR(stat.st_mode)):
        # A pipe may be waited for without end, and a device be read without end.
        raise UnreadableAudioError(f"{path} is a pipe or a device", fix="leave it out")
    return Sighting(stat.st_size, local_version(stat))


def _sight_remote(store: AbstractFileSystem, path: str) -> Sighting:
    store.invalidate_cache(path)  # else a listing from before the change may answer
    info = store.info(path)
    size = info.get("size")
    return Sighting(-1 if size is None else int(size), remote_version(info))


def _planned(track: Track, seen: Sighting) -> Sighting:
    """Tell what the file must be from first to last byte, after comparing it with the plan."""
    if track.version:
        _compare(seen, Sighting(track.size, track.version), name=masked(track.uri))
    return seen


def _compare(seen: Sighting, planned: Sighting, *, name: str) -> None:
    if -1 not in (planned.size, seen.size) and planned.size != seen.size:
        raise _changed(name, f"size {seen.size} bytes, planned {planned.size}")
    if seen.version != planned.version:
        raise _changed(name, f"version {seen.version!r}, planned {planned.version!r}")


@contextmanager
def _local_errors(path: str) -> Iterator[None]:
    """Turn what the file system says about one file into a result; let its own failures pass."""
    try:
        yield
    except FileNotFoundError as exc:
        raise _missing(path) from exc
    except OSError as exc:
        if exc.errno not in UNREADABLE_ERRNOS:
            raise
        raise UnreadableAudioError(
            f"{path} cannot be read: {exc.strerror}", fix="check its permissions"
        ) from exc


def _missing(name: str) -> MissingAudioError:
    return MissingAudioError(f"{name} does not exist", fix=_LIST_AGAIN)


def _changed(name: str, difference: str) -> ChangedAudioError:
    return ChangedAudioError(f"{name} changed since it was planned: {difference}", fix=_LIST_AGAIN)
