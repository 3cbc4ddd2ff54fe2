"""Saved probes: the weights as ``.npz`` without pickle, and a JSON card beside them.

The card names the hash of the weights and is written after them, so that a crash, or a file from
elsewhere, never passes for a pair.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import one_line
from embedlib.errors import ConfigError, HashMismatchError, ModelError, WeightsMissingError
from embedlib.probes.card import Card, decoded, encoded
from embedlib.probes.probe import Probe
from embedlib.tables.durable import refusals, whole_file

SUFFIX: Final = ".npz"

_WEIGHTS: Final = ("shift", "scale", "w1", "b1", "w2", "b2")
_ARRAYS: Final = ("classes", *_WEIGHTS)

_AGAIN: Final = "train it again, or copy both files once more"

# What zipfile and NumPy 2.4 raise on archives that are damaged or made up.
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    ValueError,
    OSError,
    EOFError,
    KeyError,
    SyntaxError,
    NotImplementedError,
    MemoryError,
)


def save_probe(place: Place, probe: Probe, card: Card) -> Card:
    """Write a probe with its card; equal probes give equal bytes.

    Parameters
    ----------
    place : Path or StorePath
        The ``.npz`` file; the card goes beside it, under the same name with ``.json``.
    probe : Probe
        The weights.
    card : Card
        What is known of them.

    Returns
    -------
    card : Card
        As written, with the hash of the weights.

    Raises
    ------
    ConfigError
        If the name does not end in ``.npz``.
    ModelError
        If the card contradicts the probe.
    OutputError
        If the disk is full or not writable.
    """
    beside = card_place(place)
    arrays = {"classes": np.array(probe.classes, dtype=np.str_)}
    arrays |= {name: getattr(probe, name) for name in _WEIGHTS}
    _check_arrays(arrays, card, origin=str(place))
    content = _packed(arrays)
    written = replace(card, npz_sha256=hashlib.sha256(content).hexdigest())
    _write(place, content)
    _write(beside, encoded(written))
    return written


def load_probe(place: Place) -> tuple[Probe, Card]:
    """Read a probe with its card; no code in either file is run.

    Parameters
    ----------
    place : Path or StorePath
        The ``.npz`` file; its card lies beside it.

    Returns
    -------
    probe : Probe
        Bit by bit as it was saved.
    card : Card
        What is known of it.

    Raises
    ------
    ConfigError
        If the name does not end in ``.npz``.
    WeightsMissingError
        If one of the two files is not there.
    HashMismatchError
        If the card is that of other weights.
    ModelError
        If a file is damaged, holds something else, or one contradicts the other.
    """
    beside = card_place(place)
    content = _read(place)
    card = decoded(_read(beside), origin=str(beside))
    if hashlib.sha256(content).hexdigest() != card.npz_sha256:
        raise HashMismatchError(f"{place} holds other weights than {beside} says", fix=_AGAIN)
    arrays = _unpacked(content, origin=str(place))
    _check_arrays(arrays, card, origin=str(place))
    return Probe(card.classes, *(arrays[name] for name in _WEIGHTS)), card


def card_place(place: Place) -> Place:
    """Tell where the card of a probe lies.

    Parameters
    ----------
    place : Path or StorePath
        The ``.npz`` file.

    Returns
    -------
    card_place : Path or StorePath
        Beside it.

    Raises
    ------
    ConfigError
        If the name does not end in ``.npz``.

    Examples
    --------
    >>> from pathlib import Path
    >>> str(card_place(Path("probes/gtzan.npz")))
    'probes/gtzan.json'
    """
    if not place.name.endswith(SUFFIX) or place.name == SUFFIX:
        raise ConfigError(
            f"{str(place)!r} cannot name a probe", fix=f"give a file name that ends in {SUFFIX}"
        )
    return place.parent / f"{place.name.removesuffix(SUFFIX)}.json"


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Pack as `np.savez` does, which leaves the times of the members at 1980."""
    archive = BytesIO()
    np.savez(archive, allow_pickle=False, **dict(arrays))
    return archive.getvalue()


def _unpacked(content: bytes, *, origin: str) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(BytesIO(content)) as members:
            if any(each.compress_type != zipfile.ZIP_STORED for each in members.infolist()):
                raise ValueError("it is compressed")  # and might be of any size once it is not
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except _UNREADABLE as exc:
        raise ModelError(f"{origin} is no probe: {one_line(exc)}", fix=_AGAIN) from exc


def _check_arrays(arrays: Mapping[str, NDArray[Any]], card: Card, *, origin: str) -> None:
    """Refuse what is not a probe with the classes and sizes of its card."""
    if problem := _names_problem(arrays) or _contents_problem(arrays, card):
        raise ModelError(f"{origin} {problem}", fix=_AGAIN)


def _names_problem(arrays: Mapping[str, NDArray[Any]]) -> str:
    for verb, names in (
        ("lacks", [name for name in _ARRAYS if name not in arrays]),
        ("holds an unknown", [name for name in arrays if name not in _ARRAYS]),
    ):
        if names:
            return f"{verb} array {names[0]!r}"
    return ""


def _contents_problem(arrays: Mapping[str, NDArray[Any]], card: Card) -> str:
    classes = arrays["classes"]
    if classes.dtype.kind != "U" or tuple(classes.reshape(-1).tolist()) != card.classes:
        return f"has other classes than its card, {', '.join(card.classes)}"
    for name, shape in _shapes(card).items():
        found = arrays[name]
        if found.dtype != np.float32 or found.shape != shape:
            return f"has {name} {found.dtype} {found.shape}, its card says float32 {shape}"
        if not np.isfinite(found).all():
            return f"has {name} with NaN or infinity"
    return "" if (arrays["scale"] > 0).all() else "has scale that is not positive"


def _shapes(card: Card) -> dict[str, tuple[int, ...]]:
    n_dims, n_hidden, n_classes = card.embeddings.n_dims, card.params.n_hidden, len(card.classes)
    n_outputs = 1 if n_classes == 2 else n_classes
    return {
        "shift": (n_dims,),
        "scale": (n_dims,),
        "w1": (n_dims, n_hidden),
        "b1": (n_hidden,),
        "w2": (n_hidden, n_outputs),
        "b2": (n_outputs,),
    }


def _write(place: Place, content: bytes) -> None:
    with refusals(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(place) as temporary:
        temporary.write_bytes(content)


def _read(place: Place) -> bytes:
    try:
        return place.read_bytes()
    except FileNotFoundError as exc:
        raise WeightsMissingError(
            f"{place} is not there", fix="give a saved probe; its .npz and .json lie side by side"
        ) from exc
    except OSError as exc:
        raise ModelError(f"cannot read {place}: {exc.strerror}", fix=_AGAIN) from exc
