"""Vectors from outside of a catalogue: of a sound file, or from a file of numbers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Final

import numpy as np

from embedlib.errors import ConfigError, FingerprintError
from embedlib.records import Float32
from embedlib.run.single import embed, ready_model
from embedlib.tables.manifest import ModelManifest, fingerprint_differences

_BESIDE: Final = frozenset({"model", "patches"})
"""Fields of a manifest that no embedding depends on; further columns are left out as well."""


def file_vector(audio: str | os.PathLike[str], manifest: ModelManifest) -> Float32:
    """Embed a sound file as the tracks of a table were embedded.

    Parameters
    ----------
    audio : str or path-like
        A file or URL.
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    vector : np.ndarray [shape=(n_dims,), float32]
        Mean over the patches.

    Raises
    ------
    AudioError
        If the audio gives no embedding.
    FingerprintError
        If the weights that are here are not those of the table, or the code is of another version.
    ModelError
        If the weights are missing.
    """
    options = _options(manifest)
    vectors = embed(audio, model=manifest.spec, **options)
    mean: Float32 = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def npy_vector(path: str | os.PathLike[str], *, n_dims: int) -> Float32:
    """Read one vector from a ``.npy`` file.

    Parameters
    ----------
    path : str or path-like
        The file; pickles are refused.
    n_dims : int > 0
        Length that it must have.

    Returns
    -------
    vector : np.ndarray [shape=(n_dims,), float32]
        Its values.

    Raises
    ------
    ConfigError
        If it cannot be read, or holds something else than `n_dims` finite numbers.
    """
    try:
        values = np.load(Path(path), allow_pickle=False)
        vector: Float32 = np.asarray(values, np.float32)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "it is no array of numbers"
        raise ConfigError(f"{path} cannot be read: {reason}", fix="give a .npy file") from exc
    if vector.shape not in {(n_dims,), (1, n_dims)} or not np.isfinite(vector).all():
        raise ConfigError(
            f"{path} holds an array of shape {vector.shape}", fix=f"give {n_dims} finite numbers"
        )
    return vector.reshape(n_dims)


def _options(manifest: ModelManifest) -> dict[str, Any]:
    """Find the options by which the model gives the embeddings of a table."""
    options: dict[str, Any] = {
        "patch_hop_frames": manifest.patch_hop_frames,
        "last_patch": manifest.last_patch,
        "precision": manifest.precision,
        "decoder": manifest.decoder,
        "resampler": manifest.resampler,
    }
    ready = ready_model(manifest.spec, **options).job.manifest
    if ready.node != manifest.node:
        options["node"] = manifest.node
        ready = ready_model(manifest.spec, **options).job.manifest
    if differences := _differences(manifest, ready):
        name, table, here = differences[0]
        raise FingerprintError(
            f"the table {manifest.model} was made with {name}={table}, here it is {here}",
            fix="search by --track or --vector, or bring the weights that made the table",
        )
    return options


def _differences(table: ModelManifest, here: ModelManifest) -> list[tuple[str, str, str]]:
    own, other = (dataclasses.replace(each, columns=()) for each in (table, here))
    return [each for each in fingerprint_differences(own, other) if each[0] not in _BESIDE]
