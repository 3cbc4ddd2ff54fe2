"""Run the scheduler of embedlib on a cluster that does not exist, faster than the clock.

Run: python jobs/simulate.py --tracks 1e8 --nodes 200 --preempted-per-hour 0.05
     python jobs/simulate.py --tracks 1e5 --nodes 8 --models all --poison 1e-4

Shards, nodes, losses and stragglers are drawn; events and actions are those of a real run. Half of
the nodes have 16 cores, half have 8 that are faster by 30 %. With a wrong end (more than 1.05 of
the least possible time where `--max-stretch 1.05` is given, a pair committed twice or never) the
exit code is 1.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from embedlib.cli.output import print_table
from embedlib.errors import ConfigError, EmbedlibError
from embedlib.run.scenario import MODELS, NodeKind, Scenario, SimulationReport
from embedlib.run.simulate import simulate


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=float, default=1e6, help="of four minutes in the mean")
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=["msd-musicnn-1"], help="names, or all")
    parser.add_argument("--preempted-per-hour", type=float, default=0.0, help="part of the nodes")
    parser.add_argument("--stragglers", type=float, default=0.001, help="part of the attempts")
    parser.add_argument("--straggler-factor", type=float, default=5.0, help="times as long")
    parser.add_argument("--no-twins", action="store_true", help="begin nothing once more")
    parser.add_argument("--poison", type=float, default=0.0, help="part of the tracks")
    parser.add_argument("--budget-gib", type=float, default=4.0, help="for chunks in flight")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-stretch", type=float, help="of the makespan, over its lower bound")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def scenario_of(flags: Namespace) -> Scenario:
    """Make the scenario that the command line describes."""
    names = list(MODELS) if flags.models == ["all"] else flags.models
    if unknown := [name for name in names if name not in MODELS]:
        raise ConfigError(f"no cost of {unknown[0]} is known", fix=f"name some of {list(MODELS)}")
    n_large = (flags.nodes + 1) // 2
    kinds = (NodeKind(n_large, 16), NodeKind(flags.nodes - n_large, 8, speed=1.3))
    return Scenario(
        n_tracks=int(flags.tracks),
        nodes=tuple(kind for kind in kinds if kind.n_nodes > 0),
        models={name: MODELS[name] for name in names},
        preempted_per_hour=flags.preempted_per_hour,
        straggler_share=flags.stragglers,
        straggler_factor=flags.straggler_factor,
        has_twins=not flags.no_twins,
        poison_share=flags.poison,
        budget_bytes=int(flags.budget_gib * 2**30),
        seed=flags.seed,
    )


def figures_of(report: SimulationReport, *, wall_s: float) -> dict[str, float]:
    """Give the figures that are derived, and those of this process."""
    return {
        "stretch": report.stretch,
        "events_per_s": report.events_per_s,
        "driver_load": report.driver_load,
        "wall_s": wall_s,
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def faults_of(report: SimulationReport, *, n_models: int, max_stretch: float | None) -> list[str]:
    """Say what should not be."""
    faults = [report.stop_reason] if report.stop_reason else []
    if report.n_committed != report.n_shards * n_models and not report.stop_reason:
        faults.append(f"{report.n_committed} commits for {report.n_shards} shards")
    if max_stretch is not None and report.stretch > max_stretch:
        faults.append(f"makespan over its bound is {report.stretch:.3f}, above {max_stretch}")
    return faults


def rows(report: SimulationReport, figures: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Give the figures for people."""
    yield "shards", f"{report.n_shards:,}"
    yield "makespan", f"{report.makespan_s / 3600:.3f} h"
    yield "lower bound", f"{report.bound_s / 3600:.3f} h"
    yield "makespan / lower bound", f"{report.stretch:.4f}"
    for stage, part in report.utilisation.items():
        yield f"cores, {stage}", f"{part:.1%}"
    yield "nodes lost, workers killed", f"{report.n_nodes_lost:,}, {report.n_crashes:,}"
    yield "peak of chunks in flight", f"{report.peak_bytes / 2**20:.0f} MiB"
    yield "peak memory of this process", f"{figures['peak_rss_gib']:.2f} GiB"
    yield "events", f"{sum(report.n_events.values()):,}"
    yield "events per second", f"{report.events_per_s:,.0f}"
    yield "scheduler's share of a driver", f"{report.driver_load:.2%}"
    yield "wall time", f"{figures['wall_s']:.0f} s"


def main() -> int:
    """Simulate, show, write, judge."""
    flags = arguments()
    scenario = scenario_of(flags)
    started = time.monotonic()
    report = simulate(scenario)
    figures = figures_of(report, wall_s=time.monotonic() - started)
    faults = faults_of(report, n_models=len(scenario.models), max_stretch=flags.max_stretch)
    print_table(list(rows(report, figures)), header=("figure", "value"))
    if flags.out:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"scenario": asdict(scenario), "report": asdict(report), **figures}
        flags.out.write_text(json.dumps(result | {"faults": faults}, indent=2) + "\n")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
