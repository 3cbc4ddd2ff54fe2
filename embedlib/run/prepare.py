"""From a configuration to the jobs that workers carry out: names, files and parameters resolved."""

from __future__ import annotations

import math
import random
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
from embedlib.errors import ConfigError
from embedlib.features.front_end import front_end
from embedlib.models.builder import BUILDER_VERSION
from embedlib.models.graph import list_nodes, parse_graph
from embedlib.models.locks import read_weights
from embedlib.models.registry import model_spec
from embedlib.models.spec import ModelSpec
from embedlib.models.store import WeightFile, locate
from embedlib.records import Shard
from embedlib.run.decoding import CHUNK_BYTES
from embedlib.run.driver import RunPlan
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.tables.catalog import Plan, pending_shards
from embedlib.tables.manifest import ModelManifest

_LIBRARIES = ("embedlib", "ray", "numpy", "av", "soxr", "openvino", "pyarrow", "deltalake")


def locate_all(config: ExtractConfig) -> list[tuple[ModelSpec, WeightFile]]:
    """Find and check the weights of all models, before anything else is done.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.

    Returns
    -------
    models : list of (ModelSpec, WeightFile)
        In the order in which they were named, each once.

    Raises
    ------
    ConfigError
        If a name is unknown, or options for one model are given with several.
    ModelError
        If weights are missing, or not what they should be.
    """
    if len(config.models) > 1 and (config.weights or config.node):
        raise ConfigError(
            f"--weights and --node belong to one model, {len(config.models)} are named",
            fix="name one model",
        )
    path = Path(config.weights) if config.weights else None
    specs = [model_spec(name) for name in dict.fromkeys(config.models)]
    return [(spec, locate(spec, path=path)) for spec in specs]


def model_job(
    spec: ModelSpec, file: WeightFile, config: ExtractConfig, *, folder: Path
) -> ModelJob:
    """Say how frames become rows of one model.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    file : WeightFile
        Its verified weights.
    config : ExtractConfig
        What the user wants.
    folder : Path
        Where the parts go.

    Returns
    -------
    job : ModelJob
        For the model workers.
    """
    engine = resolve_engine(config.engine)
    rule = spec.patch_rule(hop_frames=config.patch_hop_frames, last=config.last_patch)
    node = config.node or spec.embedding_node
    n_dims = _n_dims(spec, file, node)
    manifest = ModelManifest(
        model=spec.name,
        n_dims=n_dims,
        untrained=file.untrained,
        graph_sha256="" if file.untrained else file.sha256,
        builder_version=BUILDER_VERSION if file.untrained else None,
        seed=0 if file.untrained else None,
        node=node,
        front_end=spec.front_end,
        front_end_version=front_end(spec.front_end).version,
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
    return ModelJob(
        name=spec.name,
        front_end=spec.front_end,
        input_node=spec.input_node,
        output_node=node,
        patch_shape=spec.input_shape,
        rule=rule,
        n_dims=n_dims,
        engine=engine,
        precision=config.precision,
        batch_size=spec.batch_size,
        manifest=manifest,
        folder=str(folder),
        provenance=(("engine", engine), *_versions()),
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


def _n_dims(spec: ModelSpec, file: WeightFile, node: str) -> int:
    """Length of the vector that a node gives per patch."""
    if node == spec.embedding_node:
        return spec.n_dims
    graph = parse_graph(read_weights(file.path), origin=str(file.path))
    shape = {info.name: info.shape for info in list_nodes(graph)}.get(node)
    if shape is None or len(shape) != 2 or shape[1] is None:
        raise ConfigError(
            f"node {node!r} of {spec.name} has shape {shape}, not one vector per patch",
            fix=f"choose another of `embedlib models nodes {file.path}`",
        )
    return shape[1]


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
    rates_hz = [front_end(name).sr_hz for name in names]
    check_request(rates_hz, decoder=config.decoder, resampler=config.resampler)
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
        The shards that are pending for at least one model.
    """
    shards: dict[str, Shard] = {}
    models: dict[str, tuple[str, ...]] = {}
    for name in jobs:
        for shard in pending_shards(out, name, catalogue):
            shards[shard.shard_id] = shard
            models[shard.shard_id] = (*models.get(shard.shard_id, ()), name)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    return RunPlan(
        out=out,
        run_id=run_id,
        shards={shard.shard_id: shard for shard in _in_order(shards.values(), run_id=run_id)},
        models=models,
        jobs=jobs,
        graphs=graphs,
        decode=decode,
        budget_bytes=config.budget_mb << 20,
    )
