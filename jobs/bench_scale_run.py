"""One measurement of `bench.py scale`, in a process of its own.

Run by jobs/bench_scale.py: python jobs/bench_scale_run.py JOB.json, which leaves JOB.result

A run through Ray, with the CPU time of all its processes by kind; or what each step costs alone;
or a run that could be, in the simulator, with such costs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_memory import DRIVER, descendants, kind_of

from embedlib.config import extract_config
from embedlib.features.front_end import front_end
from embedlib.run.driver import RunPlan
from embedlib.run.estimate import DECODE, estimate
from embedlib.run.events import Committed, Decoded, Embedded, Event, SlotAdded, Written
from embedlib.run.extract import RunWatcher, run_extract
from embedlib.run.outlook import look_ahead
from embedlib.run.scenario import NodeKind, Scenario, SimulatedModel
from embedlib.run.scheduler import Scheduler
from embedlib.run.simulate import simulate

RUN, COSTS, SIMULATE = "run", "costs", "simulate"
"""What a process does."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_by_kind() -> dict[str, float]:
    """Add up the CPU seconds of this process and all that it has started, by kind."""
    found: dict[str, float] = {}
    for pid in descendants(os.getpid()):
        folder = Path("/proc") / str(pid)
        with suppress(FileNotFoundError, ProcessLookupError):
            kind = DRIVER if pid == os.getpid() else kind_of(folder)
            found[kind] = found.get(kind, 0.0) + cpu_of_stat((folder / "stat").read_text())
    return found


def cpu_of_stat(stat: str, *, ticks_per_s: int = TICKS_PER_S) -> float:
    """Read the CPU seconds, user and system, from the text of /proc/PID/stat.

    Examples
    --------
    >>> cpu_of_stat("12 (a ) b) S 7 12 12 0 -1 4 0 0 0 0 150 50 9 9", ticks_per_s=100)
    2.0
    """
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / ticks_per_s


class Clock(RunWatcher):
    """Notes time and work done when the last worker is ready, and at the last commit.

    Work is counted by step: chunks where several models share them, else seconds of audio in the
    parts of a model, whose workers decode for themselves.
    """

    def __init__(self) -> None:
        self.planned_s = self.ready_s = self.ended_s = time.perf_counter()
        self.cpu_ready: dict[str, float] = {}
        self.cpu_ended: dict[str, float] = {}
        self.done: Counter[str] = Counter()
        self.done_early: Counter[str] = Counter()

    def on_plan(self, plan: RunPlan) -> None:
        """Take the plan."""
        self.planned_s = time.perf_counter()
        self._is_one_model = len(plan.jobs) == 1

    def on_event(self, event: Event, scheduler: Scheduler) -> None:
        """Take an event."""
        if isinstance(event, SlotAdded):
            self.ready_s, self.done_early = time.perf_counter(), self.done.copy()
            self.cpu_ready = cpu_by_kind()
        elif isinstance(event, Committed):
            self.ended_s, self.cpu_ended = time.perf_counter(), cpu_by_kind()
        elif isinstance(event, Decoded):
            self.done[DECODE] += 1
        elif isinstance(event, Embedded):
            self.done[event.model] += 1
        elif isinstance(event, Written) and self._is_one_model:
            for step in (DECODE, event.part.model):
                self.done[step] += round(event.part.audio_s)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Extract through Ray; seconds, CPU seconds by kind, and what was saved."""
    clock = Clock()
    values = {"sources": [job["audio"]], "out": job["out"], **job["options"]}
    summary = run_extract(extract_config(values), watcher=clock)
    return {
        "audio_s": summary.audio_s / len(summary.models),  # which counts it for each
        "n_files": summary.n_tracks - summary.n_failed,
        "n_patches": summary.n_patches,
        "load_s": clock.ready_s - clock.planned_s,
        "stream_s": clock.ended_s - clock.ready_s,
        "early": {step: clock.done_early[step] / n for step, n in clock.done.items()},
        "cpu_s": {
            kind: cpu_s - clock.cpu_ready.get(kind, 0.0) for kind, cpu_s in clock.cpu_ended.items()
        },
    }


def costs(job: dict[str, Any]) -> dict[str, Any]:
    """Measure what each model and decoding cost here, as `embedlib plan --estimate` does."""
    values = {"sources": [job["audio"]], "out": job["out"], **job["options"]}
    config = extract_config(values)
    _, plan = look_ahead(config)
    found = estimate(plan, config, prices=None)
    core_s = {name: 3600 * hours / found.audio_s for name, hours in found.stage_hours.items()}
    return {
        "decode": core_s.pop(DECODE),
        "models": {
            name: asdict(
                SimulatedModel(plan.jobs[name].front_end, cost_s, _frame_bytes(plan, name))
            )
            for name, cost_s in core_s.items()
        },
    }


def _frame_bytes(plan: RunPlan, name: str) -> float:
    front = front_end(plan.jobs[name].front_end)
    return 4.0 * front.n_bands * front.sr_hz / front.hop_samples


def simulated(job: dict[str, Any]) -> dict[str, Any]:
    """Carry out a scenario."""
    scenario = Scenario(
        n_tracks=job["tracks"],
        nodes=(NodeKind(job["nodes"], job["cores_per_node"]),),
        models={name: SimulatedModel(**model) for name, model in job["models"].items()},
        decode_core_s=job["decode"],
        commit_s=job["commit_s"],
        commit_part_s=job["commit_part_s"],
        preempted_per_hour=job["preempted_per_hour"],
    )
    report = simulate(scenario)
    own = {
        "efficiency": 1 / report.stretch,
        "driver_load": report.driver_load,
        "events_per_s": report.events_per_s,
        "run_events_per_s": sum(report.n_events.values()) / report.makespan_s,
        "is_right": report.n_committed == report.n_shards * len(scenario.models),
    }
    return asdict(report) | own


TASKS = {RUN: run, COSTS: costs, SIMULATE: simulated}

if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    job_file.with_suffix(".result").write_text(json.dumps(TASKS[job["task"]](job)))
