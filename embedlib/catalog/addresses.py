"""Network addresses: which of them anybody may reach, and to which one a URL leads."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Origin: TypeAlias = tuple[str, int]
"""Host in lower case and port: who answers."""

WEB_PORTS: Final = {"http": 80, "https": 443}
"""Schemes of the web, and the port of each that goes without saying."""

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # RFC 4291, section 2.4; all that IANA gives out
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_LAST_32_BITS: Final = 0xFFFF_FFFF


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the open network.

    Parameters
    ----------
    address : str
        IPv4 or IPv6, in the form that a resolver gives.

    Returns
    -------
    is_public : bool
        False for private (RFC 1918, ULA), shared (CGNAT, RFC 6598), loopback, link-local,
        multicast and reserved ones, for IPv6 addresses that stand for such an IPv4 address
        (mapped, 6to4, NAT64), and for what is no address.

    Examples
    --------
    >>> [is_public(each) for each in ("93.184.215.14", "10.0.0.1", "::ffff:127.0.0.1", "localhost")]
    [True, False, False, False]
    """
    found = literal(address)
    if found is None:
        return False
    inner = _embedded(found) or found
    if isinstance(inner, IPv6Address) and inner not in _GLOBAL_UNICAST:
        return False
    return inner.is_global and not inner.is_multicast


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """Read a host that is written as an address.

    Parameters
    ----------
    host : str
        Of a URL, without brackets.

    Returns
    -------
    address : IPv4Address, IPv6Address or None
        None for a name, and for short forms such as ``127.1``, which only resolvers know.
    """
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def origin(url: str) -> Origin | None:
    """Tell whom a URL of the web asks.

    Parameters
    ----------
    url : str
        Any URL.

    Returns
    -------
    origin : (str, int) or None
        Host and port; None for other schemes, and for what cannot be read.

    Examples
    --------
    >>> origin("https://ann@Host/a.wav"), origin("http://[::1]:8000/"), origin("s3://bucket/a.wav")
    (('host', 443), ('::1', 8000), None)
    """
    try:
        parts = urlsplit(url)
        port = parts.port or WEB_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (as_host(parts.hostname or ""), port) if parts.scheme in WEB_PORTS else None


def as_host(name: str) -> str:
    """Give the one form of a host by which two are compared.

    Parameters
    ----------
    name : str
        Host of a URL.

    Returns
    -------
    host : str
        In lower case, without the dot that ends a full name.
    """
    return name.lower().rstrip(".")


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Give the IPv4 address that an IPv6 address leads to, where it does."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & _LAST_32_BITS)
    return address.ipv4_mapped or address.sixtofour
