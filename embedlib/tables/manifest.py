"""`model.json`: what made the embeddings of a table, so that no other run mixes into it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from embedlib.errors import FingerprintError, OutputError
from embedlib.tables.durable import create_if_absent, refusals
from embedlib.tables.layout import MANIFEST_FILE, model_folder
from embedlib.tables.schema import SCHEMA_VERSION

_INFORMATIVE = frozenset({"schema_version", "licence", "citation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What a model table was made with.

    All fields but `schema_version`, `licence` and `citation` are its fingerprint: tables that
    differ in one of them hold other numbers, or other columns.

    Attributes
    ----------
    model : str
        Name of the table; several instances of one model have names of their own.
    n_dims : int
        Length of an embedding.
    untrained : bool
        Whether the weights are random.
    graph_sha256 : str
        Of the graph file; empty when untrained.
    builder_version, seed : int or None
        What an untrained graph was built from; None when trained.
    node : str
        Output node of the graph.
    front_end : str
        Name of the front end.
    front_end_version : int
        Grows when the numbers of the front end change.
    sr_hz : int
        Sampling rate at which the model listens.
    resampler, decoder : str
        Names, with quality.
    patch_frames, patch_hop_frames : int
        Length and hop of patches, in frames of the front end.
    last_patch : {'tile-short', 'discard', 'repeat'}
        What becomes of the frames after the last whole patch.
    precision : str
        Of inference, such as ``f32``.
    patches : bool
        Whether the embedding of each patch is kept beside their mean.
    licence, citation : str
        Of the weights; for people.
    schema_version : int
        Of the table.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model: str
    n_dims: int
    untrained: bool
    graph_sha256: str = ""
    builder_version: int | None = None
    seed: int | None = None
    node: str
    front_end: str
    front_end_version: int
    sr_hz: int
    resampler: str
    decoder: str
    patch_frames: int
    patch_hop_frames: int
    last_patch: Literal["tile-short", "discard", "repeat"]
    precision: str
    patches: bool
    licence: str = ""
    citation: str = ""
    schema_version: int = SCHEMA_VERSION


_PARSER = TypeAdapter(ModelManifest)


def fingerprint_differences(
    found: ModelManifest, wanted: ModelManifest
) -> tuple[tuple[str, object, object], ...]:
    """List the fields of the fingerprint in which two manifests differ.

    Parameters
    ----------
    found, wanted : ModelManifest
        Two manifests.

    Returns
    -------
    differences : tuple of (str, object, object)
        Name of the field, its value in `found`, its value in `wanted`.
    """
    names = (field.name for field in fields(ModelManifest) if field.name not in _INFORMATIVE)
    pairs = ((name, getattr(found, name), getattr(wanted, name)) for name in names)
    return tuple(pair for pair in pairs if pair[1] != pair[2])


def ensure_manifest(out: str | os.PathLike[str], manifest: ModelManifest) -> None:
    """Create the folder of a model table with its manifest, or check the one that is there.

    Of several processes that call this at once, one writes and all compare.

    Parameters
    ----------
    out : str or path-like
        The output folder, created if absent.
    manifest : ModelManifest
        What this run would make.

    Raises
    ------
    FingerprintError
        If the table was made with other parameters; all of them are named.
    OutputError
        If the folder cannot be written, or its `model.json` cannot be read.
    """
    folder = model_folder(out, manifest.model)
    with refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        created = create_if_absent(folder / MANIFEST_FILE, _encoded(manifest))
    if not created:
        _compare(read_manifest(folder), manifest, folder=folder)


def read_manifest(folder: Path) -> ModelManifest:
    """Read the manifest of a model table.

    Parameters
    ----------
    folder : Path
        Folder of the table.

    Returns
    -------
    manifest : ModelManifest
        As written.

    Raises
    ------
    OutputError
        If it is missing, unreadable, or of a newer version of embedlib.
    """
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
        newer = _schema_version(content) > SCHEMA_VERSION
        manifest = None if newer else _PARSER.validate_json(content)
    except OSError as exc:
        raise OutputError(f"cannot read {path}: {exc.strerror}", fix=_RESTORE) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutputError(f"{path} is damaged: {where} {first['msg']}", fix=_RESTORE) from exc
    except ValueError as exc:
        raise OutputError(f"{path} is damaged: {exc}", fix=_RESTORE) from exc
    if manifest is None:
        raise OutputError(f"{path} was written by a newer embedlib", fix="upgrade embedlib")
    return manifest


_RESTORE = "restore the file, or use a new output folder"


def _schema_version(content: bytes) -> int:
    data = json.loads(content)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise ValueError("it holds no schema_version")
    return version


def _encoded(manifest: ModelManifest) -> bytes:
    return (json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n").encode()


def _compare(found: ModelManifest, wanted: ModelManifest, *, folder: Path) -> None:
    if differences := fingerprint_differences(found, wanted):
        listed = ", ".join(f"{name}={old!r} (now {new!r})" for name, old, new in differences)
        raise FingerprintError(
            f"{folder} was made with {listed}", fix="use a new output folder or the old value"
        )
