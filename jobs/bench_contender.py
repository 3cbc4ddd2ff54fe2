"""One contender of the benchmark, in a process of its own that is bound to its cores.

Run by jobs/bench.py: python jobs/bench_contender.py JOB.json, which leaves JOB.result

The clock starts when imports, one file to warm up and the loading of the model are over, and stops
when the last embedding is saved: committed to the table, in the last .npy of the loop, in the last
Parquet file of a pipeline.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedlib.run.extract import RunSummary, RunWatcher

Job = Mapping[str, Any]


def run_loop(job: Job) -> dict[str, float]:
    """Run the loop of Essentia's documentation."""
    import bench_peers

    return bench_peers.run_loop(job)


def run_pool(job: Job) -> dict[str, float]:
    """Run a process pool around it."""
    import bench_peers

    return bench_peers.run_pool(job)


def run_ray_data(job: Job) -> dict[str, float]:
    """Run a pipeline of Ray Data."""
    import bench_ray_data

    return bench_ray_data.run_ray_data(job)


def run_embedlib(job: Job) -> dict[str, float]:
    """Run the main job of embedlib into a fresh output."""
    from embedlib.run.events import Committed, Event, SlotAdded, Written
    from embedlib.run.extract import RunWatcher
    from embedlib.run.scheduler import Scheduler

    n_models = len(job["models"])

    class Clock(RunWatcher):
        """Notes the plan, the last worker to be ready, and the last commit.

        Of several models only the first worker of each counts: later on, workers of models that
        are done give way to others.
        """

        def __init__(self) -> None:
            self.cpu_started = time.process_time()
            self.cpu_ready = self.cpu_ended = self.cpu_started
            self.started = self.planned = self.ready = self.ended = time.perf_counter()
            self.written_s = self.early_s = 0.0
            self.models: set[str] = set()

        def on_plan(self, plan: object) -> None:
            self.planned = self.ready = time.perf_counter()

        def on_event(self, event: Event, scheduler: Scheduler) -> None:
            if isinstance(event, SlotAdded) and (n_models == 1 or event.model not in self.models):
                self.models.add(event.model)
                self.ready, self.early_s = time.perf_counter(), self.written_s
                self.cpu_ready = time.process_time()
            elif isinstance(event, Written):
                self.written_s += event.part.audio_s / n_models
            elif isinstance(event, Committed):
                self.ended, self.cpu_ended = time.perf_counter(), time.process_time()

    if job["options"].get("local"):  # through Ray the workers are new processes in any case
        _extract(job, job["warm_up"], out=f"{job['out']}-warm-up", watcher=RunWatcher())
    clock = Clock()
    summary = _extract(job, job["audio"], out=job["out"], watcher=clock)
    load_s = clock.ready - clock.planned
    audio_s = summary.audio_s / n_models
    return {
        "audio_s": audio_s,
        "n_files": summary.n_tracks - summary.n_failed,
        "n_patches": summary.n_patches,
        "timed_s": clock.ended - clock.started - load_s,
        "stream_s": clock.ended - clock.ready,
        "stream_audio_s": audio_s - clock.early_s,
        "load_s": load_s,
        "cpu_s": time.process_time() - clock.cpu_started,
        "stream_cpu_s": clock.cpu_ended - clock.cpu_ready,
    }


def run_start(job: Job) -> dict[str, float]:
    """Run the main job, and tell how long after the process was asked for the first commit was."""
    from embedlib.run.events import Committed, Event
    from embedlib.run.extract import RunWatcher
    from embedlib.run.scheduler import Scheduler

    commits: list[float] = []

    class FirstCommit(RunWatcher):
        """Notes when commits are settled."""

        def on_event(self, event: Event, scheduler: Scheduler) -> None:
            if isinstance(event, Committed):
                commits.append(time.time())

    _extract(job, job["audio"], out=job["out"], watcher=FirstCommit())
    return {"first_commit_s": commits[0] - job["asked_at"]}


def _extract(job: Job, audio: str, *, out: str, watcher: RunWatcher) -> RunSummary:
    from embedlib.config import extract_config
    from embedlib.run.extract import run_extract

    values = {"sources": [audio], "models": job["models"], "weights": job.get("weights")}
    values |= {"out": out, **job["options"]}
    return run_extract(extract_config(values), watcher=watcher)


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    run = {
        "embedlib": run_embedlib,
        "start": run_start,
        "loop": run_loop,
        "pool": run_pool,
        "ray-data": run_ray_data,
    }[job["tool"]]
    job_file.with_suffix(".result").write_text(json.dumps(run(job)))


if __name__ == "__main__":
    main()
