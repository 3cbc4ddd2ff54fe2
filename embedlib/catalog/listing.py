"""List sources: files, folders, globs, manifests and URLs become one stream of tracks.

No audio is opened here, so that a million files are listed in minutes; whether a file holds audio
is found out when it is decoded.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence

from embedlib.catalog.addresses import origin
from embedlib.catalog.allowed import FILE, Allowed, Gate
from embedlib.catalog.files import (
    SourceFile,
    check_name,
    local_files,
    look_up,
    remote_files,
    remote_kind,
)
from embedlib.catalog.formats import BYTES_PER_S
from embedlib.catalog.globs import Pattern, has_wildcard, split_pattern
from embedlib.catalog.manifest import RESERVED_COLUMNS, read_manifest
from embedlib.catalog.manifest_rows import is_manifest
from embedlib.catalog.uris import absolute, is_url, masked, unreadable, without_query
from embedlib.errors import CatalogError, ConfigError
from embedlib.records import Track

_NAME_THEM = f"name the files one by one, in folders these are found: {', '.join(BYTES_PER_S)}"


def list_sources(
    sources: Sequence[str], *, carry: Sequence[str] = (), allowed: Allowed | None = None
) -> Iterator[Track]:
    """List all tracks of all sources, one by one.

    A source is a file, taken whatever its extension; a folder, searched for audio files at any
    depth; a pattern (``~/music/**/*.flac``); a manifest (``.csv``, ``.tsv``, ``.jsonl``,
    ``.parquet``); or a URL of any of these. Hidden files are left out and links are followed. A
    name that exists is taken literally even if it looks like a pattern.

    Parameters
    ----------
    sources : sequence of str
        Paths and URLs; ``~`` is expanded. One that is given twice counts once.
    carry : sequence of str, optional
        Columns of the manifests to keep, as text.
    allowed : Allowed or None
        Where their files may lie; None for `allowed_places` of these sources.

    Yields
    ------
    track : Track
        Source by source; sorted by name within a source, in the order of the rows within a
        manifest. `track_id` is the path relative to the part of the source without wildcards, for
        a file its name; whether it comes again is seen by who keeps them (`Listing`).

    Raises
    ------
    CatalogError
        If a source does not exist, cannot be read or holds no audio, or a manifest makes no sense.
    SourceRefusedError
        If a source names what is not allowed, after all that it names.
    ConfigError
        If there is no source, a column cannot be carried, or the package for a URL is not
        installed.
    """
    if not sources:
        raise ConfigError("there is no source", fix="name a file, folder, pattern, manifest or URL")
    if taken := [name for name in carry if name.lower() in RESERVED_COLUMNS]:
        raise ConfigError(
            f"the column {taken[0]!r} cannot be carried, the catalogue has its own",
            fix=f"rename it in the manifest; {', '.join(sorted(RESERVED_COLUMNS))} are taken",
        )
    allowed = allowed_places(sources) if allowed is None else allowed
    absolutes = dict.fromkeys(absolute(source) for source in sources)
    for uri in absolutes:
        yield from _list_source(uri, carry, allowed)


def allowed_places(
    sources: Iterable[str], *, schemes: Iterable[str] = (), roots: Iterable[str] = ()
) -> Allowed:
    """Say where the files of a set of sources may lie.

    Servers that the sources name need no public address. Those that a manifest names need none
    either, unless a manifest lies elsewhere: then others may have written it.

    Parameters
    ----------
    sources : iterable of str
        Paths and URLs, as the user gave them.
    schemes : iterable of str
        Of URLs, with ``file`` for local paths; none for all.
    roots : iterable of str
        Paths and URLs below which everything must lie; none for no limit.

    Returns
    -------
    allowed : Allowed
        For the listing and for workers.

    Examples
    --------
    >>> allowed = allowed_places(["https://host/list.csv"], schemes=["S3", "https://"])
    >>> allowed.schemes, allowed.hosts, allowed.own_hosts
    (('s3', 'https'), (('host', 443),), False)
    """
    uris = [absolute(source) for source in sources]
    servers = (origin(link) for uri in uris for link in uri.split("::"))
    named = (scheme.removesuffix("://").lower() for scheme in schemes)
    return Allowed(
        schemes=tuple(FILE if scheme == "local" else scheme for scheme in named),
        roots=tuple(absolute(root) for root in roots),
        hosts=tuple(dict.fromkeys(server for server in servers if server is not None)),
        own_hosts=not any(is_url(uri) and is_manifest(uri) for uri in uris),
    )


def normalised_sources(sources: Iterable[str]) -> tuple[str, ...]:
    """Give the form of a set of sources that two runs can be compared by.

    Parameters
    ----------
    sources : iterable of str
        Paths and URLs, in any order.

    Returns
    -------
    sources : tuple of str
        Absolute, sorted, each once, without credentials and without the slash at the end.

    Examples
    --------
    >>> normalised_sources(["s3://b/music/", "/a", "s3://b/music"])
    ('/a', 's3://b/music')
    """
    return tuple(sorted({masked(absolute(source)).rstrip("/") or "/" for source in sources}))


def _list_source(uri: str, carry: Sequence[str], allowed: Allowed) -> Iterator[Track]:
    if is_url(uri):
        return _list_remote(uri, carry, allowed)
    return _list_local(check_name(uri), carry, allowed)


def _list_local(path: str, carry: Sequence[str], allowed: Allowed) -> Iterator[Track]:
    if os.path.isfile(path):
        return _list_file(path, carry, allowed)
    pattern = split_pattern(path, exists=os.path.lexists)
    if not os.path.isdir(pattern.root):
        raise _missing(pattern.root)
    found = local_files(pattern.root, max_depth=pattern.max_depth)
    return _matching(found, pattern, gate=Gate(path, allowed))


def _list_remote(url: str, carry: Sequence[str], allowed: Allowed) -> Iterator[Track]:
    # A store over HTTP calls everything a file, so that there the slash makes the folder.
    kind = "directory" if url.endswith("/") else remote_kind(url, allowed=allowed)
    if kind == "file":
        return _list_file(url, carry, allowed)
    pattern = Pattern(url, ()) if kind == "directory" else _remote_pattern(url)
    found = remote_files(pattern.root, max_depth=pattern.max_depth, allowed=allowed)
    return _matching(found, pattern, gate=Gate(url, allowed))


def _remote_pattern(url: str) -> Pattern:
    head, link, chain = url.partition("::")
    protocol, _, path = without_query(head).partition("://")
    if not has_wildcard(path):
        raise _missing(url)
    pattern = split_pattern(path)
    return Pattern(f"{protocol}://{pattern.root}{link}{chain}", pattern.parts)


def _list_file(uri: str, carry: Sequence[str], allowed: Allowed) -> Iterator[Track]:
    if is_manifest(uri):
        rows = read_manifest(uri, carry=carry, allowed=allowed)
        yield from _at_least_one(rows, uri, what="rows", fix="add one per track")
        return
    gate = Gate(uri, allowed)
    gate.lets(uri)
    gate.close()
    [(size, version)] = look_up([uri], allowed=allowed)
    head = uri.partition("::")[0] if is_url(uri) else uri
    yield Track(posixpath.basename(without_query(head)), uri, size, version)


def _matching(found: Iterator[SourceFile], pattern: Pattern, *, gate: Gate) -> Iterator[Track]:
    tracks = _let_in((file for file in found if pattern.takes(file.name)), gate)
    return _at_least_one(tracks, gate.source, what="audio files", fix=_NAME_THEM)


def _let_in(found: Iterator[SourceFile], gate: Gate) -> Iterator[Track]:
    for file in found:
        if gate.lets(file.uri):
            yield Track(file.name, file.uri, file.size, file.version)
    gate.close()


def _at_least_one(tracks: Iterator[Track], source: str, *, what: str, fix: str) -> Iterator[Track]:
    first = next(tracks, None)
    if first is None:
        raise CatalogError(f"{masked(source)} holds no {what}", fix=fix)
    yield first
    yield from tracks


def _missing(uri: str) -> CatalogError:
    return unreadable(uri, FileNotFoundError())
