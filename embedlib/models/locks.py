"""Hashes of weight files, the locks that keep them, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from embedlib.errors import HashMismatchError, ModelError, WeightsMissingError


def read_weights(path: Path, *, expected: str | None = None) -> bytes:
    """Read a weight file.

    Parameters
    ----------
    path : Path
        The file.
    expected : str, optional
        What the hash of these bytes must be.

    Returns
    -------
    data : bytes
        All of it.

    Raises
    ------
    HashMismatchError
        If it differs; the message names both.
    WeightsMissingError
        If there is no such file.
    ModelError
        If it cannot be read.
    """
    with _refusals(path):
        data = path.read_bytes()
    if expected:
        found = hashlib.sha256(data).hexdigest()
        require_sha256(found, expected=expected, origin=str(path))
    return data


def checked_sha256(path: Path, *, expected: str | None) -> str:
    """Hash a file and compare.

    Parameters
    ----------
    path : Path
        The file.
    expected : str or None
        What its hash must be; None where nothing is known.

    Returns
    -------
    sha256 : str
        Hex digest of its bytes.

    Raises
    ------
    HashMismatchError
        If it differs; the message names both.
    WeightsMissingError
        If there is no such file.
    ModelError
        If it cannot be read.
    """
    sha256 = file_sha256(path)
    require_sha256(sha256, expected=expected, origin=str(path))
    return sha256


def file_sha256(path: Path) -> str:
    """Hash a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    sha256 : str
        Hex digest of its bytes.

    Raises
    ------
    WeightsMissingError
        If there is no such file.
    ModelError
        If it cannot be read.
    """
    with _refusals(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whoever else writes it.

    Parameters
    ----------
    path : Path
        Its name; missing folders are made.
    data : bytes
        Its content.

    Raises
    ------
    ModelError
        If the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(temporary, data)
        temporary.replace(path)
    except OSError as exc:
        raise ModelError(
            f"{path} cannot be written: {exc.strerror}",
            fix="set EMBEDLIB_CACHE to a folder with room that you may write to",
        ) from exc
    finally:
        with suppress(OSError):
            temporary.unlink()


def keep_weights(
    path: Path, data: bytes, *, sha256: str, source: str, metadata: bytes | None = None
) -> None:
    """Write a weight file and lock its hash, so that another file of its name is noticed.

    Parameters
    ----------
    path : Path
        Its name in the cache.
    data : bytes
        Its content.
    sha256 : str
        Hex digest of `data`.
    source : str
        Where it came from, for people.
    metadata : bytes or None
        Content of the ``.json`` file beside it; None where there is none.

    Raises
    ------
    ModelError
        If the folder cannot be written to.
    """
    # The lock comes last: without one, whoever brings the file begins again.
    if metadata is not None:
        write_atomically(path.with_suffix(".json"), metadata)
    write_atomically(path, data)
    lock = {"file": path.name, "sha256": sha256, "source": source}
    write_atomically(_lock_path(path), f"{json.dumps(lock, indent=2)}\n".encode())


def locked_sha256(path: Path) -> str | None:
    """Read the lock of a weight file.

    Parameters
    ----------
    path : Path
        The weight file, which need not be there.

    Returns
    -------
    sha256 : str or None
        None where there is no lock.

    Raises
    ------
    ModelError
        If the lock cannot be read.
    """
    lock_path = _lock_path(path)
    try:
        return str(json.loads(lock_path.read_text())["sha256"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as exc:
        raise ModelError(
            f"the lock {lock_path} cannot be read", fix="remove it and fetch the weights again"
        ) from exc


def require_sha256(sha256: str, *, expected: str | None, origin: str) -> None:
    """Compare a hash with what it must be.

    Parameters
    ----------
    sha256 : str
        Hex digest.
    expected : str or None
        What it must be; None where nothing is known.
    origin : str
        What was hashed, for the error.

    Raises
    ------
    HashMismatchError
        If they differ; the message names both.
    """
    if expected not in (None, sha256):
        raise HashMismatchError(
            f"{origin} has the sha256 {sha256}, expected {expected}",
            fix="remove it and fetch the right file",
        )


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be read."""
    try:
        yield
    except FileNotFoundError as exc:
        raise WeightsMissingError(f"there is no file {path}", fix="check the path") from exc
    except OSError as exc:
        raise ModelError(f"{path} cannot be read: {exc.strerror}", fix="check the path") from exc


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _lock_path(path: Path) -> Path:
    """Name the lock; ``x.pb`` and ``x.onnx`` have one each."""
    kind = "" if path.suffix == ".pb" else path.suffix
    return path.with_suffix(f"{kind}.lock.json")
