"""From what a user calls an output to the place where it lies, and whether that place will do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from embedlib.catalog.stores import Place, StorePath
from embedlib.catalog.uris import absolute, is_url, masked
from embedlib.errors import ConfigError

PROTOCOLS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az"}
"""Protocols of URLs that outputs may have, and the name that fsspec and delta-rs share."""

_STORE: Final = re.compile(r"([a-z0-9]+)://([^/]+)(/.*)?", re.DOTALL)
_CREDENTIALS: Final = re.compile(r"//[^/]*@|\?.*=")
# Wildcards of fsspec, and what delta-rs 1.6.6 takes for parts of a URL.
_FORBIDDEN: Final = re.compile(r"[*?\[\]#%]")


def place(text: str) -> Place:
    """Give the place that a path or URL names.

    Parameters
    ----------
    text : str
        Local path, or URL of an object store; ``file://`` is local.

    Returns
    -------
    place : Path or StorePath
        Paths as they are, URLs in the form that fsspec and delta-rs share.

    Raises
    ------
    ConfigError
        If outputs cannot lie in such a store, the URL carries credentials, or it holds characters
        that not all clients read alike.

    Examples
    --------
    >>> place("out"), place("s3a://bucket/out/")
    (PosixPath('out'), StorePath(url='s3://bucket/out'))
    """
    if not is_url(text):
        return Path(absolute(text)) if text.startswith(("file://", "local://")) else Path(text)
    if _CREDENTIALS.search(text):
        raise ConfigError(
            f"the URL {masked(text)} carries credentials",
            fix="give them to the store's own client: a profile, a role, or the environment",
        )
    parts = _STORE.fullmatch(text)
    if parts is None or parts[1] not in PROTOCOLS:
        raise ConfigError(
            f"tables cannot be written to {text}",
            fix=f"give a folder, or a URL of {', '.join(f'{name}://' for name in PROTOCOLS)}",
        )
    path = re.sub("/+", "/", parts[3] or "").rstrip("/")
    if wrong := _FORBIDDEN.search(path):
        raise ConfigError(
            f"the URL {text} holds {wrong[0]!r}, which not all readers of Delta tables take",
            fix="choose another name",
        )
    return StorePath(f"{PROTOCOLS[parts[1]]}://{parts[2]}{path}")


def require_exclusive(root: Place, *, single_writer: bool) -> None:
    """Refuse a store where two runs could both believe to have created one file.

    Parameters
    ----------
    root : Path or StorePath
        The output; local ones need no proof.
    single_writer : bool
        Whether the user vouches that no other run writes there.

    Raises
    ------
    ConfigError
        If the store is not fit for several writers, and nobody vouches for one.
    RunError
        If it does not answer, or takes no conditional writes.
    """
    if isinstance(root, Path) or root.is_exclusive() or single_writer:
        return
    raise ConfigError(
        f"the store of {root} lets two writers create one file, so that two runs would lose rows",
        fix="take --single-writer if no other run writes there, or another store",
    )
