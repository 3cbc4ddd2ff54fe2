"""`bench.py probes`: the grid of tasks, models and folds, and one fit beside scikit-learn's own.

The grid is swept as a user would, through Ray, over embeddings that are drawn with the sizes,
classes and dimensions of the paper. Fits of some of its cells take turns with a plain loop around
scikit-learn's ``MLPClassifier`` with the same settings and the same seed.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_limits import LimitedConfig, limits_of
from bench_probes_run import N_FOLDS, OURS, PLAIN
from bench_process import measure
from bench_setting import checked, say
from bench_show import figure_table, gib, show_tables, table_of
from coverage_catalogue import write_catalogue
from coverage_draws import paper_cells
from probe_coverage import WHOLE_GRID, Sweep, run_sweep, sweep_file
from pydantic import Field

from embedlib.errors import RunError
from embedlib.probes.statistics import balanced_accuracy

N_CORES = 2
"""What the grid is bound to, at most."""

WHOLE_MIN = "minutes for the whole grid"
SWEEP_S = "seconds of the sweep"
FITS_PER_S = "fits per second"
PEAK_GIB = "peak memory GiB"
RATIO = f"a fit, {OURS} / {PLAIN}"
FIGURES = (WHOLE_MIN, SWEEP_S, FITS_PER_S, PEAK_GIB, RATIO)

SAME_LOSS = 1e-6
"""Relative difference of two validation losses that is rounding: products of float32 in another
order. The tests hold fits of real embeddings to the same."""


class ProbesConfig(LimitedConfig):
    """What to measure; configs/bench/probes.yaml explains each key."""

    tasks: list[str]
    models: list[str]
    scale: float = Field(gt=0)
    sample_tasks: list[str] = Field(min_length=1)
    sample_models: list[str] = Field(min_length=1)
    sample_scale: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Pair:
    """The folds of one cell, fitted by both.

    Attributes
    ----------
    task, model : str
        The cell.
    ours, plain : sequence of mapping of str to Any
        What each fit came to, by fold.
    """

    task: str
    model: str
    ours: Sequence[Mapping[str, Any]]
    plain: Sequence[Mapping[str, Any]]

    @property
    def ratio(self) -> float:
        """Time of ours over time of theirs, the median of the folds."""
        pairs = zip(self.ours, self.plain, strict=True)
        return float(median(one["seconds"] / other["seconds"] for one, other in pairs))

    def accuracy(self, fits: Iterable[Mapping[str, Any]]) -> float:
        """Balanced accuracy of some fits over the tested tracks of all folds."""
        own = list(fits)
        truth, predicted = (
            np.array([n for fit in own for n in fit[key]]) for key in ("truth", "predicted")
        )
        return balanced_accuracy(truth, predicted)

    def loss_difference(self) -> float:
        """Greatest relative difference of two validation losses."""
        pairs = zip(self.ours, self.plain, strict=True)
        return float(max(abs(one["val_loss"] / other["val_loss"] - 1) for one, other in pairs))


def pairs_of(fits: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """Put the fits of each cell together.

    Parameters
    ----------
    fits : sequence of mapping of str to Any
        As the process left them: cell by cell, fold by fold.

    Returns
    -------
    pairs : list of Pair
        One per cell.
    """
    found = []
    for (task, model), each in groupby(fits, key=lambda fit: (fit["task"], fit["model"])):
        by_way: dict[str, list[Mapping[str, Any]]] = {OURS: [], PLAIN: []}
        for fit in each:
            by_way[fit["way"]].append(fit)
        found.append(Pair(task, model, by_way[OURS], by_way[PLAIN]))
    return found


def require_same_fits(pairs: Iterable[Pair]) -> None:
    """See that both train as long, to the same loss, and decide alike.

    Parameters
    ----------
    pairs : iterable of Pair
        All cells.

    Raises
    ------
    RunError
        If they do not: then their times are those of different things.
    """
    for pair in pairs:
        epochs = [[fit["n_epochs"] for fit in fits] for fits in (pair.ours, pair.plain)]
        same_accuracy = pair.accuracy(pair.ours) == pair.accuracy(pair.plain)
        if epochs[0] != epochs[1] or pair.loss_difference() > SAME_LOSS or not same_accuracy:
            raise RunError(
                f"{pair.model} on {pair.task}: epochs {epochs[0]} and {epochs[1]}, losses "
                f"{pair.loss_difference():.1e} apart",
                fix="look for the cause first: their times cannot be compared",
            )


def sweep_grid(config: ProbesConfig, folder: Path, cores: Sequence[int]) -> tuple[Sweep, int]:
    """Draw a catalogue and sweep it; also how many cells it has."""
    cells = paper_cells(config.tasks or None, config.models or None, scale=config.scale, seed=0)
    catalogue = write_catalogue(folder, cells)
    own = list(cores)[-N_CORES:]
    flags = Namespace(repeats=1, controls=0, local=False, cores=own)
    sweep = run_sweep(sweep_file(catalogue, flags), out=catalogue.out, cores=own)
    if sweep.n_fits != len(cells) * N_FOLDS:
        raise RunError(
            f"the sweep left {sweep.n_fits} fits of {len(cells)} cells", fix="see what it lacks"
        )
    say(f"{sweep.n_all} fits of {len(cells)} cells: {sweep.wall_s:.0f} s")
    return sweep, len(cells)


def figures_of(
    sweep: Sweep, pairs: Sequence[Pair], *, n_cells: int, scale: float
) -> dict[str, float]:
    """Give all figures; the minutes of the whole grid only where it was all of it."""
    figures = {
        SWEEP_S: sweep.wall_s,
        FITS_PER_S: sweep.n_all / sweep.wall_s,
        PEAK_GIB: gib(sweep.peak.pss_bytes),
        RATIO: median(pair.ratio for pair in pairs),
    }
    is_whole = n_cells >= WHOLE_GRID and scale >= 1
    return {WHOLE_MIN: sweep.wall_s / 60, **figures} if is_whole else figures


def rows_of(pairs: Iterable[Pair]) -> Iterator[tuple[str, ...]]:
    """Give the rows for people."""
    for pair in pairs:
        ms = [1e3 * median(fit["seconds"] for fit in fits) for fits in (pair.ours, pair.plain)]
        accuracies = [100 * pair.accuracy(fits) for fits in (pair.ours, pair.plain)]
        yield (
            pair.task,
            pair.model,
            *(f"{each:.0f}" for each in ms),
            f"{pair.ratio:.2f}",
            *(f"{each:.2f}" for each in accuracies),
            f"{pair.loss_difference():.0e}",
        )


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> ProbesConfig:
    """Check the values of a configuration."""
    return checked(ProbesConfig, values, origin=origin)


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return set(FIGURES)


def run(config: ProbesConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Hold fits against plain ones, sweep the grid, and hold the figures against the limits."""
    limits = limits_of(config, names=FIGURES, cores=cores)
    job = {
        "tasks": config.sample_tasks,
        "models": config.sample_models,
        "scale": config.sample_scale,
    }
    found = measure("bench_probes_run.py", job, name="fits", out=scratch / "fits", cores=cores[-1:])
    pairs = pairs_of(found["fits"])
    require_same_fits(pairs)
    sweep, n_cells = sweep_grid(config, scratch / "grid", cores)
    figures = figures_of(sweep, pairs, n_cells=n_cells, scale=config.scale)
    columns = ("task", "model", f"{OURS} ms", f"{PLAIN} ms", "ratio", "accuracy %", "theirs %")
    return {
        "figures": figures,
        "n_cells": n_cells,
        "n_fits": sweep.n_all,
        "fits": found["fits"],
        "tables": [
            figure_table(f"A sweep of {n_cells} cells in {N_FOLDS} folds", figures),
            table_of(
                "One fit, alone on one core",
                (*columns, "losses apart"),
                rows_of(pairs),
                notes=[f"Medians of {N_FOLDS} folds, both with the same seed; losses relative."],
            ),
        ],
        "broken_floors": limits.broken(figures),
    }


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--tasks", nargs="+", help="of the paper, for the grid")
    parser.add_argument("--models", nargs="+", help="of the paper, for the grid")
    parser.add_argument("--scale", type=float, help="times so many tracks in the grid")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
