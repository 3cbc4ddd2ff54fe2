"""One contender of the benchmark, in a process of its own that is bound to its cores.

Run by jobs/bench.py: python jobs/bench_contender.py JOB.json, which leaves JOB.result

The clock starts when imports, one file to warm up and the loading of the model are over, and stops
when the last embedding is saved: committed to the table, or in the last .npy of the loop.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Job = Mapping[str, Any]

SR_HZ = 16000
"""What the model was trained on."""


def run_essentia(job: Job) -> dict[str, float]:
    """Run the loop of Essentia's documentation, with one model for all files."""
    import essentia
    import essentia.standard as es

    essentia.log.infoActive = essentia.log.warningActive = False
    options = job["options"]

    def audio_of(path: Path) -> NDArray[np.float32]:
        load = es.MonoLoader(
            filename=str(path), sampleRate=SR_HZ, resampleQuality=options["quality"]
        )
        samples: NDArray[np.float32] = load()
        return samples

    started = time.perf_counter()
    predict = es.TensorflowPredictMusiCNN(
        graphFilename=job["weights"], output=job["node"], batchSize=options["batch_size"]
    )
    load_s = time.perf_counter() - started
    predict(audio_of(next(Path(job["warm_up"]).iterdir())))
    out = Path(job["out"])
    out.mkdir()
    paths = sorted(Path(job["audio"]).iterdir())
    n_samples = n_patches = 0
    started, cpu_started = time.perf_counter(), time.process_time()
    for path in paths:
        audio = audio_of(path)
        embeddings = predict(audio)
        np.save(out / f"{path.name}.npy", embeddings)
        n_samples += len(audio)
        n_patches += len(embeddings)
    timed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "audio_s": n_samples / SR_HZ,
        "n_files": len(paths),
        "n_patches": n_patches,
        "timed_s": timed_s,
        "stream_s": timed_s,
        "stream_audio_s": n_samples / SR_HZ,
        "load_s": load_s,
        "cpu_s": cpu_s,
        "stream_cpu_s": cpu_s,
    }


def run_embedlib(job: Job) -> dict[str, float]:
    """Run the main job of embedlib into a fresh output."""
    from embedlib.config import extract_config
    from embedlib.run.events import Committed, Event, SlotAdded, Written
    from embedlib.run.extract import RunSummary, RunWatcher, run_extract
    from embedlib.run.scheduler import Scheduler

    class Clock(RunWatcher):
        """Notes the plan, the last model worker to be ready, and the last commit."""

        def __init__(self) -> None:
            self.cpu_started = time.process_time()
            self.cpu_ready = self.cpu_ended = self.cpu_started
            self.started = self.planned = self.ready = self.ended = time.perf_counter()
            self.written_s = self.early_s = 0.0

        def on_plan(self, plan: object) -> None:
            self.planned = self.ready = time.perf_counter()

        def on_event(self, event: Event, scheduler: Scheduler) -> None:
            if isinstance(event, SlotAdded):
                self.ready, self.early_s = time.perf_counter(), self.written_s
                self.cpu_ready = time.process_time()
            elif isinstance(event, Written):
                self.written_s += event.part.audio_s
            elif isinstance(event, Committed):
                self.ended, self.cpu_ended = time.perf_counter(), time.process_time()

    def extract(audio: str, out: str, clock: RunWatcher) -> RunSummary:
        values = {"sources": [audio], "models": job["models"], "weights": job["weights"]}
        return run_extract(extract_config({**values, "out": out, **job["options"]}), watcher=clock)

    if job["options"].get("local"):  # through Ray the workers are new processes in any case
        extract(job["warm_up"], f"{job['out']}-warm-up", RunWatcher())
    clock = Clock()
    summary = extract(job["audio"], job["out"], clock)
    load_s = clock.ready - clock.planned
    return {
        "audio_s": summary.audio_s,
        "n_files": summary.n_tracks - summary.n_failed,
        "n_patches": summary.n_patches,
        "timed_s": clock.ended - clock.started - load_s,
        "stream_s": clock.ended - clock.ready,
        "stream_audio_s": summary.audio_s - clock.early_s,
        "load_s": load_s,
        "cpu_s": time.process_time() - clock.cpu_started,
        "stream_cpu_s": clock.cpu_ended - clock.cpu_ready,
    }


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    run = {"essentia": run_essentia, "embedlib": run_embedlib}[job["tool"]]
    job_file.with_suffix(".result").write_text(json.dumps(run(job)))


if __name__ == "__main__":
    main()
