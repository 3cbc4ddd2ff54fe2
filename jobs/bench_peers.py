"""Peers that need no framework: the loop of Essentia's documentation, and a process pool around it.

https://essentia.upf.edu/machine_learning.html: MonoLoader, then an algorithm that is made once. The
documentation of the pool is that of ``concurrent.futures``: each process makes its model when it
starts, and takes one file after the other. Models that cannot be loaded side by side take turns.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from bench_essentia import EssentiaModel, Graph, graphs_of, load_signal

Job = Mapping[str, Any]
Done = tuple[float, int]
"""Seconds of audio of a file, and its patches."""

_own: list[Embedder] = []
"""What a process of the pool made when it started."""


class Embedder:
    """What a loop does with one file: load, embed, save."""

    def __init__(self, graph: Graph, job: Job) -> None:
        options = job["options"]
        self._graph = graph
        self._quality = options["quality"]
        self._out = Path(job["out"]) / graph.table
        self._out.mkdir(parents=True, exist_ok=True)
        self._model = EssentiaModel(
            graph,
            batch_size=options["batch_size"],
            hop_frames=options.get("hop_frames"),
        )
        self._model(self._load(next(Path(job["warm_up"]).iterdir())))

    def __call__(self, path: Path) -> Done:
        """Embed a file."""
        y = self._load(path)
        vectors = self._model(y)
        np.save(self._out / f"{path.name}.npy", vectors)
        return y.shape[-1] / self._graph.signal.sr_hz, len(vectors)

    def _load(self, path: Path) -> np.ndarray:
        return load_signal(path, self._graph.signal, quality=self._quality)


def run_loop(job: Job) -> dict[str, float]:
    """Run the loop of Essentia's documentation, once per model."""
    paths = sorted(Path(job["audio"]).iterdir())
    passes = []
    for graph in graphs_of(job):
        asked = time.perf_counter()
        embed = Embedder(graph, job)
        started, cpu_started = time.perf_counter(), time.process_time()
        done = [embed(path) for path in paths]
        ended = time.perf_counter()
        cpu_s = time.process_time() - cpu_started
        passes.append(figures(done, load_s=started - asked, timed_s=ended - started, cpu_s=cpu_s))
    return added(passes)


def run_pool(job: Job) -> dict[str, float]:
    """Run a process pool around the loop, over one model."""
    (graph,) = graphs_of(job)
    paths = sorted(Path(job["audio"]).iterdir())
    n_workers = job["options"]["n_workers"]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_workers + 1)
    with ProcessPoolExecutor(
        n_workers, mp_context=context, initializer=_start, initargs=(graph, dict(job), barrier)
    ) as pool:
        asked = time.perf_counter()
        for _ in range(n_workers):  # each starts one of the processes
            pool.submit(time.time)
        barrier.wait()
        started = time.perf_counter()
        done = list(pool.map(_embed, paths, chunksize=1))
        ended = time.perf_counter()
    timed_s = ended - started
    return figures(done, load_s=started - asked, timed_s=timed_s, cpu_s=n_workers * timed_s)


def _start(graph: Graph, job: Job, barrier: Barrier) -> None:
    _own.append(Embedder(graph, job))
    barrier.wait()


def _embed(path: Path) -> Done:
    (embed,) = _own
    return embed(path)


def figures(
    done: Sequence[Done], *, load_s: float, timed_s: float, cpu_s: float
) -> dict[str, float]:
    """Give the fields of a `Run` that a contender itself knows."""
    audio_s = sum(seconds for seconds, _ in done)
    return {
        "audio_s": audio_s,
        "n_files": len(done),
        "n_patches": sum(n_patches for _, n_patches in done),
        "timed_s": timed_s,
        "stream_s": timed_s,
        "stream_audio_s": audio_s,
        "load_s": load_s,
        "cpu_s": cpu_s,
        "stream_cpu_s": cpu_s,
    }


def added(passes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up passes over the same files: their work and times, not their audio.

    Examples
    --------
    >>> one = {"audio_s": 60.0, "n_files": 3, "n_patches": 38, "timed_s": 2.0}
    >>> added([one, one])
    {'audio_s': 60.0, 'n_files': 3, 'n_patches': 76, 'timed_s': 4.0}
    """
    once = ("audio_s", "stream_audio_s", "n_files")
    return {
        key: passes[0][key] if key in once else sum(p[key] for p in passes) for key in passes[0]
    }
