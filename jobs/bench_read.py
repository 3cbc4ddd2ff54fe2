"""`bench.py read`: columns of vectors to NumPy, beside a plain .npy file of the same numbers.

Tables of drawn vectors are written by the library's own writer, as parts and compacted. Before
anything is timed, what they give is held against what was written, bit by bit. Files are in the
page cache: the disk is on no side. A figure is the best of some readings in one process, the
median over the rounds.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench_figures import Floor, broken_floors, facts_of, floors_that_count
from bench_process import measure
from bench_read_run import EMBEDLIB, LAY_OUT, LAYOUTS, LISTS, MAPPED, NPY, SOME, WHOLE
from bench_setting import checked, machine, say
from bench_show import show_tables, table_of
from pydantic import BaseModel, ConfigDict, Field

ONE_CORE, ALL_CORES = "one core", "all cores"
SIDES = {
    f"{EMBEDLIB}, {ONE_CORE}": (EMBEDLIB, ONE_CORE),
    f"{EMBEDLIB}, {ALL_CORES}": (EMBEDLIB, ALL_CORES),
    NPY: (NPY, ONE_CORE),
    MAPPED: (MAPPED, ONE_CORE),
    LISTS: (LISTS, ONE_CORE),
}
"""What takes turns: how it reads, and on what cores; `np.load` has no use for a second one."""

TABLES = ("narrow", "wide")

Rates = dict[str, dict[str, float]]
"""Bytes per second, by side and by what it reads."""


class Size(BaseModel):
    """How large a table is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: int = Field(ge=1)
    patches: int = Field(ge=1)
    dims: int = Field(ge=2)
    tracks_per_part: int = Field(ge=1)


class ReadConfig(BaseModel):
    """What to measure; configs/bench/read.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    narrow: Size
    wide: Size
    repeats: int = Field(ge=1)
    rounds: int = Field(ge=1)
    floors: dict[str, Floor]


def read_all(
    config: ReadConfig, scratch: Path, cores: Sequence[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write each table, then let all sides take turns at it."""
    laid_out, runs = {}, []
    for name in TABLES:
        size = getattr(config, name).model_dump()
        folder = scratch / name
        folder.mkdir()
        job = {"way": LAY_OUT, "size": size}
        laid_out[name] = measure("bench_read_run.py", job, name=name, out=folder, cores=cores)
        for n_round in range(1, config.rounds + 1):
            for layout in LAYOUTS:
                job = {"table": folder / layout, "size": size, "repeats": config.repeats}
                runs += [
                    {"table": name, "layout": layout, "side": side, "runs": found}
                    for side, found in turns({**job, "n_round": n_round}, folder, cores)
                ]
            say(f"{name}: round {n_round} of {config.rounds} is done")
    return laid_out, runs


def turns(
    job: Mapping[str, Any], folder: Path, cores: Sequence[int]
) -> list[tuple[str, dict[str, Any]]]:
    """Measure each side once, in a process of its own."""
    found = []
    for side, (way, where) in SIDES.items():
        own_cores = cores if where == ALL_CORES else cores[-1:]
        figures = measure(
            "bench_read_run.py",
            {**job, "way": way},
            name=side,
            out=folder / "reading",
            cores=own_cores,
        )
        found.append((side, figures["runs"]))
    return found


def best_rates(runs: Sequence[Mapping[str, Any]], table: str, layout: str) -> Rates:
    """Give bytes per second by side and by what was read: the best of each round, their median."""
    rounds: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if (run["table"], run["layout"]) == (table, layout):
            for what, each in run["runs"].items():
                best = max(one["n_bytes"] / one["s"] for one in each)
                rounds.setdefault(run["side"], {}).setdefault(what, []).append(best)
    return {
        side: {what: median(rates) for what, rates in by_what.items()}
        for side, by_what in rounds.items()
    }


def figures_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Hold the rates of embedlib against those of a plain file, and of Python objects."""
    figures = {}
    for table in TABLES:
        for layout in LAYOUTS:
            rates = best_rates(runs, table, layout)
            for what in WHOLE:
                for cores in (ONE_CORE, ALL_CORES):
                    own = rates[f"{EMBEDLIB}, {cores}"][what]
                    name = figure_name(table, layout, what, cores)
                    figures[f"{name} / {NPY}"] = own / rates[NPY][what]
                    figures[f"{name} / {LISTS}"] = own / rates[LISTS][what]
    return figures


def figure_name(table: str, layout: str, what: str, cores: str) -> str:
    """Name what is held against another way."""
    return f"{table} {layout}, {what}, {cores}"


def rate_table(
    runs: Sequence[Mapping[str, Any]], laid_out: Mapping[str, Any], name: str, layout: str
) -> dict[str, Any]:
    """Make the table of what is read whole."""
    rates, made = best_rates(runs, name, layout), laid_out[name]
    rows = []
    for what in WHOLE:
        own = [rates[side].get(what, 0.0) for side in SIDES]
        shares = (f"{own[index] / rates[NPY][what]:.3f}" for index in (0, 1))
        rows.append((what, *(f"{rate / 1e6:,.0f}" for rate in own), *shares))
    share = made["file_bytes"][layout] / made["payload_bytes"]
    return table_of(
        f"{name}, {layout}: MB/s of numbers into a NumPy array",
        ("column", *SIDES, f"one core / {NPY}", f"all cores / {NPY}"),
        rows,
        notes=[
            f"{made['payload_bytes'] / 1e6:,.0f} MB of patches in {made['n_files'][layout]} files, "
            f"which take {share:.3f} of that; all values equal to what was written.",
            "Means of a small table take longer to open than to read.",
        ],
    )


def track_table(runs: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Make the table of what is read by the ids of tracks."""
    sides = [side for side, (way, _) in SIDES.items() if way in {EMBEDLIB, MAPPED}]
    rows = [
        (layout, what, *(f"{_least_ms(runs, name, layout, side, what):,.2f}" for side in sides))
        for layout in LAYOUTS
        for what in SOME
    ]
    return table_of(f"{name}: ms for the patches of random tracks", ("layout", "of", *sides), rows)


def export_table(laid_out: Mapping[str, Any]) -> dict[str, Any]:
    """Make the table of what a plain file costs once: `embedlib export --to npy --what patches`."""
    rows = [
        (
            name,
            *(f"{made['payload_bytes'] / made[key] / 1e6:,.0f}" for key in ("write_s", "export_s")),
        )
        for name, made in laid_out.items()
    ]
    note = "An export is such a plain file, with the id and the times of each patch beside it."
    return table_of("MB/s of writing", ("table", "as parts", "export to .npy"), rows, notes=[note])


def _least_ms(
    runs: Sequence[Mapping[str, Any]], table: str, layout: str, side: str, what: str
) -> float:
    wanted = (table, layout, side)
    found = [
        min(one["s"] for one in run["runs"][what])
        for run in runs
        if (run["table"], run["layout"], run["side"]) == wanted
    ]
    return 1e3 * median(found)


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> ReadConfig:
    """Check the values of a configuration."""
    return checked(ReadConfig, values, origin=origin)


def figure_names() -> set[str]:
    """Name what a floor can be set for."""
    return {
        f"{figure_name(table, layout, what, cores)} / {other}"
        for table in TABLES
        for layout in LAYOUTS
        for what in WHOLE
        for cores in (ONE_CORE, ALL_CORES)
        for other in (NPY, LISTS)
    }


def run(config: ReadConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Write, compare, read, and hold the ratios against their floors."""
    facts = facts_of(machine(cores)["flags"], n_cores=len(cores))
    floors = floors_that_count(config.floors, names=figure_names(), facts=facts)
    laid_out, runs = read_all(config, scratch, cores)
    figures = figures_of(runs)
    return {
        "figures": figures,
        "tables": [
            *(rate_table(runs, laid_out, name, layout) for name in TABLES for layout in LAYOUTS),
            *(track_table(runs, name) for name in TABLES),
            export_table(laid_out),
        ],
        "laid_out": laid_out,
        "runs": runs,
        "broken_floors": broken_floors(figures, floors),
    }


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--repeats", type=int, help="how often each process reads")
    parser.add_argument("--rounds", type=int, help="how often all is measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
