"""What models cost on this hardware: a short measurement, kept for the next run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from embedlib.engines.processor import processor_name
from embedlib.errors import ModelError
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.models.folders import cache_folder
from embedlib.models.locks import write_atomically
from embedlib.run.batches import best_batch_size
from embedlib.run.job import ModelJob
from embedlib.run.model import LoadedModel

MEASURE_S = 0.3
"""Seconds to measure for, at least: some ten calls of most models."""

MIN_CALLS = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of a model.

    Attributes
    ----------
    cost_s : float
        As `measure_cost` gives it, in batches of `batch_size`.
    batch_size : int > 0
        That of the job on a CPU; on a card what fills it.
    """

    cost_s: float
    batch_size: int


def measure(job: ModelJob, graph: Path) -> Measured:
    """Measure what a model costs where this is called, on a card in batches that fill it.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    graph : Path
        The verified graph file.

    Returns
    -------
    measured : Measured
        To be kept by `keep_cost`.
    """
    costs: dict[int, float] = {}

    def cost_s(batch_size: int) -> float:
        costs[batch_size] = measure_cost(replace(job, batch_size=batch_size), graph)
        return costs[batch_size]

    size = job.batch_size
    if job.device == "cuda":
        size = best_batch_size(cost_s, first=size)
    return Measured(costs[size] if size in costs else cost_s(size), size)


def fitted(job: ModelJob) -> ModelJob:
    """Give the job with the batch size that was measured for the card, as far as one was.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.

    Returns
    -------
    job : ModelJob
        The same on a CPU, where a spec says which batch is best.
    """
    if job.device == "cuda":
        with suppress(OSError, ValueError, KeyError, TypeError):
            return replace(job, batch_size=int(json.loads(_path(job).read_text())["batch_size"]))
    return job


def measure_cost(job: ModelJob, graph: Path) -> float:
    """Measure what a model costs where this is called.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    graph : Path
        The verified graph file.

    Returns
    -------
    cost_s : float
        Seconds per second of audio, at the hop of the job: patch input and inference.
    """
    model = LoadedModel(job, graph)
    bands = front_end(job.front_end).n_bands
    noise = np.random.default_rng(0).random((job.rule.patch_frames, bands), dtype=np.float32)
    batch = np.empty((job.batch_size, *job.input_shape), np.float32)
    make = patch_input(job.patch_input).make
    times: list[float] = []
    while len(times) <= MIN_CALLS or sum(times[1:]) < MEASURE_S:
        started = time.perf_counter()
        for index in range(job.batch_size):
            batch[index] = make(noise).reshape(job.input_shape)
        model(batch)
        times.append(time.perf_counter() - started)
    # The first call is slower than all others.
    return min(times[1:]) / job.batch_size / _hop_s(job)


def _hop_s(job: ModelJob) -> float:
    front = front_end(job.front_end)
    return job.rule.hop_frames * front.hop_samples / front.sr_hz


def known_costs(jobs: Mapping[str, ModelJob]) -> dict[str, float]:
    """Give the costs that were measured before.

    Parameters
    ----------
    jobs : mapping of str to ModelJob
        The models of a run, by name.

    Returns
    -------
    costs_s : dict of str to float
        Of those that are known, as `measure_cost` gave them.
    """
    costs = {}
    for name, job in jobs.items():
        with suppress(OSError, ValueError, KeyError, TypeError):
            costs[name] = float(json.loads(_path(job).read_text())["cost_s"])
    return costs


def keep_cost(job: ModelJob, cost_s: float, *, batch_size: int | None = None) -> None:
    """Keep a measured cost; a cache that cannot be written is no harm.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    cost_s : float
        As `measure_cost` gave it.
    batch_size : int > 0 or None
        In which batches, where that is another one than the job's.
    """
    found = {"model": job.manifest.spec, "cost_s": cost_s, **_conditions(job)}
    text = json.dumps(found | {"batch_size": batch_size or job.batch_size}, indent=2)
    with suppress(ModelError):
        write_atomically(_path(job), text.encode())


def _path(job: ModelJob) -> Path:
    text = json.dumps(_conditions(job), sort_keys=True)
    return cache_folder() / "costs" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _conditions(job: ModelJob) -> dict[str, Any]:
    """Name all that a cost depends on; of a cluster, the driver's machine stands for the nodes."""
    return {
        "graph": job.graph_sha256,
        "nodes": [node for output in job.outputs for node in output.nodes],
        "patch_input": job.patch_input,
        "hop_frames": job.rule.hop_frames,
        "batch_size": job.batch_size if job.device == "cpu" else None,
        "engine": job.engine,
        "precision": job.precision,
        "device": job.device,
        "machine": processor_name() + ("" if job.device == "cpu" else f", {_cards()}"),
    }


def _cards() -> str:
    """Name the cards by the driver's own files, which need no library."""
    names = set()
    for file in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        with suppress(OSError):
            names |= {
                line.partition(":")[2].strip()
                for line in file.read_text().splitlines()
                if line.startswith("Model:")
            }
    return ", ".join(sorted(names)) or "a card"
