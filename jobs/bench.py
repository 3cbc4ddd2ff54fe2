"""Measure embedlib beside the documented Essentia loop: one machine, one run, the same files.

Run: python jobs/bench.py extract --out bench/extract.json

Every measurement is a process of its own, bound to its cores before it starts. Imports, one file
to warm up and the loading of the model are over when the clock starts; it stops when the last
embedding is saved: committed to the table, or in the last .npy of the loop. The contenders take
turns, so that a slow minute of the machine meets all of them, and figures are medians.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedlib.config import extract_config, read_config
from embedlib.errors import ConfigError, EmbedlibError, EngineError, RunError
from embedlib.run.events import Committed, Event, SlotAdded

ROOT = Path(__file__).resolve().parents[1]
MODEL = "msd-musicnn-1"
NODE = "model/dense/BiasAdd"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
LIBRARIES = (
    *("embedlib", "essentia-tensorflow", "openvino", "numpy", "av", "soxr", "pyarrow"),
    *("deltalake", "ray"),
)


class Floor(BaseModel):
    """A ratio that must be reached, where the machine has what it needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: float
    needs: str | None = None


class BenchConfig(BaseModel):
    """What to measure; see configs/bench/extract.yaml for the meaning of each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio: str
    weights: str | None = None
    minutes: float = Field(gt=0)
    two_cores_factor: int = Field(ge=1)
    repeats: int = Field(ge=1)
    floors: dict[str, Floor]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way from files to embeddings, and what a machine needs for it."""

    name: str
    tool: str
    options: Mapping[str, Any]
    n_cores: int = 1
    needs: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What one process of one contender took, in seconds.

    `timed_s` is the figure: from the first file to the last saved embedding, listing and commits
    included. `stream_s` is the part of it with the workers at work, `load_s` the loading of the
    model (through Ray: the start of Ray and of the workers), `cpu_s` the CPU time behind `timed_s`
    (through Ray: of the driver alone), and `wall_s` the life of the process.
    """

    contender: str
    audio_s: float
    n_patches: int
    timed_s: float
    stream_s: float
    load_s: float
    cpu_s: float
    wall_s: float


# Quality 1 and batches of 64 are the defaults of MonoLoader and TensorflowPredictMusiCNN, quality 4
# is what Essentia's example scripts take, and one patch per call is the fastest for this model.
REFERENCE = Contender("essentia-q0", "essentia", {"quality": 0, "batch_size": 64})
PEERS = (
    Contender("essentia", "essentia", {"quality": 1, "batch_size": 64}),
    Contender("essentia-batch1", "essentia", {"quality": 1, "batch_size": 1}),
    Contender("essentia-q4", "essentia", {"quality": 4, "batch_size": 64}),
    Contender("essentia-q4-batch1", "essentia", {"quality": 4, "batch_size": 1}),
)
F32 = Contender("embedlib-f32", "embedlib", {"local": True})
BF16 = Contender("embedlib-bf16", "embedlib", {"local": True, "precision": "bf16"}, needs="bf16")
TWO_CORES = Contender("embedlib-2-cores", "embedlib", {"n_cores": 2}, n_cores=2, needs="two_cores")


# In the process of a contender


class RunClock:
    """A watcher of `run_extract` that notes when the stages of a run begin and end."""

    def __init__(self) -> None:
        self.started = self.planned = self.ready = self.ended = time.perf_counter()
        self._is_ready = False

    def on_plan(self, _plan: object) -> None:
        """Note that the files are listed and planned."""
        self.planned = time.perf_counter()

    def on_event(self, event: Event, _scheduler: object) -> None:
        """Note the first model worker and the last commit."""
        if isinstance(event, SlotAdded) and not self._is_ready:
            self._is_ready = True
            self.ready = time.perf_counter()
        elif isinstance(event, Committed):
            self.ended = time.perf_counter()


def run_essentia(job: Mapping[str, Any]) -> dict[str, float]:
    """Run the loop of Essentia's documentation, with one model for all files."""
    import essentia
    import essentia.standard as es

    essentia.log.infoActive = essentia.log.warningActive = False
    quality, batch_size = job["options"]["quality"], job["options"]["batch_size"]

    def load_audio(path: Path) -> NDArray[np.float32]:
        return es.MonoLoader(filename=str(path), sampleRate=16000, resampleQuality=quality)()

    started = time.perf_counter()
    predict = es.TensorflowPredictMusiCNN(
        graphFilename=job["weights"], output=NODE, batchSize=batch_size
    )
    load_s = time.perf_counter() - started
    predict(load_audio(next(Path(job["warm_up"]).iterdir())))
    out = Path(job["out"])
    out.mkdir()
    n_patches = 0
    started, cpu_started = time.perf_counter(), time.process_time()
    for path in sorted(Path(job["audio"]).iterdir()):
        embeddings = predict(load_audio(path))
        np.save(out / f"{path.name}.npy", embeddings)
        n_patches += len(embeddings)
    timed_s = time.perf_counter() - started
    cpu_s = time.process_time() - cpu_started
    return _figures(n_patches, timed_s=timed_s, stream_s=timed_s, load_s=load_s, cpu_s=cpu_s)


def run_embedlib(job: Mapping[str, Any]) -> dict[str, float]:
    """Run the main job of embedlib into a fresh output."""
    from embedlib.run.extract import RunSummary, run_extract

    def extract(audio: str, out: str, clock: RunClock) -> RunSummary:
        values = {"sources": [audio], "models": [MODEL], "out": out, "weights": job["weights"]}
        return run_extract(extract_config({**values, **job["options"]}), watcher=clock)

    if job["options"].get("local"):  # through Ray the workers are new processes in any case
        extract(job["warm_up"], f"{job['out']}-warm-up", RunClock())
    clock, cpu_started = RunClock(), time.process_time()
    summary = extract(job["audio"], job["out"], clock)
    cpu_s = time.process_time() - cpu_started
    load_s = clock.ready - clock.planned
    return _figures(
        summary.n_patches,
        timed_s=clock.ended - clock.started - load_s,
        stream_s=clock.ended - clock.ready,
        load_s=load_s,
        cpu_s=cpu_s,
    )


def _figures(n_patches: int, **seconds: float) -> dict[str, float]:
    return {"n_patches": n_patches, **seconds}


def run_child(job_file: Path) -> None:
    """Carry out the job of a contender and leave its figures beside it."""
    job = json.loads(job_file.read_text())
    figures = {"essentia": run_essentia, "embedlib": run_embedlib}[job["tool"]](job)
    job_file.with_suffix(".result").write_text(json.dumps(figures))


# Around the processes


@dataclass(frozen=True, slots=True)
class Bench:
    """A place for measurements: a scratch folder, the cores and the weights."""

    folder: Path
    cores: Sequence[int]
    weights: str

    def measure(self, contender: Contender, *, audio: Path, audio_s: float, out: Path) -> Run:
        """Run a contender in a process of its own, bound to the last of the cores."""
        job_file = Path(f"{out}.json")
        job = {"tool": contender.tool, "options": contender.options, "weights": self.weights}
        folders = {"audio": audio, "warm_up": self.folder / "warm-up", "out": out}
        job_file.write_text(json.dumps(job | {key: str(path) for key, path in folders.items()}))
        cores = self.cores[-contender.n_cores :]
        started = time.perf_counter()
        ended = subprocess.run(
            [sys.executable, __file__, "child", str(job_file)],
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            capture_output=True,
            text=True,
        )
        wall_s = time.perf_counter() - started
        if ended.returncode:
            raise _failed(contender, ended)
        figures = json.loads(job_file.with_suffix(".result").read_text())
        return Run(contender=contender.name, audio_s=audio_s, wall_s=wall_s, **figures)


def _failed(contender: Contender, ended: subprocess.CompletedProcess[str]) -> RunError:
    lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
    return RunError(f"{contender.name} failed: {lines[-1]}", fix="make it run alone first")


def link_copies(files: Sequence[Path], folder: Path, *, n_copies: int) -> Path:
    """Fill a folder with links to files, each as often as the others under its own names."""
    folder.mkdir()
    for copy in range(n_copies):
        for file in files:
            (folder / f"{copy:03}-{file.name}").symlink_to(file)
    return folder


def n_copies_for(minutes: float, *, audio_s: float) -> int:
    """Tell how often all files must be taken to make so many minutes.

    Examples
    --------
    >>> n_copies_for(10, audio_s=250.0)
    3
    """
    return math.ceil(minutes * 60 / audio_s)


# Figures


def distances(
    ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Compare embeddings [shape=(n_patches, n_dims)]: cosine per patch, relative l2 over all."""
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    relative_l2 = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    return (ours * theirs).sum(axis=1) / norms, float(relative_l2)


def parity(
    ours: Mapping[str, NDArray[np.float32]], theirs: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Compare the embeddings of the same files: the worst patch, and the worst file.

    Raises
    ------
    RunError
        If files or numbers of patches differ: then there is nothing to be timed.
    """
    for name in sorted({*ours, *theirs}):
        shapes = [np.shape(side.get(name, ())) for side in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise RunError(
                f"{name}: {shapes[0]} here, {shapes[1]} there", fix="the outputs must be the same"
            )
    compared = [distances(ours[name], theirs[name]) for name in ours]
    return {
        "n_files": len(compared),
        "n_patches": sum(len(cosines) for cosines, _ in compared),
        "min_cosine": min(float(cosines.min()) for cosines, _ in compared),
        "max_relative_l2": max(relative_l2 for _, relative_l2 in compared),
    }


def medians(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Give the medians of each contender, in seconds and in times real time."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.contender, []).append(run)
    return {
        name: {
            "speed": median(run.audio_s / run.timed_s for run in group),
            "stream_speed": median(run.audio_s / run.stream_s for run in group),
            **{
                key: median(getattr(run, key) for run in group)
                for key in ("timed_s", "load_s", "cpu_s", "wall_s")
            },
        }
        for name, group in by_name.items()
    }


def ratios(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Compare speeds: each of ours with each of theirs, and two cores with twice one."""
    found = {
        f"{ours.name} / {peer.name}": figures[ours.name]["speed"] / figures[peer.name]["speed"]
        for ours in (F32, BF16)
        for peer in PEERS
        if ours.name in figures
    }
    if TWO_CORES.name in figures:
        twice = 2 * figures[F32.name]["stream_speed"]
        found[f"{TWO_CORES.name} / twice {F32.name}"] = (
            figures[TWO_CORES.name]["stream_speed"] / twice
        )
    return found


def broken_floors(
    found: Mapping[str, float], floors: Mapping[str, Floor], *, facts: frozenset[str]
) -> list[str]:
    """Say which floors are not reached, among those that count on this machine.

    Raises
    ------
    ConfigError
        If a floor is set for a ratio that was not measured.
    """
    counting = {n: floor for n, floor in floors.items() if (floor.needs or "") in {"", *facts}}
    if unknown := [name for name in counting if name not in found]:
        raise ConfigError(f"no ratio {unknown[0]!r}", fix=f"the ratios are {', '.join(found)}")
    return [
        f"{name} is {found[name]:.2f}, below its floor of {floor.at_least}"
        for name, floor in counting.items()
        if found[name] < floor.at_least
    ]


# The machine


def cpu_info(text: str) -> tuple[str, tuple[str, ...]]:
    """Read model name and flags of interest from the text of /proc/cpuinfo.

    Examples
    --------
    >>> cpu_info("model name : X 9\\nflags : fpu avx2 amx_bf16")
    ('X 9', ('avx2', 'amx_bf16'))
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    return fields.get("model name", "unknown"), tuple(flag for flag in FLAGS if flag in flags)


def facts_of(flags: Sequence[str], *, n_cores: int) -> frozenset[str]:
    """Name what this machine has, in the words of `needs`."""
    found = set(flags)
    if {"avx512_bf16", "amx_bf16"} & found:
        found.add("bf16")
    if n_cores >= 2:
        found.add("two_cores")
    return frozenset(found)


def machine(cores: Sequence[int]) -> dict[str, Any]:
    """Describe this machine."""
    name, flags = cpu_info(Path("/proc/cpuinfo").read_text())
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": name,
        "flags": flags,
        "n_cores": len(cores),
        "memory_gib": round(n_bytes / 2**30, 1),
        "system": platform.platform(),
    }
