"""The one place that waits for a store: what passes by itself is tried again, for about a minute.

The clients of stores try each request a few times within some seconds. What outlasts that, such as
a store that restarts or asks to slow down, is met here. Whatever is still wrong then goes to the
caller; for a worker it is a lost attempt, which the scheduler gives to another one.
"""

from __future__ import annotations

import errno
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Final, TypeVar

from embedlib.catalog.uris import masked, store_errors
from embedlib.errors import RunError

Answer = TypeVar("Answer")

DELAYS_S: tuple[float, ...] = (1.0, 4.0, 16.0)
"""Before each further try; each is varied by half, so that workers do not all come back at once."""

_TRANSIENT_STATUSES: Final = frozenset({"408", "429", "500", "502", "503", "504"})
_TRANSIENT_ERRNOS: Final = frozenset(
    {errno.EBUSY, errno.EAGAIN, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ENETUNREACH}
)
# s3fs says EREMOTEIO for an internal error of the server, and EBUSY for "slow down".
_TRANSIENT_CLASSES: Final = (
    ("botocore.exceptions", "HTTPClientError"),
    ("botocore.exceptions", "ConnectionError"),
    ("aiohttp", "ClientConnectionError"),
    ("aiohttp", "ClientPayloadError"),
    ("requests.exceptions", "ConnectionError"),
    ("requests.exceptions", "Timeout"),
    ("google.auth.exceptions", "TransportError"),
    ("azure.core.exceptions", "ServiceRequestError"),
    ("azure.core.exceptions", "ServiceResponseError"),
)

# delta-rs draws its errors as a coloured tree, and quotes the store's answer, which may be XML.
_TREE: Final = re.compile(r"\s*(?:\x1b\[\d+m|↳)[\s↳]*(?:\x1b\[0m)?\s*|\s*\n\s*")
_DOCUMENT: Final = re.compile(r"\s*<[?A-Za-z].*", re.DOTALL)
_REASON_CHARS: Final = 300


def patiently(work: Callable[[], Answer]) -> Answer:
    """Do something with a store, again when it fails for a reason that passes.

    Parameters
    ----------
    work : callable
        What to do; doing it twice must be the same as once.

    Returns
    -------
    answer : Answer
        What `work` returned.

    Examples
    --------
    >>> patiently(lambda: 3)
    3
    """
    for delay_s in DELAYS_S:
        try:
            return work()
        except store_errors() as exc:
            if not is_transient(exc):
                raise
        time.sleep(delay_s * random.uniform(0.5, 1.5))
    return work()


def is_transient(exc: Exception) -> bool:
    """Tell whether the same request may succeed a little later.

    Parameters
    ----------
    exc : Exception
        What a file system raised.

    Returns
    -------
    is_transient : bool
        For time-outs, lost connections, and a server that is busy or has failed. Not for a file
        that is not there, nor for credentials that do not suffice.

    Examples
    --------
    >>> is_transient(ConnectionResetError()), is_transient(PermissionError())
    (True, False)
    """
    loaded = ((sys.modules.get(module), name) for module, name in _TRANSIENT_CLASSES)
    classes = tuple(getattr(module, name) for module, name in loaded if module is not None)
    if isinstance(exc, (ConnectionError, TimeoutError, *classes)):
        return True
    # aiohttp, Azure and gcsfs, in this order: the first warns of the name that the last one uses.
    names = (name for name in ("status", "status_code", "code") if hasattr(exc, name))
    status = next((str(getattr(exc, name)) for name in names), "")
    return status in _TRANSIENT_STATUSES or getattr(exc, "errno", None) in _TRANSIENT_ERRNOS


def reason_of(exc: BaseException) -> str:
    """Say in one line, without credentials, why a store refused.

    Parameters
    ----------
    exc : BaseException
        What a file system or delta-rs raised.

    Returns
    -------
    reason : str
        The name of the error where it says nothing.

    Examples
    --------
    >>> reason_of(OSError("GET https://ann:secret@h/a?sig=ab failed"))
    'GET https://***@h/a?*** failed'
    """
    text = _DOCUMENT.sub("", _TREE.sub(": ", str(exc).strip()))
    said = (isinstance(exc, OSError) and exc.strerror) or text.strip(": ")
    return masked(said)[:_REASON_CHARS] or type(exc).__name__


def unanswered(url: str, exc: BaseException) -> RunError:
    """Make the error for a store that does not do what was asked of it.

    Parameters
    ----------
    url : str
        What was asked for.
    exc : BaseException
        What was said instead.

    Returns
    -------
    error : RunError
        To be raised.
    """
    return RunError(
        f"cannot use the store of {masked(url)}: {reason_of(exc)}",
        fix="check its name, endpoint and credentials, then run the same command again",
    )
