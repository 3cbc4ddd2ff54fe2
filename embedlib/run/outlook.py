"""What a run would do, from sizes and formats alone: shards, rows, patches and bytes per model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from embedlib.catalog.listing import list_sources
from embedlib.config import ExtractConfig
from embedlib.features.front_end import front_end
from embedlib.features.patches import n_patches_of_samples
from embedlib.run.driver import RunPlan
from embedlib.run.job import ModelJob
from embedlib.run.planning import check_manifests, ready_jobs, run_plan
from embedlib.tables.catalog import preview
from embedlib.tables.layout import output_root
from embedlib.tables.pending import PendingShards, pending_shards
from embedlib.tables.vectors import vector_columns

PACKED: Final = 0.81
"""Bytes on disk per byte of float32: measured on embeddings of the real msd-musicnn-1 of music."""

PATCH_BYTES: Final = 2
"""On disk beside the vectors of a patch: its start, and the lengths of its lists."""

ROW_BYTES: Final = 160
"""On disk beside the vectors of a track: two hashes and a path do not get much shorter."""

PART_BYTES: Final = 7_500
"""Of a part without rows: names of columns, statistics, the footer; measured like `PACKED`."""


@dataclass(frozen=True, slots=True)
class ModelOutlook:
    """What is left to do for one model.

    Attributes
    ----------
    model : str
        Name of the table.
    n_shards, n_rows : int
        Shards and tracks without rows.
    audio_s : float
        Seconds of audio in them, as their sizes say.
    n_patches, n_bytes : int
        To be embedded and written, about.
    """

    model: str
    n_shards: int
    n_rows: int
    audio_s: float
    n_patches: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run would do.

    Attributes
    ----------
    out : str
        The output folder, which need not exist.
    n_tracks : int
        Tracks of the catalogue.
    n_new, n_changed, n_vanished : int
        Against the catalogue as it is; changed and vanished tracks are left alone.
    n_shards, n_pending : int
        Shards and tracks that a model still needs.
    audio_s : float
        Seconds of audio to decode, as the sizes of the files say.
    models : tuple of ModelOutlook
        In the order in which they were named.
    """

    out: str
    n_tracks: int
    n_new: int
    n_changed: int
    n_vanished: int
    n_shards: int
    n_pending: int
    audio_s: float
    models: tuple[ModelOutlook, ...]


def look_ahead(config: ExtractConfig) -> tuple[Outlook, RunPlan]:
    """Plan a run without writing anything.

    Parameters
    ----------
    config : ExtractConfig
        What the user wants.

    Returns
    -------
    outlook : Outlook
        What the run would do.
    plan : RunPlan
        What it would carry out.

    Raises
    ------
    ConfigError
        If an option is wrong, or the output belongs to other sources.
    CatalogError
        If a source cannot be listed.
    FingerprintError
        If a table was made with other parameters.
    ModelError
        If weights are missing.
    """
    out = output_root(config.out)
    jobs = ready_jobs(config, out=out)
    check_manifests(out, jobs.models)
    catalogue = preview(
        out,
        list_sources(config.sources, carry=config.carry, allowed=jobs.decode.allowed),
        sources=config.sources,
        shard_hours=config.shard_hours,
    )
    pending = {table: pending_shards(out, table, catalogue.tracks) for table in jobs.models}
    plan = run_plan(config, out=out, jobs=jobs, pending=pending)
    outlook = Outlook(
        out=str(out),
        n_tracks=len(catalogue.tracks),
        n_new=catalogue.changes.n_new,
        n_changed=catalogue.changes.n_changed,
        n_vanished=catalogue.changes.n_vanished,
        n_shards=len(plan.shards),
        n_pending=sum(size.n_tracks for size in plan.sizes.values()),
        audio_s=math.fsum(size.audio_s for size in plan.sizes.values()),
        models=tuple(model_outlook(job, pending[table]) for table, job in jobs.models.items()),
    )
    return outlook, plan


def model_outlook(job: ModelJob, pending: PendingShards) -> ModelOutlook:
    """Say what some shards mean for a model, if every file decodes.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    pending : PendingShards
        Those without rows.

    Returns
    -------
    outlook : ModelOutlook
        Counts are exact where the estimated seconds of the tracks are.
    """
    n_rows = sum(size.n_tracks for size in pending.sizes.values())
    n_patches = _n_patches(job, pending.lengths_s())
    return ModelOutlook(
        model=job.name,
        n_shards=len(pending),
        n_rows=n_rows,
        audio_s=math.fsum(size.audio_s for size in pending.sizes.values()),
        n_patches=n_patches,
        n_bytes=len(pending) * PART_BYTES + _n_bytes(job, n_rows=n_rows, n_patches=n_patches),
    )


def _n_patches(job: ModelJob, lengths_s: Iterable[float]) -> int:
    front = front_end(job.front_end)
    lengths = (round(length_s * front.sr_hz) for length_s in lengths_s)
    return sum(n_patches_of_samples(n, rule=job.rule, front_end=front) for n in lengths)


def _n_bytes(job: ModelJob, *, n_rows: int, n_patches: int) -> int:
    kinds = vector_columns(job.manifest)
    n_values = n_rows * sum(kind.n_dims for kind in kinds)
    if job.manifest.patches:
        n_values += n_patches * sum(kind.n_dims * kind.n_vectors for kind in kinds)
    beside = n_rows * ROW_BYTES + n_patches * PATCH_BYTES * job.manifest.patches
    return round(4 * n_values * PACKED) + beside
