"""`bench.py scale`: workers on this machine, and nodes in the simulator: efficiency and cost.

MusiCNN runs through Ray with one worker and with more, up to one per core, each time on as many
cores as it has workers; then all models of the paper share the cores. What decoding, each model and
a commit cost alone is measured in between, and with these costs the scheduler of real runs drives
clusters that do not exist.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench_commit_run import TURNS
from bench_limits import LimitedConfig, limits_of
from bench_process import measure
from bench_scale_figures import (
    ALL_MODELS,
    EFFICIENCY,
    FIGURES,
    ONE_MODEL,
    SHARED_BOUND,
    SHARED_CPU,
    Costs,
    Simulated,
    Streamed,
    commit_costs,
    core_hours,
    cost_table,
    efficiency,
    simulated_table,
    step_table,
    worker_table,
)
from bench_scale_run import COSTS, RUN, SIMULATE
from bench_setting import ROOT, absolute_path, audio_files, checked, link_copies, say
from bench_show import show_tables
from pydantic import BaseModel, ConfigDict, Field

from embedlib.errors import RunError
from embedlib.models.registry import paper_models

MODEL = "msd-musicnn-1"


class Price(BaseModel):
    """What an hour of a core costs, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    core_hour: float = Field(ge=0)
    source: str
    is_preemptible: bool = False


class SimulatedRuns(BaseModel):
    """Clusters that do not exist; configs/bench/scale.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: int = Field(ge=1)
    nodes: list[int]
    cores_per_node: int = Field(ge=1)
    preempted_per_hour: float = Field(ge=0)
    preempted_nodes: int = Field(ge=1)


class ScaleConfig(LimitedConfig):
    """What to measure; configs/bench/scale.yaml explains each key."""

    audio: Path
    copies: int = Field(ge=1)
    copies_all: int = Field(ge=1)
    rounds: int = Field(ge=1)
    one_model: SimulatedRuns
    all_models: SimulatedRuns | None
    prices: dict[str, Price]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made: a scratch folder, cores, music."""

    config: ScaleConfig
    scratch: Path
    cores: Sequence[int]

    def stream(self, models: Sequence[str], *, n_workers: int, name: str, n_round: int) -> Streamed:
        """Measure a run through Ray on some cores."""
        options = {"models": models, "n_cores": n_workers, "allow_untrained": True}
        music = self.scratch / ("music" if len(models) == 1 else "music for all")
        job = {"task": RUN, "audio": music, "options": options}
        own = self._measure(job, name=f"{name} {n_round}", cores=self.cores[-n_workers:])
        found = Streamed(name, n_workers, len(models), **own)
        say(f"round {n_round}: {name}: {found.stream_s:.1f} s")
        return found

    def costs(self, models: Sequence[str]) -> Costs:
        """Measure what decoding and each model cost, on one core."""
        options = {"models": models, "allow_untrained": True}
        job = {"task": COSTS, "audio": self.scratch / "music for all", "options": options}
        found = self._measure(job, name=f"costs of {len(models)}", cores=self.cores[-1:])
        return Costs(found["decode"], found["models"])

    def commits(self) -> tuple[float, float]:
        """Measure a commit of one part, and what each further part adds."""
        root = self.scratch / "commits"
        root.mkdir()
        job = {"task": TURNS, "root": root, "files": 1_000, "rows": 10}
        job |= {"transactions": 5, "batches": [1, 50]}
        found = measure(
            "bench_commit_run.py", job, name="commits", out=root / "job", cores=self.cores[-1:]
        )
        return commit_costs({int(n): each["commit"] for n, each in found["batches"].items()})

    def simulate(
        self, costs: Costs, runs: SimulatedRuns, *, n_nodes: int, preempted_per_hour: float = 0.0
    ) -> Simulated:
        """Simulate a run on a cluster."""
        job = {
            "task": SIMULATE,
            "tracks": runs.tracks,
            "nodes": n_nodes,
            "cores_per_node": runs.cores_per_node,
            "preempted_per_hour": preempted_per_hour,
            **asdict(costs),
        }
        n_models = len(costs.models)
        name = f"{n_models} models, {n_nodes} nodes, {preempted_per_hour} preempted"
        found = self._measure(job, name=name, cores=self.cores[-1:])
        if found["stop_reason"] or not found["is_right"]:
            raise RunError(
                f"the simulated run ended wrongly: {found['stop_reason'] or 'commits are missing'}",
                fix="this is a bug of the scheduler",
            )
        say(f"{name}: efficiency {found['efficiency']:.3f}")
        keys = ("efficiency", "makespan_s", "driver_load", "events_per_s", "run_events_per_s")
        return Simulated(n_models, n_nodes, preempted_per_hour, **{key: found[key] for key in keys})

    def _measure(
        self, job: Mapping[str, Any], *, name: str, cores: Sequence[int]
    ) -> dict[str, Any]:
        return measure("bench_scale_run.py", job, name=name, out=self.scratch / name, cores=cores)


def worker_counts(n_cores: int) -> list[int]:
    """Choose how many workers are measured: one, then twice as many each time, then one per core.

    Examples
    --------
    >>> worker_counts(2), worker_counts(12)
    ([1, 2], [1, 2, 4, 8, 12])
    """
    counts = [1]
    while counts[-1] < n_cores:
        counts.append(min(2 * counts[-1], n_cores))
    return counts


def stream_all(bench: Bench, n_cores: int) -> tuple[list[Streamed], list[Streamed]]:
    """Let runs of one model with each number of workers, and of all models, take turns."""
    one, shared = [], []
    for n_round in range(1, bench.config.rounds + 1):
        for n in worker_counts(n_cores):
            name = f"{ONE_MODEL}, {n} workers"
            one.append(bench.stream([MODEL], n_workers=n, name=name, n_round=n_round))
        name = f"{ALL_MODELS}, {n_cores} cores"
        shared.append(bench.stream(paper_models(), n_workers=n_cores, name=name, n_round=n_round))
    require_same_patches(one)
    require_same_patches(shared)
    return one, shared


def require_same_patches(runs: Sequence[Streamed]) -> None:
    """See that all runs embedded the same patches of the same files.

    Parameters
    ----------
    runs : sequence of Streamed
        Over the same music.

    Raises
    ------
    RunError
        If they did not: then their times could not be compared.
    """
    for run in runs:
        if (run.n_files, run.n_patches) != (runs[0].n_files, runs[0].n_patches):
            raise RunError(
                f"{run.name} embedded {run.n_patches} patches of {run.n_files} files, "
                f"{runs[0].name} {runs[0].n_patches} of {runs[0].n_files}",
                fix="look for the cause first: their times cannot be compared",
            )


def simulate_all(bench: Bench, one: Costs, every: Costs) -> list[Simulated]:
    """Simulate each cluster of the configuration."""
    found = []
    for costs, runs in ((one, bench.config.one_model), (every, bench.config.all_models)):
        if runs is not None:
            found += [bench.simulate(costs, runs, n_nodes=n) for n in runs.nodes]
            found.append(
                bench.simulate(
                    costs,
                    runs,
                    n_nodes=runs.preempted_nodes,
                    preempted_per_hour=runs.preempted_per_hour,
                )
            )
    return found


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> ScaleConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(ScaleConfig, values, origin=origin)
    return config.model_copy(update={"audio": ROOT / config.audio})


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return set(FIGURES)


def run(config: ScaleConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure workers and costs, simulate clusters, and hold the figures against the limits."""
    limits = limits_of(config, names=FIGURES, cores=cores)
    files = audio_files(config.audio)
    link_copies(files, scratch / "music", n_copies=config.copies)
    link_copies(files, scratch / "music for all", n_copies=config.copies_all)
    bench = Bench(config, scratch, cores)
    streamed, shared = stream_all(bench, len(cores))
    one, every = bench.costs([MODEL]), bench.costs(paper_models())
    commit_s, commit_part_s = bench.commits()
    one, every = (replace(c, commit_s=commit_s, commit_part_s=commit_part_s) for c in (one, every))
    simulated = simulate_all(bench, one, every)
    figures = {
        EFFICIENCY: efficiency(streamed, one, n_cores=len(cores)),
        SHARED_CPU: median(each.used for each in shared),
        SHARED_BOUND: median(each.part_of_bound(every) for each in shared),
        **{each.name: each.efficiency for each in simulated},
    }
    costs = {ONE_MODEL: one, ALL_MODELS: every}
    hours = {
        name: core_hours(runs, costs[name], n_cores=len(cores))
        for name, runs in ((ONE_MODEL, streamed), (ALL_MODELS, shared))
    }
    kept = {each.n_models: each.efficiency for each in simulated if each.preempted_per_hour}
    return {
        "figures": figures,
        "streamed": [asdict(each) for each in [*streamed, *shared]],
        "costs": {name: asdict(each) for name, each in costs.items()},
        "simulated": [asdict(each) for each in simulated],
        "tables": [
            worker_table(streamed, shared, costs),
            step_table(every),
            simulated_table(simulated),
            cost_table(hours, config.prices, kept_when_preempted=kept.get(1, 1.0)),
        ],
        "broken_floors": limits.broken(figures),
    }


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--audio", type=absolute_path, help="folder of audio files")
    parser.add_argument("--copies", type=int, help="of each file, for MusiCNN")
    parser.add_argument("--copies-all", type=int, help="of each file, for all models")
    parser.add_argument("--rounds", type=int, help="how often workers are measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
