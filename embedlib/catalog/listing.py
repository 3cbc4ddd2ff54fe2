"""List sources: files, folders, globs, manifests and URLs become one stream of tracks.

No audio is opened here, so that a million files are listed in minutes; whether a file holds audio
is found out when it is decoded.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence

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


def list_sources(sources: Sequence[str], *, carry: Sequence[str] = ()) -> Iterator[Track]:
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
    absolutes = dict.fromkeys(absolute(source) for source in sources)
    for uri in absolutes:
        yield from _list_source(uri, carry)


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


def _list_source(uri: str, carry: Sequence[str]) -> Iterator[Track]:
    return _list_remote(uri, carry) if is_url(uri) else _list_local(check_name(uri), carry)


def _list_local(path: str, carry: Sequence[str]) -> Iterator[Track]:
    if os.path.isfile(path):
        return _list_file(path, carry)
    pattern = split_pattern(path, exists=os.path.lexists)
    if not os.path.isdir(pattern.root):
        raise _missing(pattern.root)
    found = local_files(pattern.root, max_depth=pattern.max_depth)
    return _matching(found, pattern, source=path)


def _list_remote(url: str, carry: Sequence[str]) -> Iterator[Track]:
    # A store over HTTP calls everything a file, so that there the slash makes the folder.
    kind = "directory" if url.endswith("/") else remote_kind(url)
    if kind == "file":
        return _list_file(url, carry)
    pattern = Pattern(url, ()) if kind == "directory" else _remote_pattern(url)
    return _matching(remote_files(pattern.root, max_depth=pattern.max_depth), pattern, source=url)


def _remote_pattern(url: str) -> Pattern:
    head, link, chain = url.partition("::")
    protocol, _, path = without_query(head).partition("://")
    if not has_wildcard(path):
        raise _missing(url)
    pattern = split_pattern(path)
    return Pattern(f"{protocol}://{pattern.root}{link}{chain}", pattern.parts)


def _list_file(uri: str, carry: Sequence[str]) -> Iterator[Track]:
    if is_manifest(uri):
        yield from _at_least_one(
            read_manifest(uri, carry=carry), uri, what="rows", fix="add one per track"
        )
        return
    [(size, version)] = look_up([uri])
    head = uri.partition("::")[0] if is_url(uri) else uri
    yield Track(posixpath.basename(without_query(head)), uri, size, version)


def _matching(found: Iterator[SourceFile], pattern: Pattern, *, source: str) -> Iterator[Track]:
    tracks = (Track(f.name, f.uri, f.size, f.version) for f in found if pattern.takes(f.name))
    return _at_least_one(tracks, source, what="audio files", fix=_NAME_THEM)


def _at_least_one(tracks: Iterator[Track], source: str, *, what: str, fix: str) -> Iterator[Track]:
    first = next(tracks, None)
    if first is None:
        raise CatalogError(f"{masked(source)} holds no {what}", fix=fix)
    yield first
    yield from tracks


def _missing(uri: str) -> CatalogError:
    return unreadable(uri, FileNotFoundError())
