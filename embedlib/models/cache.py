"""Weight files that the user put into the cache, and whether they are still the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embedlib.errors import ConfigError
from embedlib.models.heads import Head, check_head, head_file
from embedlib.models.locks import file_sha256, keep_weights, locked_sha256, read_weights
from embedlib.models.metadata import metadata_bytes, read_metadata
from embedlib.models.registry import model_spec, model_specs
from embedlib.models.spec import ModelSpec
from embedlib.models.store import (
    ONNX_SUFFIX,
    WeightFile,
    is_onnx,
    locate,
    weights_folder,
    weights_name,
    weights_trust,
)
from embedlib.models.trust import Trust


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A file of the cache, held against what is known of it.

    Attributes
    ----------
    path : Path
        Where it is.
    sha256 : str
        Hex digest of its bytes.
    expected : str or None
        What it should be; None where nothing is known.
    """

    path: Path
    sha256: str
    expected: str | None

    @property
    def is_good(self) -> bool:
        """Whether the file is what it should be, as far as that is known."""
        return self.expected in (None, self.sha256)


def add(file: Path, *, name: str) -> WeightFile | Head:
    """Copy a file of the user's into the cache, with its metadata, and lock its hash.

    Parameters
    ----------
    file : Path
        A frozen TensorFlow graph, or an ``.onnx`` file. It is a head where the metadata beside it
        name the model whose embeddings it takes.
    name : str
        Name of the model or head that it is.

    Returns
    -------
    weights : WeightFile or Head
        In the cache.

    Raises
    ------
    WeightsMissingError
        If there is no such file.
    HashMismatchError
        If the model's hash is known, or another file was locked, and the file differs.
    ModelError
        If the file is no harmless graph, lacks the nodes of the model, or its metadata say
        otherwise.
    ConfigError
        If there is no such model, it is an untrained one, or the name cannot be that of a head.
    """
    metadata = read_metadata(file)
    if metadata is None or not metadata.inference.embedding_model.model_name:
        return _add_weights(file, model_spec(name))
    path = weights_folder() / head_file(name)
    head = check_head(read_weights(file), metadata, path=path, origin=str(file))
    _keep(file, path, sha256=head.sha256)
    return replace(head, trust=Trust.LOCKED)


def _add_weights(file: Path, spec: ModelSpec) -> WeightFile:
    if spec.untrained:
        raise ConfigError(
            f"{spec.name} has random weights, so {file} cannot be its file",
            fix=f"use --as {spec.base_name}",
        )
    located = locate(spec, path=file)
    path = weights_folder() / weights_name(spec, onnx=is_onnx(file))
    _keep(file, path, sha256=located.sha256)
    return replace(located, path=path, trust=weights_trust(spec, onnx=is_onnx(file)))


def _keep(file: Path, path: Path, *, sha256: str) -> None:
    keep_weights(
        path,
        read_weights(file),
        sha256=sha256,
        source=str(file.resolve()),
        metadata=metadata_bytes(file),
    )


def verify() -> tuple[VerifiedFile, ...]:
    """Hash every weight file of the cache again.

    Returns
    -------
    files : tuple of VerifiedFile
        In the order of their names.
    """
    pinned = {spec.weights.file_name: spec.weights.sha256 for spec in model_specs()}
    pinned |= {weights_name(spec, onnx=True): spec.weights.onnx_sha256 for spec in model_specs()}
    return tuple(
        VerifiedFile(path, file_sha256(path), pinned.get(path.name) or locked_sha256(path))
        for path in sorted(weights_folder().glob("[!.]*"))
        if path.suffix in (".pb", ONNX_SUFFIX)
    )
