"""What inference costs: operations of each model, milliseconds a patch by batch, the peak.

Run by jobs/bench.py: python jobs/bench_inference.py JOB.json, which leaves JOB.result

One core. Batches of one model take turns; each is an engine as a run loads it. Inputs are made of
noise by the model's own patch input, because time depends on the shape alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench_operations import count_operations, fastest_s, measure_peaks, numpy_peak

from embedlib.config import extract_config
from embedlib.engines.ir_cache import read_or_convert
from embedlib.engines.ir_convert import convert
from embedlib.engines.load import load_engine
from embedlib.engines.openvino_core import openvino_core
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.models.folders import CACHE_VARIABLE
from embedlib.records import Float32
from embedlib.run.job import ModelJob
from embedlib.run.model import graph_spec
from embedlib.run.prepare import model_job
from embedlib.run.resolve import Prepared, prepare_models

ENGINE = "openvino"

N_TURNS = 3
"""How often each batch is measured; the fastest call counts."""


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Keep converted models elsewhere for a while: those of other batches are used once."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    yield
    if before is None:
        del os.environ[CACHE_VARIABLE]
    else:
        os.environ[CACHE_VARIABLE] = before


def noise_batch(job: ModelJob, batch_size: int) -> Float32:
    """Make model inputs of noise."""
    bands = front_end(job.front_end).n_bands
    noise = np.random.default_rng(0).random((job.rule.patch_frames, bands), dtype=np.float32)
    one = patch_input(job.patch_input).make(noise).reshape(1, *job.input_shape)
    return np.repeat(one, batch_size, axis=0)


def calls_of(
    job: ModelJob, graph: Path, *, precision: str, batches: Sequence[int], call_s: float
) -> dict[int, Callable[[], object]]:
    """Load an engine per batch; a batch whose calls would take longer than `call_s` has none."""
    spec = replace(graph_spec(job, graph), precision=precision)
    calls: dict[int, Callable[[], object]] = {}
    patch_s = 0.0
    for size in batches:
        if patch_s * size <= call_s:
            engine = load_engine(ENGINE, replace(spec, batch_size=size))
            calls[size] = partial(engine, noise_batch(job, size))
            patch_s = patch_s or fastest_s(calls[size], for_s=0.0) / size
    return calls


def patch_ms(
    job: ModelJob, graph: Path, *, precision: str, settings: Mapping[str, Any], folder: Path
) -> dict[int, float]:
    """Measure milliseconds a patch by batch, the default one first."""
    options = {"precision": precision, "call_s": settings["call_s"]}
    own = job.batch_size
    others = [size for size in settings["batches"] if size != own]
    calls = calls_of(job, graph, batches=[own], **options)
    with cache_in(folder):
        calls |= calls_of(job, graph, batches=others, **options)
    times: dict[int, list[float]] = {size: [] for size in calls}
    for _ in range(N_TURNS):
        for size, call in calls.items():
            times[size].append(fastest_s(call, for_s=settings["turn_s"]) / size)
    return {size: 1e3 * min(found) for size, found in times.items()}


def measure_model(
    core: Any, prepared: Prepared, *, settings: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Count the operations of a model, and measure what a patch costs in each precision."""
    job = model_job(prepared, folder=folder)
    spec = graph_spec(job, prepared.file.path)
    operations = count_operations(read_or_convert(core, spec, convert=convert))
    front = front_end(job.front_end)
    return {
        "table": job.name,
        "takes_bf16": prepared.instance.spec.takes_bf16,
        "batch_size": job.batch_size,
        "hop_s": job.rule.hop_frames * front.hop_samples / front.sr_hz,
        "operations": {k: n / job.batch_size for k, n in asdict(operations).items()},
        "patch_ms": {
            precision: patch_ms(
                job, spec.path, precision=precision, settings=settings, folder=folder
            )
            for precision in settings["precisions"]
        },
    }


def measure_inference(job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure each model, and the peak before and after all of them."""
    out = Path(job["out"])
    values = {"sources": [""], "models": job["models"], "out": "", "allow_untrained": True}
    prepared = prepare_models(extract_config({**values, "engine": ENGINE}))
    core, precisions = openvino_core(), job["precisions"]
    peaks = [measure_peaks(core, precisions)]
    models = {}
    for text, one in zip(job["models"], prepared, strict=True):
        name = text.partition(":")[0]
        models[name] = measure_model(core, one, settings=job, folder=out / name)
    peaks.append(measure_peaks(core, precisions))
    best = {p: {k: max(found[p][k] for found in peaks) for k in peaks[0][p]} for p in precisions}
    return {"peaks": best, "numpy_peak": numpy_peak(), "models": models}


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    figures = measure_inference(json.loads(job_file.read_text()))
    job_file.with_suffix(".result").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
