"""What a run is about to do: jobs for all that was asked of it, and the shards that are left."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from embedlib.catalog.shards import ShardSize
from embedlib.catalog.stores import Place
from embedlib.config import ExtractConfig
from embedlib.records import Shard
from embedlib.run.driver import RunPlan
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.memory import STEP_MEMORY_BYTES
from embedlib.run.pools import PoolLimits
from embedlib.run.prepare import decode_job, model_job
from embedlib.run.resolve import prepare_models
from embedlib.run.run_folder import new_run_id
from embedlib.tables.layout import model_folder
from embedlib.tables.manifest import check_manifest
from embedlib.tables.pending import PendingShards


@dataclass(frozen=True, slots=True)
class ReadyJobs:
    """All that workers need to know, before it is known which shards are left.

    Attributes
    ----------
    models : mapping of str to ModelJob
        By name of the table.
    graphs : mapping of str to Path
        Weight files by name of the table.
    decode : DecodeJob
        How audio becomes frames.
    """

    models: Mapping[str, ModelJob]
    graphs: Mapping[str, Path]
    decode: DecodeJob


def ready_jobs(config: ExtractConfig, *, out: Place) -> ReadyJobs:
    """Find the files of all models and say how they are run; nothing is written.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.
    out : Path or StorePath
        The output folder.

    Returns
    -------
    jobs : ReadyJobs
        In the order in which the models were named.

    Raises
    ------
    ConfigError
        If a name is unknown, or options do not go together.
    ModelError
        If weights are missing, or not what they should be.
    """
    found = {model.instance.table: model for model in prepare_models(config)}
    models = {
        table: model_job(model, folder=model_folder(out, table)) for table, model in found.items()
    }
    return ReadyJobs(
        models=models,
        graphs={table: model.file.path for table, model in found.items()},
        decode=decode_job(
            config,
            front_ends=[job.front_end for job in models.values()],
            step_memory_bytes=STEP_MEMORY_BYTES,
        ),
    )


def check_manifests(out: Place, jobs: Mapping[str, ModelJob]) -> None:
    """Refuse other parameters before anything is written to an output that exists.

    Parameters
    ----------
    out : Path or StorePath
        The output folder.
    jobs : mapping of str to ModelJob
        By name of the table.

    Raises
    ------
    FingerprintError
        If a table was made with other parameters.
    """
    for job in jobs.values():
        check_manifest(out, job.manifest)


def run_plan(
    config: ExtractConfig,
    *,
    out: Place,
    jobs: ReadyJobs,
    pending: Mapping[str, PendingShards],
) -> RunPlan:
    """Say what is left to do.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.
    out : Path or StorePath
        The output folder.
    jobs : ReadyJobs
        How that is done.
    pending : mapping of str to PendingShards
        What each model has still to do.

    Returns
    -------
    plan : RunPlan
        The shards that are pending for at least one model, and the models that have such shards.
    """
    source: dict[str, PendingShards] = {}
    models: dict[str, tuple[str, ...]] = {}
    begun = {name: of_model.begun for name, of_model in pending.items()}
    for name, of_model in pending.items():
        for shard_id in of_model:
            # Decoded once for all models: whole, where they may lack different tracks of it.
            differs = shard_id in source and any(shard_id in each for each in begun.values())
            source[shard_id] = of_model.whole() if differs else of_model
            models[shard_id] = (*models.get(shard_id, ()), name)
    run_id = new_run_id()
    sizes = {shard_id: of_model.sizes[shard_id] for shard_id, of_model in source.items()}
    order = _in_order(sizes, run_id=run_id)
    return RunPlan(
        out=out,
        run_id=run_id,
        shards=_Shards({shard_id: source[shard_id] for shard_id in order}),
        sizes={shard_id: sizes[shard_id] for shard_id in order},
        models=models,
        jobs={name: job for name, job in jobs.models.items() if pending.get(name)},
        graphs=jobs.graphs,
        decode=jobs.decode,
        budget_bytes=config.budget_mb << 20,
        accept_missing=config.accept_missing,
        worker_memory_bytes=config.worker_memory_mb << 20,
        pool=PoolLimits(config.pool_min, config.pool_max),
        grow_to=config.grow_to,
        begun=begun,
    )


class _Shards(Mapping[str, Shard]):
    """Shards by id, each read from where it is pending when it is asked for."""

    def __init__(self, source: Mapping[str, PendingShards]) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __contains__(self, shard_id: object) -> bool:
        return shard_id in self._source

    def __getitem__(self, shard_id: str) -> Shard:
        return self._source[shard_id][shard_id]


def _in_order(sizes: Mapping[str, ShardSize], *, run_id: str) -> list[str]:
    """Put shards into the order in which they should start.

    The long ones first, in classes of twofold length, so that the last to end is a short one;
    within a class by chance, so that two runs on one output seldom work on the same shard.
    """
    chance = random.Random(run_id)
    shuffled = sorted(sizes)
    chance.shuffle(shuffled)
    return sorted(shuffled, key=lambda shard_id: -math.frexp(sizes[shard_id].audio_s)[1])
