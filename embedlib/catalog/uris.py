"""Paths and URLs: what is local, what may be shown, and the file system behind a URL.

A URI is an absolute local path or an fsspec URL. URLs may carry credentials; whatever is shown to
people goes through `masked`.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import fsspec

from embedlib.errors import CatalogError, ConfigError, SourceRefusedError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_LOCAL_URL = re.compile(r"(file|local)://")
# The secret may hold slashes, as those of AWS do; what follows the colon of a host is a number.
_USER_INFO = re.compile(r"(?<=://)(?:[^/\s:@]+:(?!\d+/)(?:[^\s@]|@(?=[^/\s]*@))+|[^/\s@]+)@")
# A question mark is also a wildcard, so that a query is told by its equals sign.
_QUERY = re.compile(r"\?[^?\s]*=\S*")
_HIDDEN_USER, _HIDDEN_QUERY = "***@", "?***"

EXTRA_OF_PROTOCOL = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "adl": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""Optional dependency of embedlib that brings the file system of a protocol."""

_STORE_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("aiohttp", "ClientError"),
)
# These do not derive from OSError, and their modules are there only once a store was opened.


def masked(text: str) -> str:
    """Hide the credentials of URLs.

    Parameters
    ----------
    text : str
        A path, a URL, or a message that quotes one.

    Returns
    -------
    text : str
        The same with ``***`` for user and password and for the query of every URL.

    Examples
    --------
    >>> masked("https://ann:secret@host/a.wav?X-Amz-Signature=ab12")
    'https://***@host/a.wav?***'
    >>> masked("/music/a.wav")
    '/music/a.wav'
    """
    return _QUERY.sub(_HIDDEN_QUERY, _USER_INFO.sub(_HIDDEN_USER, text))


def stored(uri: str) -> str:
    """Give the form of a URI that goes into tables.

    Parameters
    ----------
    uri : str
        Absolute local path, or URL.

    Returns
    -------
    uri : str
        Paths as they are; URLs without user, password and query. A signed URL is opened as long
        as its source still says it in full.

    Examples
    --------
    >>> stored("https://host/a.wav?X-Amz-Signature=ab12"), stored("/music/a?b=c.wav")
    ('https://host/a.wav?***', '/music/a?b=c.wav')
    """
    return masked(uri) if is_url(uri) else uri


def lacks_credentials(uri: str) -> bool:
    """Tell whether a URI is only what a table keeps of it, with which nothing can be opened.

    Parameters
    ----------
    uri : str
        As `stored` gave it, or in full.

    Returns
    -------
    lacks_credentials : bool
        Whether there were some.

    Examples
    --------
    >>> lacks_credentials(stored("https://host/a.wav?sig=ab12"))
    True
    """
    return is_url(uri) and (_HIDDEN_USER in uri or uri.endswith(_HIDDEN_QUERY))


def without_query(uri: str) -> str:
    """Cut the query off a URL.

    Parameters
    ----------
    uri : str
        Local path or URL.

    Returns
    -------
    uri : str
        Paths as they are, URLs without ``?key=value...``.
    """
    return _QUERY.sub("", uri) if is_url(uri) else uri


def is_url(uri: str) -> bool:
    """Tell URLs from local paths; ``file://`` is local.

    Parameters
    ----------
    uri : str
        Local path or URL.

    Returns
    -------
    is_url : bool
        Whether fsspec opens it.

    Examples
    --------
    >>> is_url("s3://bucket/a.wav"), is_url("file:///a.wav"), is_url("a.wav")
    (True, False, False)
    """
    return _URL.match(uri) is not None and _LOCAL_URL.match(uri) is None


def absolute(source: str, *, folder: str = "") -> str:
    """Give the one form of a path or URL that is stored.

    Parameters
    ----------
    source : str
        Local path, ``file://`` URL or other URL.
    folder : str, optional
        What relative paths are relative to; the working folder by default.

    Returns
    -------
    uri : str
        URLs as they are; local paths absolute, with ``~`` expanded and links kept.
    """
    if is_url(source):
        return source
    path = os.path.expanduser(_LOCAL_URL.sub("", source))
    if is_url(folder) and not os.path.isabs(path):
        return f"{folder.rstrip('/')}/{path}"
    return os.path.abspath(os.path.join(folder, path))


def filesystem(url: str, **options: Any) -> tuple[Any, str]:
    """Find the fsspec file system of a URL.

    Parameters
    ----------
    url : str
        fsspec URL, chained ones (``zip://inner::s3://...``) included.
    **options : Any
        Options of its file systems, a mapping for each protocol.

    Returns
    -------
    filesystem : fsspec.AbstractFileSystem
        Ready to list and read.
    path : str
        What the file system calls the URL.

    Raises
    ------
    ConfigError
        If no such protocol exists or its package is not installed.
    """
    try:
        found, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as exc:
        protocol = url.partition(":")[0]
        extra = EXTRA_OF_PROTOCOL.get(protocol)
        fix = f"pip install 'embedlib[{extra}]'" if extra else masked(str(exc))
        raise ConfigError(f"{masked(url)} needs a package that is not installed", fix=fix) from exc
    except ValueError as exc:
        raise ConfigError(
            f"{masked(url)} cannot be opened: {masked(one_line(exc))}",
            fix="use a local path or a URL that fsspec knows (s3://, gs://, https:// ...)",
        ) from exc
    return found, path


def store_errors() -> tuple[type[Exception], ...]:
    """List the errors by which file systems refuse a request.

    Returns
    -------
    errors : tuple of type
        ``OSError`` and the roots of the clients that are loaded.
    """
    loaded = ((sys.modules.get(module), name) for module, name in _STORE_ERRORS)
    return (OSError, *(getattr(module, name) for module, name in loaded if module is not None))


def unreadable(uri: str, exc: Exception) -> CatalogError:
    """Make the error that says why a source or manifest cannot be read.

    Parameters
    ----------
    uri : str
        The source.
    exc : Exception
        What the file system said.

    Returns
    -------
    error : CatalogError
        To be raised.
    """
    if refusal := refusal_behind(exc):
        return refusal
    if isinstance(exc, FileNotFoundError):
        return CatalogError(f"{masked(uri)} does not exist", fix="check the spelling")
    reason = (isinstance(exc, OSError) and exc.strerror) or one_line(exc) or type(exc).__name__
    return CatalogError(
        f"{masked(uri)} cannot be read: {masked(reason)}",
        fix="check that this user may read it and that its store answers",
    )


def refusal_behind(exc: BaseException) -> SourceRefusedError | None:
    """Find the refusal that a file system has turned into an error of its own.

    Parameters
    ----------
    exc : BaseException
        What it raised; fsspec says of each URL that it cannot ask about that it is not there.

    Returns
    -------
    refusal : SourceRefusedError or None
        Itself, or among its causes.
    """
    found: BaseException | None = exc
    while found is not None and not isinstance(found, SourceRefusedError):
        found = found.__cause__
    return found


def one_line(exc: Exception) -> str:
    """Give the first line of what an error of another library says.

    Parameters
    ----------
    exc : Exception
        Any error.

    Returns
    -------
    text : str
        Without the stack that some libraries append; empty when it says nothing.
    """
    return str(exc).strip().partition("\n")[0]
