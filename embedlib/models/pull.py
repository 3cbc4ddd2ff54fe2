"""Fetch published weights into the cache."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable

from embedlib.errors import ConfigError, ModelError, WeightsMissingError
from embedlib.models.locks import checked_sha256, write_atomically, write_lock
from embedlib.models.spec import ModelSpec
from embedlib.models.store import WeightFile, check_weights, expected_sha256, weights_folder

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and, where the server says it, the bytes in all."""

DEFAULT_TIMEOUT_S = 60.0

_CHUNK_BYTES = 1 << 16
# Three times the largest published model (MAEST, 350 MB); a server must not fill the memory.
_MAX_BYTES = 1 << 30


def pull(
    spec: ModelSpec,
    *,
    trust_first: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_progress: Progress | None = None,
) -> WeightFile:
    """Fetch the weights of a model into the cache, where they are not there yet.

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
    path = weights_folder() / spec.weights.file_name
    expected = expected_sha256(spec)
    if expected is None and not trust_first:
        raise ConfigError(
            f"no sha256 of {spec.name} is known",
            fix="add --trust-first to lock the hash of the first file that comes",
        )
    if expected is not None and path.is_file():
        return WeightFile(path, checked_sha256(path, expected=expected), False)
    url, data, sha256 = _first_good(spec, timeout_s=timeout_s, on_progress=on_progress)
    write_atomically(path, data)
    write_lock(path, sha256=sha256, source=url)
    return WeightFile(path, sha256, False)


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
    spec: ModelSpec, *, timeout_s: float, on_progress: Progress | None
) -> tuple[str, bytes, str]:
    failures: list[str] = []
    wrong: ModelError | None = None
    for url in spec.weights.urls:
        try:
            data = _fetch(url, timeout_s=timeout_s, on_progress=on_progress)
            return url, data, check_weights(spec, data, origin=url)
        except ModelError as exc:
            wrong = wrong or exc
        except (OSError, http.client.HTTPException) as exc:
            failures.append(f"{url}: {_reason(exc)}")
    if wrong is not None:
        raise wrong
    raise ModelError(
        f"{spec.name} could not be fetched ({', '.join(failures)})",
        fix=f"check the network, or put {spec.weights.file_name} into a folder of EMBEDLIB_MODELS",
    )


def _fetch(url: str, *, timeout_s: float, on_progress: Progress | None) -> bytes:
    data = bytearray()
    with urllib.request.urlopen(url, timeout=timeout_s) as response:
        stated = response.headers["Content-Length"] or ""
        n_total = int(stated) if stated.isdecimal() else None
        while piece := response.read(_CHUNK_BYTES):
            data += piece
            if len(data) > _MAX_BYTES:
                raise OSError(f"more than {_MAX_BYTES} bytes")
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
