"""Connections to the web that cannot be talked into asking the machines behind the firewall.

A server that is asked for audio may redirect to an address of this network, and a name may change
its address between two questions. So the address is judged where it is connected to, after the
resolver has answered, and again at each redirect. Loaded with the first URL of the web.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.tracing import Trace
from fsspec.implementations.http import HTTPFileSystem
from yarl import URL

from embedlib.catalog.addresses import Origin, as_host, is_public, origin
from embedlib.catalog.allowed import is_below
from embedlib.catalog.uris import filesystem, masked
from embedlib.errors import SourceRefusedError

MAX_REDIRECTS: Final = 5
"""More than any store needs that signs a URL or sends to a mirror; browsers give up at 20."""

_N_SESSIONS: Final = 64
_NAME_IT: Final = "name its server as a source, or let --allow-roots cover the URL"


@dataclass(frozen=True, slots=True)
class HttpGuard:
    """Makes sessions of aiohttp that reach what they may, as `get_client` of fsspec.

    Attributes
    ----------
    hosts : tuple of (str, int)
        Servers that may have any address.
    roots : tuple of str
        URLs below which everything may have any address.
    """

    hosts: tuple[Origin, ...] = ()
    roots: tuple[str, ...] = ()

    async def __call__(self, **options: Any) -> aiohttp.ClientSession:
        """Open a session; called by fsspec on its own loop."""
        redirects = aiohttp.TraceConfig()
        redirects.on_request_redirect.append(self._on_redirect)
        return aiohttp.ClientSession(
            connector=_GuardedConnector(self), trace_configs=[redirects], **options
        )

    def check_addresses(self, server: Origin, addresses: Iterable[str]) -> None:
        """Judge what a resolver says, right before one of the addresses is connected to.

        Parameters
        ----------
        server : (str, int)
            Who is asked.
        addresses : iterable of str
            Where it is said to be.

        Raises
        ------
        SourceRefusedError
            If one of them is not public, and the server was not named.
        """
        if server in self.hosts or server in map(origin, self.roots):
            return
        if private := [address for address in addresses if not is_public(address)]:
            raise SourceRefusedError(
                f"{server[0]} has the address {private[0]}, which is not public", fix=_NAME_IT
            )

    def check_redirect(self, source: str, target: str, *, number: int) -> None:
        """Judge a redirect before it is followed.

        Parameters
        ----------
        source, target : str
            URLs: from where to where.
        number : int
            How many there were of this request, this one included.

        Raises
        ------
        SourceRefusedError
            If it is one too many, gives up encryption, or leads out of a root to the same server,
            whose address nobody else would judge.
        """
        if number > MAX_REDIRECTS:
            raise _refused(source, f"redirects more than {MAX_REDIRECTS} times")
        if source.startswith("https:") and target.startswith("http:"):
            raise _refused(source, f"redirects to {masked(target)}, without encryption")
        server = origin(target)
        if server in self.hosts or server not in map(origin, self.roots):
            return
        if not any(is_below(target, root) for root in self.roots):
            raise _refused(source, f"redirects to {masked(target)}, outside of the allowed roots")

    async def _on_redirect(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        redirect: aiohttp.TraceRequestRedirectParams,
    ) -> None:
        headers = redirect.response.headers
        context.number = getattr(context, "number", 0) + 1
        try:
            target = redirect.url.join(URL(headers.get("Location") or headers.get("URI") or ""))
            self.check_redirect(str(redirect.url), str(target), number=context.number)
        except ValueError:  # no URL at all, which aiohttp refuses next
            return
        except SourceRefusedError:
            redirect.response.close()
            raise


class _GuardedConnector(aiohttp.TCPConnector):
    """Judges addresses in the one place that all connections of a session pass.

    The place is the one that the documentation of aiohttp names for it (client middleware
    cookbook, server-side request forgery protection): it sees addresses in URLs too.
    """

    def __init__(self, guard: HttpGuard) -> None:
        super().__init__()
        self._guard = guard

    async def _resolve_host(
        self, host: str, port: int, traces: Sequence[Trace] | None = None
    ) -> list[ResolveResult]:
        found = await super()._resolve_host(host, port, traces=traces)
        self._guard.check_addresses((as_host(host), port), [each["host"] for each in found])
        return found


def guarded(url: str, guard: HttpGuard, *, schemes: Sequence[str]) -> tuple[Any, str]:
    """Find the file system of a URL of the web.

    Parameters
    ----------
    url : str
        fsspec URL, chained ones included.
    guard : HttpGuard
        Whom it may ask.
    schemes : sequence of str
        Those of the web that are in the URL.

    Returns
    -------
    filesystem : fsspec.AbstractFileSystem
        One for each guard, so that connections are kept.
    path : str
        What it calls the URL.
    """
    if "::" in url:
        return filesystem(url, **{scheme: {"get_client": guard} for scheme in schemes})
    return _web(guard, os.getpid()), url


@lru_cache(maxsize=_N_SESSIONS)
def _web(guard: HttpGuard, process_id: int) -> HTTPFileSystem:
    # fsspec itself would keep one for each server of a manifest, for good; and connections do not
    # survive a fork, hence the process.
    return HTTPFileSystem(get_client=guard, skip_instance_cache=True)


def _refused(url: str, problem: str) -> SourceRefusedError:
    return SourceRefusedError(f"{masked(url)} {problem}", fix=_NAME_IT)
