"""`model.json`: what made the embeddings of a table, so that no other run mixes into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, FingerprintError, OutputError
from embedlib.features.patches import LastPatch
from embedlib.tables.durable import create_if_absent, refusals
from embedlib.tables.layout import MANIFEST_FILE, OutLike, model_folder
from embedlib.tables.schema import SCHEMA_VERSION, check_column_names

_INFORMATIVE = frozenset({"schema_version", "licence", "citation"})

_BESIDE_EMBEDDINGS = frozenset({"columns", "patches"})

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Column:
    """One more vector per patch, beside the embedding: another output, or what a head makes of it.

    Attributes
    ----------
    name : str
        Of the column with its mean over each track; that of the patches is ``patch_<name>``.
    n_dims : int
        Length of the vector.
    nodes : tuple of str
        Output nodes that it is read from, of the graph of the model or of the head.
    readout : str
        Name of the function that makes it of them.
    readout_version : int
        Grows when the numbers of the readout change.
    head : str
        Name of the classification head; empty for an output of the model itself.
    head_sha256 : str
        Of the head's graph file; empty without head.
    classes : tuple of str
        Names of the values, in order, where they are known.

    Raises
    ------
    ConfigError
        If there are names of classes, but not one for each value.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    n_dims: int
    nodes: tuple[str, ...]
    readout: str
    readout_version: int
    head: str = ""
    head_sha256: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.n_dims:
            raise ConfigError(
                f"the column {self.name!r} has {self.n_dims} values and "
                f"{len(self.classes)} names of classes",
                fix="give one name for each value, or none",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What a model table was made with.

    All fields but `schema_version`, `licence`, `citation` and the names of classes are its
    fingerprint: tables that differ in one of them hold other numbers, or other columns. The
    defaults of fields that an old `model.json` lacks say how its table was made.

    Attributes
    ----------
    model : str
        Name of the table; several instances of one model have names of their own.
    spec : str
        Model behind the instance; by default the one that the table is named after.
    n_dims : int
        Length of an embedding.
    n_vectors : int
        Embeddings of one patch.
    untrained : bool
        Whether the weights are random.
    graph_sha256 : str
        Of the graph file; empty for the untrained models that come with embedlib.
    builder_version, seed : int or None
        What an untrained graph was built from; None when trained.
    node : str
        Output node of the graph that embeddings are read from; several joined with ``, ``.
    readout : str
        Name of the function that makes embeddings of the outputs.
    readout_version : int
        Grows when the numbers of the readout change.
    columns : tuple of Column
        Further vectors of each patch.
    front_end : str
        Name of the front end.
    front_end_version : int
        Grows when the numbers of the front end change.
    patch_input : str
        Name of the function that makes an input of the graph of a patch.
    patch_input_version : int
        Grows when the numbers of the patch input change.
    sr_hz : int
        Sampling rate at which the model listens.
    resampler, decoder : str
        Names, with quality.
    patch_frames, patch_hop_frames : int
        Length and hop of patches, in frames of the front end.
    last_patch : {'tile-short', 'pad-short', 'discard', 'repeat', 'pad', 'centred'}
        What becomes of the frames that do not fill a patch.
    precision : str
        Of inference, such as ``f32``.
    patches : bool
        Whether the embedding of each patch is kept beside their mean.
    licence, citation : str
        Of the weights; for people.
    schema_version : int
        Of the table.

    Raises
    ------
    ConfigError
        If the name of a further column is impossible or taken.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    model: str
    spec: str = ""
    n_dims: int
    n_vectors: int = 1
    untrained: bool
    graph_sha256: str = ""
    builder_version: int | None = None
    seed: int | None = None
    node: str
    readout: str = "vector"
    readout_version: int = 1
    columns: tuple[Column, ...] = ()
    front_end: str
    front_end_version: int
    patch_input: str = "frames"
    patch_input_version: int = 1
    sr_hz: int
    resampler: str
    decoder: str
    patch_frames: int
    patch_hop_frames: int
    last_patch: LastPatch
    precision: str
    patches: bool
    licence: str = ""
    citation: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_column_names(column.name for column in self.columns)
        if not self.spec:
            object.__setattr__(self, "spec", self.model)


_PARSER = TypeAdapter(ModelManifest)


def fingerprint_differences(
    found: ModelManifest, wanted: ModelManifest
) -> tuple[tuple[str, str, str], ...]:
    """List where the fingerprints of two manifests differ.

    Parameters
    ----------
    found, wanted : ModelManifest
        Two manifests; the order of their further columns does not matter.

    Returns
    -------
    differences : tuple of (str, str, str)
        Name of a field, or ``columns.<name>``; what `found` says, what `wanted` says.
    """
    names = (field.name for field in fields(ModelManifest) if field.name not in _INFORMATIVE)
    pairs = (
        (name, repr(getattr(found, name)), repr(getattr(wanted, name)))
        for name in names
        if name != "columns"
    )
    return tuple(
        each for each in (*pairs, *_described_columns(found, wanted)) if each[1] != each[2]
    )


def embeddings_fingerprint(manifest: ModelManifest) -> str:
    """Name what the embeddings of a table depend on, apart from the audio.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    fingerprint : str
        16 hex digits, a hash of its fingerprint without what is kept beside the embeddings. A field
        at its default is left out, so that later fields change no hash.
    """
    told = (each for each in fields(ModelManifest) if each.name not in _INFORMATIVE)
    values = {
        each.name: getattr(manifest, each.name)
        for each in told
        if each.name not in _BESIDE_EMBEDDINGS and getattr(manifest, each.name) != each.default
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _described_columns(
    found: ModelManifest, wanted: ModelManifest
) -> Iterator[tuple[str, str, str]]:
    first, second = ({each.name: each for each in one.columns} for one in (found, wanted))
    for name in first | second:
        yield f"columns.{name}", _described(first.get(name)), _described(second.get(name))


def _described(column: Column | None) -> str:
    """Say in a line all that the fingerprint holds of a column."""
    if column is None:
        return "absent"
    head = f" of head {column.head} {column.head_sha256}".rstrip() if column.head else ""
    source = f"{', '.join(column.nodes)}{head}"
    return f"{column.n_dims} values of {source}, readout {column.readout} {column.readout_version}"


def ensure_manifest(out: OutLike, manifest: ModelManifest) -> None:
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


def check_manifest(out: OutLike, manifest: ModelManifest) -> None:
    """Compare with the manifest of a model table, if there is one; nothing is written.

    Parameters
    ----------
    out : str, path-like or StorePath
        The output folder, which need not exist.
    manifest : ModelManifest
        What a run would make.

    Raises
    ------
    FingerprintError
        If the table was made with other parameters; all of them are named.
    OutputError
        If its `model.json` cannot be read.
    """
    folder = model_folder(out, manifest.model)
    if (folder / MANIFEST_FILE).exists():
        _compare(read_manifest(folder), manifest, folder=folder)


def read_manifest(folder: Place) -> ModelManifest:
    """Read the manifest of a model table.

    Parameters
    ----------
    folder : Path or StorePath
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
    except ConfigError as exc:
        raise OutputError(f"{path} is damaged: {exc.args[0]}", fix=_RESTORE) from exc
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


def _compare(found: ModelManifest, wanted: ModelManifest, *, folder: Place) -> None:
    if differences := fingerprint_differences(found, wanted):
        listed = ", ".join(f"{name}={old} (now {new})" for name, old, new in differences)
        raise FingerprintError(
            f"{folder} was made with {listed}", fix="use a new output folder or the old value"
        )
