"""What tells one version of a file from the next, as listing and decoding both see it."""

from __future__ import annotations

import os
from collections.abc import Mapping

REMOTE_KEYS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "generation",
    "LastModified",
    "last_modified",
    "mtime",
    "updated",
)
"""Keys of fsspec's ``info``, most telling first: s3fs, gcsfs, adlfs, then dates of other stores."""


def local_version(stat: os.stat_result) -> str:
    """Tell the version of a local file.

    Parameters
    ----------
    stat : os.stat_result
        Of the file, links followed.

    Returns
    -------
    version : str
        Time of the last change in nanoseconds since the epoch.

    Examples
    --------
    >>> local_version(os.stat(os.devnull)).isdigit()
    True
    """
    return str(stat.st_mtime_ns)


def remote_version(info: Mapping[str, object]) -> str:
    """Tell the version of a file in a store.

    Parameters
    ----------
    info : mapping
        What the file system's ``info`` or ``find(detail=True)`` says about the file.

    Returns
    -------
    version : str
        The first of `REMOTE_KEYS` that has a value, without quotes; empty when none has.

    Examples
    --------
    >>> remote_version({"ETag": '"9e107d9d"', "LastModified": "2026-01-01"})
    '9e107d9d'
    >>> remote_version({"size": 3})
    ''
    """
    values = (info.get(key) for key in REMOTE_KEYS)
    return next((str(value).strip('"') for value in values if value not in (None, "")), "")
