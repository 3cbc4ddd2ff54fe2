"""From models that were found to the jobs that workers carry out."""

from __future__ import annotations

import math
import random
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from embedlib.audio.decode import AudioLimits
from embedlib.audio.waveform import check_request
from embedlib.config import ExtractConfig
from embedlib.engines.load import resolve_engine
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.features.patches import PatchRule
from embedlib.features.readout import readout
from embedlib.models.builder import BUILDER_VERSION
from embedlib.models.heads import Head
from embedlib.models.locks import read_weights
from embedlib.models.spec import Output
from embedlib.records import Shard
from embedlib.run.decoding import CHUNK_BYTES
from embedlib.run.driver import RunPlan
from embedlib.run.job import DecodeJob, HeadJob, ModelJob
from embedlib.run.resolve import Prepared
from embedlib.tables.catalog import Plan, pending_shards
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


def model_job(model: Prepared, *, folder: Path) -> ModelJob:
    """Say how frames become rows of one model.

    Parameters
    ----------
    model : Prepared
        The model.
    folder : Path
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
        provenance=(("engine", engine), ("device", config.device), *_versions()),
    )


def _manifest(model: Prepared, rule: PatchRule) -> ModelManifest:
    spec, config, file = model.instance.spec, model.config, model.file
    embedding, *further = model.outputs
    return ModelManifest(
        model=model.instance.table,
        spec=spec.name,
        n_dims=embedding.n_values,
        n_vectors=embedding.n_vectors,
        untrained=file.untrained,
        graph_sha256="" if file.untrained else file.sha256,
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


def _output_column(output: Output) -> Column:
    return Column(
        name=re.sub(r"[^A-Za-z0-9_.-]+", ".", output.purpose).strip("._-"),
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


def _in_order(shards: Iterable[Shard], *, run_id: str) -> list[Shard]:
    """Put shards into the order in which they should start.

    The long ones first, in classes of twofold length, so that the last to end is a short one;
    within a class by chance, so that two runs on one output seldom work on the same shard.
    """
    chance = random.Random(run_id)
    shuffled = sorted(shards, key=lambda shard: shard.shard_id)
    chance.shuffle(shuffled)
    return sorted(shuffled, key=lambda shard: -math.frexp(shard.audio_s)[1])


def _versions() -> tuple[tuple[str, str], ...]:
    """Versions of the libraries that could change a number, where they are installed."""
    found = []
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found.append((f"version.{name}", version(name)))
    return tuple(found)


def decode_job(config: ExtractConfig, *, front_ends: Iterable[str]) -> DecodeJob:
    """Say how audio becomes frames.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.
    front_ends : iterable of str
        Of the models; each name counts once.

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
    return DecodeJob(
        front_ends=names,
        decoder=config.decoder,
        resampler=config.resampler,
        limits=limits,
        chunk_bytes=CHUNK_BYTES,
    )


def run_plan(
    config: ExtractConfig,
    *,
    out: Path,
    catalogue: Plan,
    jobs: Mapping[str, ModelJob],
    graphs: Mapping[str, Path],
    decode: DecodeJob,
) -> RunPlan:
    """Say what is left to do.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.
    out : Path
        The output folder.
    catalogue : Plan
        What the source holds.
    jobs : mapping of str to ModelJob
        By name of the model.
    graphs : mapping of str to Path
        Weight files by name of the model.
    decode : DecodeJob
        How audio becomes frames.

    Returns
    -------
    plan : RunPlan
        The shards that are pending for at least one model, and the models that have such shards.
    """
    shards: dict[str, Shard] = {}
    models: dict[str, tuple[str, ...]] = {}
    for name in jobs:
        for shard in pending_shards(out, name, catalogue):
            shards[shard.shard_id] = shard
            models[shard.shard_id] = (*models.get(shard.shard_id, ()), name)
    unfinished = {name for names in models.values() for name in names}
    run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    return RunPlan(
        out=out,
        run_id=run_id,
        shards={shard.shard_id: shard for shard in _in_order(shards.values(), run_id=run_id)},
        models=models,
        jobs={name: job for name, job in jobs.items() if name in unfinished},
        graphs=graphs,
        decode=decode,
        budget_bytes=config.budget_mb << 20,
    )
