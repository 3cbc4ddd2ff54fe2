"""Fetch published weights and heads into the cache, with what their authors say of them."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from embedlib.errors import ConfigError, ModelError, WeightsMissingError
from embedlib.models.heads import HEADS_URL, Head, check_head, head_file, head_url
from embedlib.models.locks import keep_weights, locked_sha256, read_weights
from embedlib.models.metadata import MAX_BYTES as MAX_METADATA_BYTES
from embedlib.models.metadata import check_metadata, parse_metadata, read_metadata
from embedlib.models.spec import ModelSpec
from embedlib.models.store import (
    WeightFile,
    check_weights,
    expected_sha256,
    locate,
    weights_folder,
    weights_name,
)
from embedlib.models.trust import Trust

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and, where the server says it, the bytes in all."""

DEFAULT_TIMEOUT_S = 60.0

_CHUNK_BYTES = 1 << 16
# Three times the largest published model (MAEST, 350 MB); a server must not fill the memory.
_MAX_BYTES = 1 << 30

_NOT_FOUND = 404

_Checked = TypeVar("_Checked")


class _Encrypted(urllib.request.HTTPRedirectHandler):
    """Follows no redirect that gives up encryption: a first file may be trusted by its way here."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https:"):
            fp.close()
            raise urllib.error.URLError(f"it redirects to {newurl}, without encryption")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Encrypted)


@dataclass(frozen=True, slots=True)
class _Download:
    """What one URL gave."""

    url: str
    data: bytes
    metadata: bytes | None


def pull(
    spec: ModelSpec,
    *,
    trust_first: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_progress: Progress | None = None,
) -> WeightFile:
    """Fetch the weights of a model into the cache, where they are not there yet.

    The metadata beside them are fetched too, where there are any.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    trust_first : bool
        Whether to lock the hash of the first file that comes, where none is known.
    timeout_s : float > 0
        Seconds that the server may be silent.
    on_progress : callable or None
        Called after each piece.

    Returns
    -------
    weights : WeightFile
        In the cache, its hash checked and locked.

    Raises
    ------
    ConfigError
        If the model is untrained, or no hash is known and none may be locked.
    WeightsMissingError
        If the weights were never published.
    ModelError
        If no URL gives the file; a subclass if what came is not the model.
    """
    _require_url(spec)
    path = weights_folder() / weights_name(spec)
    expected = expected_sha256(spec)
    if expected is not None and path.is_file():
        return locate(spec, path=path)
    _require_trust(spec.name, expected=expected, trust_first=trust_first)
    fetch = partial(_fetch_both, timeout_s=timeout_s, on_progress=on_progress)
    check = partial(_checked_weights, spec, path)
    download, file = _first_good(spec.name, spec.weights.urls, fetch=fetch, check=check)
    _keep(path, download, sha256=file.sha256)
    return file


def pull_head(
    name: str,
    *,
    trust_first: bool = False,
    base_url: str = HEADS_URL,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_progress: Progress | None = None,
) -> Head:
    """Fetch a classification head and its metadata into the cache, where they are not there yet.

    Parameters
    ----------
    name : str
        Name of the head, such as ``emomusic-msd-musicnn-1``.
    trust_first : bool
        Whether to lock the hash of the first file that comes, where none was locked.
    base_url : str
        Folder that holds one folder per task.
    timeout_s : float > 0
        Seconds that the server may be silent.
    on_progress : callable or None
        Called after each piece of the graph.

    Returns
    -------
    head : Head
        In the cache, its hash locked.

    Raises
    ------
    ConfigError
        If the name is not that of a head of one of our models, or no hash was locked and none may
        be.
    ModelError
        If the files cannot be fetched; a subclass if what came is no head.
    """
    url = head_url(name, base_url=base_url)
    if url is None:
        raise ConfigError(
            f"{name!r} is not the name of a head",
            fix="name it TASK-MODEL-VERSION, such as emomusic-msd-musicnn-1",
        )
    path = weights_folder() / head_file(name)
    expected = locked_sha256(path)
    found = read_metadata(path)
    if expected is not None and found is not None and path.is_file():
        return check_head(read_weights(path), found, path=path, origin=str(path))
    _require_trust(name, expected=expected, trust_first=trust_first)
    fetch = partial(_fetch_both, timeout_s=timeout_s, on_progress=on_progress)
    download, head = _first_good(name, (url,), fetch=fetch, check=partial(_checked_head, path))
    _keep(path, download, sha256=head.sha256)
    return head


def _require_trust(name: str, *, expected: str | None, trust_first: bool) -> None:
    if expected is None and not trust_first:
        raise ConfigError(
            f"no sha256 of {name} is known",
            fix="add --trust-first to lock the hash of the first file that comes",
        )


def _require_url(spec: ModelSpec) -> None:
    if spec.untrained:
        raise ConfigError(
            f"{spec.name} has random weights, which nobody gives out",
            fix=f"use `embedlib models build {spec.base_name}`",
        )
    if not spec.weights.urls:
        raise WeightsMissingError(
            f"the weights of {spec.name} were never published",
            fix=f"bring your own with `embedlib models add FILE --as {spec.name}`",
        )


def _first_good(
    name: str,
    urls: Sequence[str],
    *,
    fetch: Callable[[str], _Download],
    check: Callable[[_Download], _Checked],
) -> tuple[_Download, _Checked]:
    """Try URLs in order until one gives what passes the check."""
    failures: list[str] = []
    wrong: ModelError | None = None
    for url in urls:
        try:
            download = fetch(url)
            return download, check(download)
        except ModelError as exc:
            wrong = wrong or exc
        except (OSError, http.client.HTTPException) as exc:
            failures.append(f"{url}: {_reason(exc)}")
    if wrong is not None:
        raise wrong
    raise ModelError(
        f"{name} could not be fetched ({', '.join(failures)})",
        fix="check the network, or put its files into a folder of EMBEDLIB_MODELS",
    )


def _checked_weights(spec: ModelSpec, path: Path, download: _Download) -> WeightFile:
    sha256, nodes = check_weights(spec, download.data, origin=download.url)
    if download.metadata is not None:
        origin = _metadata_url(download.url)
        metadata = parse_metadata(download.metadata, origin=origin)
        check_metadata(replace(spec, outputs=nodes.outputs), metadata, origin=origin)
    trust = Trust.PINNED if spec.weights.sha256 else Trust.LOCKED
    return WeightFile(path, sha256, False, nodes.input_node, nodes.outputs, trust)


def _checked_head(path: Path, download: _Download) -> Head:
    origin = _metadata_url(download.url)
    if download.metadata is None:
        raise ModelError(
            f"there is no {origin}, which would name the classes of the head",
            fix="take another head",
        )
    metadata = parse_metadata(download.metadata, origin=origin)
    head = check_head(download.data, metadata, path=path, origin=download.url)
    return replace(head, trust=Trust.LOCKED)


def _keep(path: Path, download: _Download, *, sha256: str) -> None:
    keep_weights(
        path, download.data, sha256=sha256, source=download.url, metadata=download.metadata
    )


def _fetch_both(url: str, *, timeout_s: float, on_progress: Progress | None) -> _Download:
    # The small file first: what is wrong with the server shows before 300 MB have come.
    metadata = _fetch_metadata(url, timeout_s=timeout_s)
    data = _fetch(url, max_bytes=_MAX_BYTES, timeout_s=timeout_s, on_progress=on_progress)
    return _Download(url, data, metadata)


def _fetch_metadata(url: str, *, timeout_s: float) -> bytes | None:
    try:
        return _fetch(_metadata_url(url), max_bytes=MAX_METADATA_BYTES, timeout_s=timeout_s)
    except urllib.error.HTTPError as exc:
        if exc.code != _NOT_FOUND:
            raise
        exc.close()
        return None


def _metadata_url(url: str) -> str:
    return f"{url.removesuffix('.pb')}.json"


def _fetch(
    url: str, *, max_bytes: int, timeout_s: float, on_progress: Progress | None = None
) -> bytes:
    data = bytearray()
    with _OPENER.open(url, timeout=timeout_s) as response:
        stated = response.headers["Content-Length"] or ""
        n_total = int(stated) if stated.isdecimal() else None
        while piece := response.read(_CHUNK_BYTES):
            data += piece
            if len(data) > max_bytes:
                raise OSError(f"more than {max_bytes} bytes")
            if on_progress is not None:
                on_progress(len(data), n_total)
    if n_total is not None and len(data) < n_total:
        raise OSError(f"the connection ended after {len(data)} of {n_total} bytes")
    return bytes(data)


def _reason(exc: OSError | http.client.HTTPException) -> str:
    if isinstance(exc, urllib.error.HTTPError):
        exc.close()
        return f"HTTP status {exc.code}"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    return (
        "no answer in time" if isinstance(reason, TimeoutError) else " ".join(str(reason).split())
    )
