"""Where audio may lie: what a catalogue may name, and whom a worker may ask for it.

Checked twice: when a source is listed, so that a run that names something else is refused before
it starts, and by the worker that opens a file, because a plan lies in a folder that others write.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from embedlib.catalog.addresses import WEB_PORTS, Origin, is_public, literal, origin
from embedlib.catalog.uris import EXTRA_OF_PROTOCOL, absolute, filesystem, is_url, masked
from embedlib.errors import SourceRefusedError

FILE: Final = "file"
"""Scheme of local paths."""

REMOTE_SCHEMES: Final = frozenset({*WEB_PORTS, *EXTRA_OF_PROTOCOL})
"""What a remote manifest may name, beside its own scheme, where nothing else is said."""

N_NAMED: Final = 3
"""Refused URIs that an error names."""

WAY_OUT: Final = "correct what names it, or widen --allow-roots or --allow-schemes"

# Each passes on the bytes of what stands behind it; others (reference://) read what they like.
_WRAPPERS: Final = frozenset({"zip", "tar", "simplecache", "filecache", "blockcache"})
_NOT_IN_WEB_URLS: Final = frozenset(["\\", *map(chr, range(32))])

_Link = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where audio may lie; by default anywhere.

    Attributes
    ----------
    schemes : tuple of str
        Of URLs, with ``file`` for local paths; none for all.
    roots : tuple of str
        Absolute paths and URLs below which everything lies; none for no limit.
    hosts : tuple of (str, int)
        Servers that the user has named, which therefore need no public address.
    own_hosts : bool
        Whether the server of any URL needs no public address, as long as it does not redirect:
        the user vouches for all that his sources name.
    """

    schemes: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    hosts: tuple[Origin, ...] = ()
    own_hosts: bool = True

    def refusal(self, uri: str, *, manifest: str = "") -> str:
        """Say why a file may not be opened.

        Parameters
        ----------
        uri : str
            Absolute local path, or URL.
        manifest : str
            Path or URL of the manifest that names it, where one does.

        Returns
        -------
        reason : str
            Empty where it may.

        Examples
        --------
        >>> Allowed(roots=("s3://bucket/music",)).refusal("s3://bucket/musical/a.wav")
        'it lies outside of the allowed roots'
        >>> Allowed().refusal("/etc/passwd", manifest="https://host/list.csv")
        'a remote manifest may not name files of this machine'
        """
        links = _links(uri)
        if reason := self._scheme_refusal(_schemes(uri), manifest=manifest):
            return reason
        if self.roots and not _is_below_any(links, self.roots):
            return "it lies outside of the allowed roots"
        if any(self._is_private(address) for _, address in links):
            return "its address is not public, and nobody has named the server"
        return ""

    def followed(self, uri: str) -> str:
        """Follow the links of a path where there are roots, to judge it and then to open it.

        Parameters
        ----------
        uri : str
            Absolute local path, or URL.

        Returns
        -------
        uri : str
            What is judged is what is opened then: a link that changes meanwhile changes nothing.
        """
        return os.path.realpath(uri) if self.roots and not is_url(uri) else uri

    def store(self, url: str) -> tuple[Any, str]:
        """Find the file system of a URL, one that does not let itself be sent anywhere.

        Parameters
        ----------
        url : str
            fsspec URL.

        Returns
        -------
        filesystem : fsspec.AbstractFileSystem
            On the web it connects to public addresses alone, but for the servers that need none.
            Its errors may hide a `SourceRefusedError`, see `embedlib.catalog.uris.refusal_behind`.
        path : str
            What the file system calls the URL.

        Raises
        ------
        ConfigError
            If no such protocol exists or its package is not installed.
        """
        web = {scheme: address for scheme, address in _links(url) if scheme in WEB_PORTS}
        if not web:
            return filesystem(url)
        from embedlib.catalog.http_guard import HttpGuard, guarded

        own = [found for found in map(origin, web.values()) if found and self.own_hosts]
        guard = HttpGuard(tuple(dict.fromkeys((*self.hosts, *own))), self.web_roots)
        return guarded(url, guard, schemes=tuple(web))

    @property
    def web_roots(self) -> tuple[str, ...]:
        """The roots that are URLs of the web."""
        return tuple(root for root in self.roots if origin(root))

    def _scheme_refusal(self, schemes: list[str], *, manifest: str) -> str:
        known: Iterable[str] = self.schemes or schemes
        if is_url(manifest):
            if FILE in schemes and not self.roots:
                return "a remote manifest may not name files of this machine"
            known = self.schemes or {*REMOTE_SCHEMES, FILE, *_schemes(manifest)}
        strange = [scheme for scheme in schemes if scheme not in known]
        return f"{strange[0]}:// is not among the allowed schemes" if strange else ""

    def _is_private(self, url: str) -> bool:
        """Tell whether the address is written in a URL, and neither public nor named."""
        server = origin(url)
        if server is None or literal(server[0]) is None or is_public(server[0]):
            return False
        is_named = self.own_hosts or server in self.hosts
        return not is_named and not any(is_below(url, root) for root in self.web_roots)


ANYWHERE: Final = Allowed()
"""No limit but the one of `Allowed.own_hosts`."""


class Gate:
    """Lets through what one source may name, and keeps count of the rest.

    Parameters
    ----------
    source : str
        Path or URL, for the error.
    allowed : Allowed
        Where audio may lie.
    is_manifest : bool
        Whether the source is a manifest.
    """

    def __init__(self, source: str, allowed: Allowed, *, is_manifest: bool = False) -> None:
        self.source = source
        self._allowed = allowed
        self._manifest = source if is_manifest else ""
        self._named: list[str] = []
        self._n_refused = 0

    def lets(self, uri: str) -> bool:
        """Tell whether the source may name a file.

        Parameters
        ----------
        uri : str
            Absolute local path, or URL.

        Returns
        -------
        lets : bool
            What it does not let through makes `close` raise.
        """
        reason = self._allowed.refusal(uri, manifest=self._manifest)
        if reason:
            self._n_refused += 1
            if self._n_refused <= N_NAMED:
                self._named.append(f"{masked(uri)} ({reason})")
        return not reason

    def close(self) -> None:
        """End the source.

        Raises
        ------
        SourceRefusedError
            If something was refused: how many, and the first few.
        """
        if not self._n_refused:
            return
        n_more = self._n_refused - len(self._named)
        more = f" and {n_more} more" if n_more else ""
        raise SourceRefusedError(
            f"{masked(self.source)} names {self._n_refused} files that are refused: "
            f"{', '.join(self._named)}{more}",
            fix=WAY_OUT,
        )


def is_below(uri: str, root: str) -> bool:
    """Tell whether a file lies in a folder.

    Parameters
    ----------
    uri : str
        Absolute local path, whose links are followed, or URL.
    root : str
        Absolute local path or URL of the folder.

    Returns
    -------
    is_below : bool
        Never for a URL with ``..`` in its path, which servers read in different ways.

    Examples
    --------
    >>> is_below("https://host/music/a.wav", "https://host:443/music")
    True
    >>> is_below("https://host/music/%2e%2e/a.wav", "https://host/music")
    False
    """
    if not is_url(uri) or not is_url(root):
        top = "" if is_url(root) else _real_root(root)
        return not is_url(uri) and bool(top) and f"{os.path.realpath(uri)}/".startswith(top)
    ours, theirs = _place(uri), _place(root.rstrip("/"))
    if ours is None or theirs is None:
        return False
    return ours[0] == theirs[0] and ours[1][: len(theirs[1])] == theirs[1]


def _is_below_any(links: list[_Link], roots: tuple[str, ...]) -> bool:
    *wrappers, (_, address) = links
    if any(scheme not in _WRAPPERS for scheme, _ in wrappers):
        return False
    return any(is_below(address, root) for root in roots)


def _links(uri: str) -> list[_Link]:
    """Give scheme and address of each link of a chain such as ``zip://a.wav::s3://b/c.zip``."""
    if not is_url(uri):
        return [(FILE, uri)]
    parts = uri.split("::")
    return [_link(part, is_last=n == len(parts)) for n, part in enumerate(parts, start=1)]


def _schemes(uri: str) -> list[str]:
    return [scheme for scheme, _ in _links(uri)]


def _link(part: str, *, is_last: bool) -> _Link:
    scheme, separator, path = part.partition("://")
    if not separator:  # the name of a wrapper alone, or at the end a path
        return (FILE, absolute(part)) if is_last else (part.lower(), "")
    scheme = scheme.lower()
    return (FILE, absolute(path)) if scheme in (FILE, "local") else (scheme, part)


@lru_cache(maxsize=64)
def _real_root(root: str) -> str:
    return f"{os.path.realpath(root).rstrip('/')}/"


def _place(url: str) -> tuple[tuple[object, ...], list[str]] | None:
    """Give who answers for a URL, and the components of its path; None where that is unclear."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme in WEB_PORTS and not _NOT_IN_WEB_URLS.isdisjoint(url):
        return None
    path = parts.path.split("/")
    if any(unquote(component) in (".", "..") for component in path):
        return None
    return (parts.scheme, _server(url, parts)), path


def _server(url: str, parts: SplitResult) -> object:
    # What stands before an @ is a user on the web, but a container in stores of Azure.
    return origin(url) if parts.scheme in WEB_PORTS else parts.netloc
