"""A run in which nothing is decoded and nothing embedded, in a process of its own.

Run by jobs/bench_overhead.py: python jobs/bench_noop.py JOB.json, which leaves JOB.result

What is left is overhead. Listing, plan, scheduler, driver, workers, rows, part files and commits
are those of the main job; only `decode_shard` and `LoadedModel` are others, wherever they run. A
track is one patch of silence, a batch becomes zeros.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from embedlib.config import extract_config
from embedlib.features.front_end import front_end
from embedlib.records import (
    DecodedTrack,
    DecodeStats,
    FeatureChunk,
    Float32,
    Segment,
    Shard,
    Status,
)
from embedlib.run import actors, decoding, local, ray_backend, worker
from embedlib.run.auth import require_tokens
from embedlib.run.events import Committed, Event, SlotAdded
from embedlib.run.extract import RunWatcher, run_extract
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.scheduler import Scheduler

N_FRAMES = 187
"""Of a track: one patch of MusiCNN."""

ONE_TRACK_HOURS = 1e-6
"""Audio per shard: so little that each track is one."""


class NoModel:
    """Stands for `LoadedModel`: gives zeros, made once."""

    def __init__(self, job: ModelJob, graph: Path) -> None:
        self._zeros = tuple(
            np.zeros((job.batch_size, output.n_vectors, output.n_values), np.float32)
            for output in job.outputs
        )
        self.n_outputs = len(self._zeros)

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        """Take no look at a batch."""
        return tuple(zeros[: len(batch)] for zeros in self._zeros)


def no_decoder(shard: Shard, job: DecodeJob) -> Iterator[FeatureChunk]:
    """Stand for `decode_shard`: give silence, and open no file."""
    indices = range(len(shard.tracks))
    for name in job.front_ends:
        front = front_end(name)
        n_samples = N_FRAMES * front.hop_samples
        found = (Status.OK, "", n_samples / front.sr_hz, front.sr_hz, 1, n_samples)
        yield FeatureChunk(
            name,
            np.zeros((N_FRAMES * len(indices), front.n_bands), np.float32),
            tuple(Segment(index, N_FRAMES) for index in indices),
            tuple(DecodedTrack(index, *found) for index in indices),
        )
    return DecodeStats(len(indices))


def do_nothing() -> None:
    """Put both in the place of what works, in this process."""
    worker.LoadedModel = NoModel
    for module in (decoding, local):  # workers ask the first of them when they are loaded
        module.decode_shard = no_decoder


class NoModelActor(actors.ModelActor):
    """The model worker of a run through Ray, in whose process nothing works."""

    def load(self, graph: bytes | str) -> bool:
        """Answer when ready; see `ModelActor.load`."""
        do_nothing()
        return super().load(graph)


class NoDecodeActor(actors.DecodeActor):
    """Likewise the decode worker, of which a run of one model has none."""

    def load(self) -> None:
        """Answer when ready."""
        do_nothing()
        super().load()


class Clock(RunWatcher):
    """Notes the commits from the moment on when all workers are ready."""

    def __init__(self) -> None:
        self._ready = 0.0
        self._cpu_ready_s = 0.0
        self._n_pairs = 0
        self.cpu_s = 0.0
        self.commits: list[tuple[float, int]] = []

    def on_event(self, event: Event, scheduler: Scheduler) -> None:
        """Take an event."""
        if isinstance(event, SlotAdded):
            self._ready, self._cpu_ready_s = time.perf_counter(), time.process_time()
        elif isinstance(event, Committed):
            self._n_pairs += len(event.shard_ids)
            self.commits.append((time.perf_counter() - self._ready, self._n_pairs))
            self.cpu_s = time.process_time() - self._cpu_ready_s


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    require_tokens(is_local=True)
    do_nothing()
    ray_backend.ModelActor, ray_backend.DecodeActor = NoModelActor, NoDecodeActor
    values = {"sources": [job["audio"]], "models": job["models"], "out": job["out"]}
    values |= {"shard_hours": ONE_TRACK_HOURS, "allow_untrained": True, **job["options"]}
    clock = Clock()
    run_extract(extract_config(values), watcher=clock)
    figures = {"commits": clock.commits, "driver_cpu_s": clock.cpu_s}
    job_file.with_suffix(".result").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
