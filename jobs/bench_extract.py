"""`bench.py extract`: embedlib beside the documented Essentia loop, on the same files.

First the outputs are compared, then the times. The contenders take turns, so that a slow minute of
the machine meets all of them, and figures are medians.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from bench_figures import (
    Comparison,
    Embeddings,
    Floor,
    Run,
    broken_floors,
    facts_of,
    floors_that_count,
    medians,
    parity,
    require_same_work,
)
from bench_process import measure
from bench_setting import (
    ROOT,
    absolute_path,
    audio_files,
    checked,
    link_copies,
    machine,
    machine_line,
    say,
)
from pydantic import BaseModel, ConfigDict, Field

from embedlib.errors import EngineError
from embedlib.models.registry import model_spec
from embedlib.models.store import locate
from embedlib.tables.reader import open_output

MODEL = model_spec("msd-musicnn-1")


class BenchConfig(BaseModel):
    """What to measure; configs/bench/extract.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio: Path
    weights: Path
    minutes: float = Field(gt=0)
    scaling_factor: int = Field(ge=1)
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


# The peer as documented: quality 1 and batches of 64 are the defaults of MonoLoader and
# TensorflowPredictMusiCNN. Quality 4 is what Essentia's example scripts take, and one patch per
# call is the fastest for this model.
PEERS = (
    Contender("essentia", "essentia", {"quality": 1, "batch_size": 64}),
    Contender("essentia-batch1", "essentia", {"quality": 1, "batch_size": 1}),
    Contender("essentia-q4", "essentia", {"quality": 4, "batch_size": 64}),
    Contender("essentia-q4-batch1", "essentia", {"quality": 4, "batch_size": 1}),
)
REFERENCE = Contender("essentia-q0", "essentia", {"quality": 0, "batch_size": 64})
F32 = Contender("embedlib-f32", "embedlib", {"local": True})
BF16 = Contender("embedlib-bf16", "embedlib", {"local": True, "precision": "bf16"}, needs="bf16")
# These two get more audio than the others: the last second of a run, when a core has no work left,
# is no smaller for a small catalogue.
ONE_CORE = Contender("embedlib-1-core", "embedlib", {"local": True}, needs="two_cores")
TWO_CORES = Contender("embedlib-2-cores", "embedlib", {"n_cores": 2}, n_cores=2, needs="two_cores")
OURS = (F32, BF16, ONE_CORE, TWO_CORES)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made: a scratch folder, cores, weights, a file to warm up with."""

    scratch: Path
    cores: Sequence[int]
    weights: Path
    warm_up: Path

    def measure(self, contender: Contender, audio: Path, *, out: Path) -> Run:
        """Run a contender in a process of its own, bound to the last of the cores."""
        figures = measure(
            "bench_contender.py",
            self._job(contender, audio),
            name=contender.name,
            out=out,
            cores=self.cores[-contender.n_cores :],
        )
        return Run(contender=contender.name, **figures)

    def _job(self, contender: Contender, audio: Path) -> dict[str, Any]:
        return {
            "tool": contender.tool,
            "options": contender.options,
            "models": [MODEL.name],
            "node": MODEL.embedding.nodes[0],
            "weights": self.weights,
            "warm_up": self.warm_up,
            "audio": audio,
        }


def make_bench(config: BenchConfig, scratch: Path, cores: Sequence[int]) -> Bench:
    """Check what all measurements need, and lay out one file to warm up with."""
    if find_spec("essentia") is None:
        raise EngineError("Essentia is not installed", fix="pip install essentia-tensorflow")
    weights = locate(MODEL, path=config.weights).path
    warm_up = link_copies(audio_files(config.audio)[:1], scratch / "warm-up")
    return Bench(scratch=scratch, cores=cores, weights=weights, warm_up=warm_up)


def compare_outputs(
    bench: Bench, contenders: Sequence[Contender], originals: Path
) -> tuple[dict[str, dict[str, float]], float]:
    """Compare the embeddings of all files before anything is timed.

    Our f32 is held against Essentia at its best resampling, from which its default is farther away
    than we are; bf16 is held against f32. The seconds of audio come with it.
    """
    saved = {}
    for contender in (REFERENCE, *contenders):
        say(f"outputs of {contender.name}")
        out = bench.scratch / f"outputs-{contender.name}"
        run = bench.measure(contender, originals, out=out)
        saved[contender.name] = _embeddings(out, tool=contender.tool)
    pairs = [(F32.name, REFERENCE.name), (BF16.name, F32.name)]
    found = {f"{a} to {b}": parity(saved[a], saved[b]) for a, b in pairs if a in saved}
    return found, run.audio_s


def _embeddings(out: Path, *, tool: str) -> Embeddings:
    if tool == "essentia":
        return {file.stem: np.load(file) for file in out.iterdir()}
    table = open_output(out).tracks(MODEL.name).to_arrow(["track_id", "patch_embeddings"])
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return {track_id: np.array(embeddings, np.float32) for track_id, embeddings in rows}


def take_turns(bench: Bench, turns: Sequence[tuple[Contender, Path]], *, repeats: int) -> list[Run]:
    """Measure each contender once per round."""
    runs = []
    for n_round in range(1, repeats + 1):
        for contender, audio in turns:
            run = bench.measure(contender, audio, out=bench.scratch / f"{contender.name}-{n_round}")
            say(f"round {n_round} of {repeats}: {contender.name} took {run.timed_s:.1f} s")
            runs.append(run)
    return runs


def comparisons(contenders: Sequence[Contender]) -> list[Comparison]:
    """Hold each of ours against each peer, and two cores against twice one."""
    found = [Comparison(c.name, p.name) for c in (F32, BF16) if c in contenders for p in PEERS]
    if TWO_CORES in contenders:
        found.append(Comparison(TWO_CORES.name, ONE_CORE.name, figure="stream_speed", n_times=2))
    return found


def bench_extract(
    bench: Bench, contenders: Sequence[Contender], config: BenchConfig
) -> dict[str, Any]:
    """Compare outputs, measure, and give the figures."""
    files = audio_files(config.audio)
    originals = link_copies(files, bench.scratch / "originals")
    outputs, audio_s = compare_outputs(
        bench, [c for c in contenders if c in (F32, BF16)], originals
    )
    n_copies = math.ceil(config.minutes * 60 / audio_s)
    audio = link_copies(files, bench.scratch / "audio", n_copies=n_copies)
    n_more = n_copies * config.scaling_factor
    more_audio = link_copies(files, bench.scratch / "more-audio", n_copies=n_more)
    turns = [
        (c, more_audio if c in (ONE_CORE, TWO_CORES) else audio) for c in (*PEERS, *contenders)
    ]
    runs = take_turns(bench, turns, repeats=config.repeats)
    require_same_work(runs)
    figures = medians(runs)
    return {
        "files": [file.name for file in files],
        "outputs": outputs,
        "runs": [asdict(run) for run in runs],
        "medians": figures,
        "ratios": {c.name: c.ratio(figures) for c in comparisons(contenders)},
    }


def table(result: Mapping[str, Any]) -> list[str]:
    """Say in a few lines what was found."""
    lines = [machine_line(result["machine"])]
    lines.append(f"{'':<20}{'x real time':>12}{'s':>8}{'load s':>8}{'process s':>11}")
    for name, row in result["medians"].items():
        lines.append(
            f"{name:<20}{row['speed']:12.1f}{row['timed_s']:8.1f}"
            f"{row['load_s']:8.2f}{row['wall_s']:11.1f}"
        )
    lines += [f"{name:<40}{value:6.2f}" for name, value in result["ratios"].items()]
    for name, row in result["outputs"].items():
        lines.append(
            f"{name}: min cosine {row['min_cosine']:.5f}, "
            f"max relative l2 {row['max_relative_l2']:.1e} over {row['n_patches']} patches"
        )
    return lines


def bench_config(values: Mapping[str, Any], *, origin: str) -> BenchConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(BenchConfig, values, origin=origin)
    return config.model_copy(
        update={"audio": ROOT / config.audio, "weights": ROOT / config.weights}
    )


def figure_names() -> set[str]:
    """Name what a floor can be set for."""
    return {comparison.name for comparison in comparisons(OURS)}


def run(config: BenchConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure what this machine can, and hold it against the floors."""
    facts = facts_of(machine(cores)["flags"], n_cores=len(cores))
    contenders = [c for c in OURS if c.needs in {None, *facts}]
    names = [comparison.name for comparison in comparisons(contenders)]
    floors = floors_that_count(config.floors, names=names, facts=facts)
    result = bench_extract(make_bench(config, scratch, cores), contenders, config)
    return {**result, "broken_floors": broken_floors(result["ratios"], floors)}


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--audio", type=absolute_path, help="folder of audio files")
    parser.add_argument("--weights", type=absolute_path, help=f"file of {MODEL.name}")
    parser.add_argument("--minutes", type=float, help="audio per run, at least")
    parser.add_argument("--repeats", type=int, help="rounds")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    print("\n".join(table(result)))
