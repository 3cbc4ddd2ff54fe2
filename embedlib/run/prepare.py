"""From models that were found to the jobs that workers carry out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from embedlib.audio.decode import AudioLimits
from embedlib.audio.resample import SOXR_HQ
from embedlib.audio.waveform import check_request
from embedlib.catalog.allowed import Allowed
from embedlib.catalog.listing import allowed_places
from embedlib.catalog.stores import Place
from embedlib.config import ExtractConfig
from embedlib.engines.load import resolve_engine
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.features.patches import PatchRule
from embedlib.features.readout import readout
from embedlib.models.builder import BUILDER_VERSION
from embedlib.models.heads import Head
from embedlib.models.locks import read_weights
from embedlib.models.registry import comes_with_embedlib
from embedlib.models.spec import Output
from embedlib.run.decoding import CHUNK_BYTES
from embedlib.run.job import DecodeJob, HeadJob, ModelJob
from embedlib.run.resolve import Prepared
from embedlib.tables.manifest import Column, ModelManifest

_LIBRARIES = (
    "embedlib",
    "ray",
    "numpy",
    "av",
    "soxr",
    "openvino",
    "onnxruntime",
    "pyarrow",
    "deltalake",
)


def model_job(model: Prepared, *, folder: Place) -> ModelJob:
    """Say how frames become rows of one model.

    Parameters
    ----------
    model : Prepared
        The model.
    folder : Path or StorePath
        Where the parts go.

    Returns
    -------
    job : ModelJob
        For the model workers.

    Raises
    ------
    ConfigError
        If the options do not go together.
    EngineError
        If the engine is not installed.
    """
    spec, config, file = model.instance.spec, model.config, model.file
    engine = resolve_engine(config.engine, device=config.device)
    rule = spec.patch_rule(hop_frames=config.patch_hop_frames, last=config.last_patch)
    return ModelJob(
        name=model.instance.table,
        front_end=spec.front_end,
        patch_input=spec.patch_input,
        input_node=file.input_node,
        input_shape=spec.input_shape,
        rule=rule,
        outputs=model.outputs,
        heads=tuple(map(_head_job, model.heads)),
        graph_sha256=file.sha256,
        graph_suffix=file.path.suffix,
        engine=engine,
        precision=config.precision,
        device=config.device,
        batch_size=spec.batch_size,
        manifest=_manifest(model, rule),
        folder=str(folder),
        provenance=(
            ("engine", engine),
            ("device", config.device),
            ("weights", file.trust),
            *((f"weights.{head.name}", head.trust) for head in model.heads),
            *_versions(),
        ),
    )


def _manifest(model: Prepared, rule: PatchRule) -> ModelManifest:
    spec, config, file = model.instance.spec, model.config, model.file
    embedding, *further = model.outputs
    # Of our own graphs, the version of the builder and the seed say all.
    is_told_by_seed = file.untrained and comes_with_embedlib(spec)
    return ModelManifest(
        model=model.instance.table,
        spec=spec.name,
        n_dims=embedding.n_values,
        n_vectors=embedding.n_vectors,
        untrained=file.untrained,
        graph_sha256="" if is_told_by_seed else file.sha256,
        builder_version=BUILDER_VERSION if file.untrained else None,
        seed=0 if file.untrained else None,
        node=", ".join(embedding.nodes),
        readout=embedding.readout,
        readout_version=readout(embedding.readout).version,
        columns=(*map(_output_column, further), *map(_head_column, model.heads)),
        front_end=spec.front_end,
        front_end_version=front_end(spec.front_end).version,
        patch_input=spec.patch_input,
        patch_input_version=patch_input(spec.patch_input).version,
        sr_hz=spec.sr_hz,
        resampler=config.resampler,
        decoder=config.decoder,
        patch_frames=rule.patch_frames,
        patch_hop_frames=rule.hop_frames,
        last_patch=rule.last,
        precision=config.precision,
        patches=config.patches,
        licence=spec.weights.licence,
        citation=spec.citation,
    )


def column_name(output: str) -> str:
    """Name the column of a further output.

    Parameters
    ----------
    output : str
        Its purpose, or the name of its node.

    Returns
    -------
    name : str
        With what a column may be called.

    Examples
    --------
    >>> column_name("model/dense_1/BiasAdd:0")
    'model.dense_1.BiasAdd.0'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", ".", output).strip("._-")


def _output_column(output: Output) -> Column:
    return Column(
        name=column_name(output.purpose),
        n_dims=output.n_values,
        nodes=output.nodes,
        readout=output.readout,
        readout_version=readout(output.readout).version,
    )


def _head_column(head: Head) -> Column:
    return Column(
        name=head.name,
        n_dims=head.n_values,
        nodes=(head.output_node,),
        readout="vector",
        readout_version=readout("vector").version,
        head=head.name,
        head_sha256=head.sha256,
        classes=head.classes,
    )


def _head_job(head: Head) -> HeadJob:
    return HeadJob(
        name=head.name,
        graph=read_weights(head.path),
        input_node=head.input_node,
        output_node=head.output_node,
        input_shape=head.input_shape,
        n_values=head.n_values,
    )


def _versions() -> tuple[tuple[str, str], ...]:
    """Versions of the libraries that could change a number, where they are installed."""
    found = []
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found.append((f"version.{name}", version(name)))
    return tuple(found)


def decode_job(
    config: ExtractConfig, *, front_ends: Iterable[str], step_memory_bytes: int = 0
) -> DecodeJob:
    """Say how audio becomes frames.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.
    front_ends : iterable of str
        Of the models; each name counts once.
    step_memory_bytes : int
        As in `DecodeJob`; without effect where Essentia decodes or resamples, which holds all of a
        track.

    Returns
    -------
    job : DecodeJob
        For the decode workers.

    Raises
    ------
    ConfigError
        If the decoder and the resampler do not go together.
    EngineError
        If they need Essentia and it is not installed.
    """
    names = tuple(dict.fromkeys(front_ends))
    signals = [front_end(name).signal for name in names]
    check_request(signals, decoder=config.decoder, resampler=config.resampler)
    limits = AudioLimits(max_duration_s=config.max_duration_s, cpu_deadline_s=config.cpu_deadline_s)
    is_streaming = (config.decoder, config.resampler) == ("pyav", SOXR_HQ)
    return DecodeJob(
        front_ends=names,
        decoder=config.decoder,
        resampler=config.resampler,
        limits=limits,
        chunk_bytes=CHUNK_BYTES,
        step_memory_bytes=step_memory_bytes if is_streaming else 0,
        allowed=allowed_by(config),
    )


def allowed_by(config: ExtractConfig) -> Allowed:
    """Say where the tracks of a run may lie.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.

    Returns
    -------
    allowed : Allowed
        For the listing and for the decode workers.
    """
    return allowed_places(config.sources, schemes=config.allow_schemes, roots=config.allow_roots)
