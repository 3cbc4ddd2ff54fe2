"""Do the intervals of a sweep hold what is true? A sweep of a catalogue where that is known.

Run: python jobs/probe_coverage.py --out bench/probe_coverage.json
     python jobs/probe_coverage.py --tasks gtzan sad --models msd-musicnn-1 --scale 0.5

The catalogue has the tasks, classes, sizes and dimensions of the paper; embeddings are drawn from
Gaussians so far apart that the best possible accuracy is a bit above the paper's. The probes that
the sweep kept are then judged on fresh draws. With an end that is not as it should be (the truth
outside of too many intervals, a score above the best possible one, a sweep of the whole grid that
takes more than 30 minutes or 4 GiB) the exit code is 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from bench_memory import Held, sample_tree, total
from coverage_catalogue import Catalogue, write_catalogue
from coverage_draws import Cell, paper_cells
from coverage_judge import N_FRESH, Verdict, judge

from embedlib.cli.output import print_table
from embedlib.errors import EmbedlibError, RunError
from embedlib.probes.comparisons import holm
from embedlib.probes.records import Role
from embedlib.probes.table import read_fits
from embedlib.tables.verify import verify

ROOT: Final = Path(__file__).parents[1]

INSIDE: Final = 115 / 128
"""Share of the cells whose interval must hold the truth; the intervals claim 95 %."""

LEVEL: Final = 0.05
"""Of the test for scores above the best possible one, all cells together."""

WHOLE_GRID: Final = 128
MAX_WALL_S: Final = 1800.0
MAX_BYTES: Final = 4 * 2**30
"""What a sweep of the whole grid may take on two cores."""

PERIOD_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep took.

    Attributes
    ----------
    wall_s : float
        From the start of its process to the end.
    peak : Held
        Most memory of its process and all that it started, PSS.
    n_fits : int
        In the first split of true labels.
    n_all : int
        With repeats and controls.
    """

    wall_s: float
    peak: Held
    n_fits: int
    n_all: int


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", help="of the paper; all by default")
    parser.add_argument("--models", nargs="+", help="of the paper; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="times so many tracks")
    parser.add_argument("--seed", type=int, default=0, help="another catalogue")
    parser.add_argument("--repeats", type=int, default=1, help="splits into folds")
    parser.add_argument("--controls", type=int, default=0, help="shuffles of the labels")
    parser.add_argument("--local", action="store_true", help="without Ray, in one process")
    parser.add_argument("--cores", type=int, nargs="+", default=[0, 1], help="to be bound to")
    parser.add_argument("--folder", type=Path, help="for the catalogue; a temporary one else")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def sweep_file(catalogue: Catalogue, flags: Namespace) -> Path:
    """Write the configuration of the sweep, as a user would."""
    config = {
        "out": str(catalogue.out),
        "tasks": [{"task": str(task), "labels": str(labels)} for task, labels in catalogue.tasks],
        "models": ["all"],
        "protocols": ["pooled"],
        "repeats": flags.repeats,
        "controls": flags.controls,
        "keep_probes": True,
        "local": flags.local,
        "n_cores": len(flags.cores),
    }
    path = catalogue.out.parent / "sweep.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def run_sweep(config: Path, *, out: Path, cores: Sequence[int]) -> Sweep:
    """Run ``embedlib probe sweep`` on some cores, and measure it.

    Parameters
    ----------
    config : Path
        Its configuration.
    out : Path
        The output folder.
    cores : sequence of int
        What it is bound to.

    Returns
    -------
    sweep : Sweep
        What it took.

    Raises
    ------
    RunError
        If it fails.
    """
    command = [sys.executable, str(ROOT / "jobs" / "probe_sweep.py"), "--config", str(config)]
    peak, started_s = Held(), time.monotonic()
    with subprocess.Popen(
        command, preexec_fn=lambda: os.sched_setaffinity(0, cores), stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            held = total(sample_tree(process.pid))
            peak = max(peak, held, key=lambda each: each.pss_bytes)
            time.sleep(PERIOD_S)
    if process.returncode:
        raise RunError(f"the sweep ended with code {process.returncode}", fix="see its last line")
    fits = read_fits(str(out))
    n_fits = sum(fit.key.role is Role.CV and fit.key.repeat == 0 for fit in fits)
    return Sweep(time.monotonic() - started_s, peak, n_fits, len(fits))


def figures_of(verdicts: Sequence[Verdict], sweep: Sweep) -> dict[str, Any]:
    """Put together what is judged."""
    p_holm = holm([each.p_above for each in verdicts])
    return {
        "n_cells": len(verdicts),
        "n_inside": sum(each.is_inside for each in verdicts),
        "n_above_bayes": int(sum(p < LEVEL for p in p_holm)),
        "least_p_above_bayes": min(p_holm),
        "n_fresh": N_FRESH,
        "n_fits": sweep.n_fits,
        "n_fits_with_repeats_and_controls": sweep.n_all,
        "wall_s": sweep.wall_s,
        "peak_pss_bytes": sweep.peak.pss_bytes,
        "peak_rss_bytes": sweep.peak.rss_bytes,
        "n_processes_at_peak": sweep.peak.n_processes,
    }


def faults_of(figures: dict[str, Any]) -> list[str]:
    """Say what should not be."""
    n_cells, n_inside = figures["n_cells"], figures["n_inside"]
    faults = []
    if n_inside < (least := int(INSIDE * n_cells)):
        faults.append(f"{n_inside} of {n_cells} intervals hold the truth, not {least}")
    if figures["n_above_bayes"]:
        faults.append(f"{figures['n_above_bayes']} scores are above the best possible one")
    if n_cells >= WHOLE_GRID and figures["wall_s"] > MAX_WALL_S:
        faults.append(f"the sweep took {figures['wall_s']:.0f} s, more than {MAX_WALL_S:.0f}")
    if figures["peak_pss_bytes"] > MAX_BYTES:
        faults.append(f"the sweep took {figures['peak_pss_bytes'] / 2**30:.2f} GiB, more than 4")
    return faults


def rows(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, ...]]:
    """Give the cells for people, in percent."""
    for each in verdicts:
        values = (each.paper, each.bayes, each.five_fold, each.low, each.high, each.true)
        percents = (f"{100 * value:.1f}" for value in values)
        yield each.task, each.model, *percents, "" if each.is_inside else "outside"


def show(verdicts: Sequence[Verdict], figures: dict[str, Any]) -> None:
    """Print cells and figures."""
    header = ("task", "model", "paper", "best", "5F", "low", "high", "true", "")
    print_table(list(rows(verdicts)), header=header)
    print_table(
        [
            ("intervals that hold the truth", f"{figures['n_inside']} of {figures['n_cells']}"),
            ("scores above the best possible", str(figures["n_above_bayes"])),
            ("fits", f"{figures['n_fits_with_repeats_and_controls']:,}"),
            ("wall time of the sweep", f"{figures['wall_s']:.0f} s"),
            ("peak memory of the sweep (PSS)", f"{figures['peak_pss_bytes'] / 2**30:.2f} GiB"),
        ],
        header=("figure", "value"),
    )


def measure(folder: Path, cells: Sequence[Cell], flags: Namespace) -> tuple[list[Verdict], Sweep]:
    """Write the catalogue, sweep it, judge the probes."""
    catalogue = write_catalogue(folder, cells)
    if problems := verify(catalogue.out).problems:
        raise RunError(f"the catalogue is not whole: {problems[0]}", fix="mend its writer")
    config = sweep_file(catalogue, flags)
    sweep = run_sweep(config, out=catalogue.out, cores=flags.cores)
    return judge(catalogue.out, cells), sweep


def main() -> int:
    """Draw, sweep, judge, write."""
    flags = arguments()
    cells = paper_cells(flags.tasks, flags.models, scale=flags.scale, seed=flags.seed)
    with tempfile.TemporaryDirectory(prefix="embedlib-coverage-") as temporary:
        verdicts, sweep = measure(flags.folder or Path(temporary), cells, flags)
    figures = figures_of(verdicts, sweep)
    faults = faults_of(figures)
    show(verdicts, figures)
    if flags.out:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        each = [asdict(verdict) | {"is_inside": verdict.is_inside} for verdict in verdicts]
        setting = {key: str(value) for key, value in vars(flags).items()}
        result = {"setting": setting, "figures": figures, "cells": each, "faults": faults}
        flags.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbedlibError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
