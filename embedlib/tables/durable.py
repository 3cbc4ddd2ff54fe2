"""Files that are whole or absent: written under a temporary name, synced, then named."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedlib.catalog.patience import unanswered
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import OutputError

_CONTINUE = "then run the same command again, it continues"

# Only what a person must mend. Any other OSError (EIO, ESTALE, a vanished mount) passes through:
# those are infrastructure, and whether to try again is decided by the scheduler.
_REFUSALS = {
    errno.ENOSPC: ("its disk is full", f"free space, {_CONTINUE}"),
    errno.EDQUOT: ("its disk quota is used up", f"free space or raise the quota, {_CONTINUE}"),
    errno.EFBIG: ("a file would pass the size limit", f"raise `ulimit -f`, {_CONTINUE}"),
    errno.EROFS: ("its file system is read-only", "give an output folder that can be written"),
    errno.EACCES: ("permission denied", "give an output folder that can be written"),
    errno.ENOTDIR: ("a part of its path is a file", "give the path of a folder"),
    errno.EEXIST: ("it is a file", "give the path of a folder"),
}
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def refusals(folder: Place) -> Iterator[None]:
    """Turn the errors of a full or unwritable disk or store into one line that names the folder.

    Parameters
    ----------
    folder : Path or StorePath
        Where the caller writes.

    Yields
    ------
    None
        Once.

    Raises
    ------
    OutputError
        If the disk is full or may not be written.
    RunError
        If a store does not answer.
    """
    try:
        yield
    except OSError as exc:
        if isinstance(folder, StorePath):
            raise unanswered(folder.url, exc) from exc
        code = _error_code(exc)
        if code not in _REFUSALS:
            raise
        reason, fix = _REFUSALS[code]
        raise OutputError(f"cannot write to {folder}: {reason}", fix=fix) from exc


@contextmanager
def whole_file(final: Place) -> Iterator[Path]:
    """Let the caller write a file that a crash leaves whole or not at all.

    On a local disk it is written next to where it goes; for a store into the temporary folder, in a
    folder of its own, for there the parts of all models meet, and those of a shard are named alike.

    Parameters
    ----------
    final : Path or StorePath
        The file.

    Yields
    ------
    temporary : Path
        Where to write; when the block ends well, the file is synced and gets its name.

    Raises
    ------
    OutputError
        If a disk is full or may not be written.
    OSError
        If a store does not take the file.
    """
    if isinstance(final, StorePath):
        with tempfile.TemporaryDirectory(prefix="embedlib-") as folder:
            temporary = Path(folder) / final.name
            with refusals(temporary.parent):
                yield temporary
            final.upload(temporary)
        return
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}.tmp")
    try:
        with refusals(final.parent):
            yield temporary
            _publish(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def create_if_absent(path: Place, content: bytes) -> bool:
    """Create a file with its whole content, unless somebody else has.

    Of any number of processes that try, exactly one succeeds, on local disks, on NFS, and on stores
    with conditional writes.

    Parameters
    ----------
    path : Path or StorePath
        The file.
    content : bytes
        All of it.

    Returns
    -------
    created : bool
        False if the file was already there; it is left as it is.

    Raises
    ------
    OutputError
        If the file system has no hard links.
    RunError
        If a store does not answer.
    """
    if isinstance(path, StorePath):
        return path.create(content)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        _sync(temporary)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        raise OutputError(
            f"the file system of {path.parent} has no hard links",
            fix="give an output folder on a local disk or on NFS",
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)
    return True


def _publish(temporary: Path, final: Path) -> None:
    _sync(temporary)
    temporary.replace(final)
    _sync(final.parent)


def _error_code(exc: OSError) -> int | None:
    """Give the errno, which deltalake 1.6.6 has in the text only."""
    in_text = _RUST_ERROR.search(str(exc))
    return int(in_text[1]) if exc.errno is None and in_text else exc.errno


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
