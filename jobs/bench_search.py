"""`bench.py search`: what a search table costs and how well it finds, with a million vectors.

Vectors are drawn, in clusters; the model table that they are read from is real, and so is all that
is done with it: a first build, queries by the index and without it, and an update by a few tracks.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench_costs import broken_ceilings
from bench_figures import Floor, broken_floors, facts_of, floors_that_count
from bench_process import measure
from bench_search_run import N_ADDED
from bench_setting import checked, machine, say
from bench_show import figure_table, show_tables
from pydantic import BaseModel, ConfigDict, Field

from embedlib.errors import ConfigError

FIGURES = (
    *("build s", "build peak MiB", "query p50 ms", "query p95 ms", "exact query p50 ms"),
    *("exact query p95 ms", "recall at 10", "probes", "table MB", "index MB"),
    f"update by {N_ADDED} tracks s",
)


class SearchConfig(BaseModel):
    """What to measure; configs/bench/search.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(ge=1_000)
    dims: int = Field(ge=2)
    latent_dims: int = Field(ge=1)
    queries: int = Field(ge=50)
    rounds: int = Field(ge=1)
    floors: dict[str, Floor]
    ceilings: dict[str, float]


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> SearchConfig:
    """Check the values of a configuration."""
    return checked(SearchConfig, values, origin=origin)


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return set(FIGURES)


def run(config: SearchConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure as often as wanted, each time from nothing, and hold the medians against limits."""
    facts = facts_of(machine(cores)["flags"], n_cores=len(cores))
    floors = floors_that_count(config.floors, names=FIGURES, facts=facts)
    if unknown := config.ceilings.keys() - set(FIGURES):
        raise ConfigError(f"no figure is called {min(unknown)!r}", fix=f"there are {FIGURES}")
    runs = []
    for n_round in range(1, config.rounds + 1):
        out = scratch / f"search {n_round}"
        found = measure(
            "bench_search_run.py", config.model_dump(), name="search", out=out, cores=cores
        )
        say(f"round {n_round}: built in {found['build s']:.1f} s")
        runs.append(found)
    figures = {name: median(each[name] for each in runs) for name in FIGURES}
    return {
        "figures": figures,
        "tables": [figure_table(f"{config.rows:,} vectors of {config.dims} values", figures)],
        "runs": runs,
        "lancedb": version("lancedb"),
        "broken_floors": [
            *broken_floors(figures, floors),
            *broken_ceilings(figures, config.ceilings),
        ],
    }


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--rows", type=int, help="vectors in the table")
    parser.add_argument("--dims", type=int, help="values of each")
    parser.add_argument("--queries", type=int, help="how many are asked")
    parser.add_argument("--rounds", type=int, help="how often all is measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
