"""`bench.py index`: a night of a large catalogue in which next to nothing changed.

Nights with `embedlib index` in which nothing is new, and nights with some new files, take turns
with the least that any tool must do to know: list all folders and ask for the state of each file.
The new files are decoded and embedded; a night is one process, from nothing.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench_index_files import ADD, CHECK, LAY_OUT
from bench_index_run import LISTING, NIGHT
from bench_limits import LimitedConfig, limits_of
from bench_process import measure
from bench_setting import checked, say
from bench_show import figure_text, show_tables, table_of
from pydantic import Field

from embedlib.errors import RunError

STILL, BUSY = "nothing new", "some new"
NIGHTS = (STILL, BUSY)

SECONDS = {kind: f"{NIGHT} s, {kind}" for kind in NIGHTS}
PROCESS = {kind: f"process s, {kind}" for kind in NIGHTS}
PEAKS = {kind: f"peak MiB, {kind}" for kind in NIGHTS}
LISTING_S = "listing s"
TO_LISTING = f"{NIGHT} with {STILL} / {LISTING}"
PER_FILE_US = f"microseconds a file, {STILL}"
FIGURES = (
    *SECONDS.values(),
    *PROCESS.values(),
    *PEAKS.values(),
    *(LISTING_S, TO_LISTING, PER_FILE_US),
)


class IndexConfig(LimitedConfig):
    """What to measure; configs/bench/index.yaml explains each key."""

    files: int = Field(ge=100)
    new: int = Field(ge=1)
    rounds: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Night:
    """What one night took.

    Attributes
    ----------
    kind : str
        Whether there were new files.
    n_files : int
        That the catalogue had in the evening.
    seconds, wall_s : float
        Of the run, and of the whole process with imports.
    peak_mib : float
        Most resident memory of the process.
    listing_s : float
        Of a listing right after it.
    """

    kind: str
    n_files: int
    seconds: float
    wall_s: float
    peak_mib: float
    listing_s: float


def figures_of(nights: Sequence[Night]) -> dict[str, float]:
    """Give all figures, medians of the nights of a kind; ratios are taken night by night."""
    figures = {}
    for kind in NIGHTS:
        own = [night for night in nights if night.kind == kind]
        figures[SECONDS[kind]] = median(night.seconds for night in own)
        figures[PROCESS[kind]] = median(night.wall_s for night in own)
        figures[PEAKS[kind]] = median(night.peak_mib for night in own)
    still = [night for night in nights if night.kind == STILL]
    figures[LISTING_S] = median(night.listing_s for night in nights)
    figures[TO_LISTING] = median(night.seconds / night.listing_s for night in still)
    figures[PER_FILE_US] = median(1e6 * night.seconds / night.n_files for night in still)
    return figures


class Bench:
    """A catalogue, and the nights that it has seen.

    Parameters
    ----------
    config : IndexConfig
        What is measured.
    scratch : Path
        Where all of it lies.
    cores : sequence of int
        What each process is bound to.
    """

    def __init__(self, config: IndexConfig, scratch: Path, cores: Sequence[int]) -> None:
        self._config = config
        self._scratch = scratch
        self._cores = cores
        self._n_files = config.files
        self._n_steps = 0

    def lay_out(self) -> None:
        """Make files, catalogue and rows."""
        made = self._step("bench_index_files.py", LAY_OUT, files=self._config.files)
        say(f"{made['n_rows']:,} rows in {made['n_parts']} parts; {made['wall_s']:.0f} s")

    def night(self, kind: str) -> Night:
        """Spend a night, then list the tree."""
        n_new = self._config.new if kind == BUSY else 0
        if n_new:
            self._step("bench_index_files.py", ADD, new=n_new, night=self._n_steps)
        run = self._step("bench_index_run.py", NIGHT)
        expected = {
            "n_unchanged": self._n_files,
            "n_new": n_new,
            "n_rows": n_new,
            "n_failed": 0,
        }
        require_found(run, expected, kind=kind)
        listing = self._step("bench_index_run.py", LISTING)
        require_found(listing, {"n_files": self._n_files + n_new}, kind=LISTING)
        found = {key: run[key] for key in ("seconds", "wall_s", "peak_mib")}
        night = Night(kind, self._n_files, **found, listing_s=listing["seconds"])
        self._n_files += n_new
        say(f"a night with {kind}: {night.seconds:.1f} s, {LISTING} {night.listing_s:.2f} s")
        return night

    def check(self) -> int:
        """Read all rows; how many files they are of."""
        problems = self._step("bench_index_files.py", CHECK)["problems"]
        if problems:
            raise RunError(f"the output is not whole: {problems[0]}", fix="look for the cause")
        return self._n_files

    def _step(self, script: str, step: str, **more: Any) -> dict[str, Any]:
        self._n_steps += 1
        folders = {"music": self._scratch / "music", "output": self._scratch / "output"}
        out = self._scratch / f"{self._n_steps} {step}"
        return measure(
            script, {"step": step, **folders, **more}, name=step, out=out, cores=self._cores
        )


def require_found(found: Mapping[str, Any], expected: Mapping[str, int], *, kind: str) -> None:
    """See that a step found what is there.

    Parameters
    ----------
    found : mapping of str to Any
        What the step has counted.
    expected : mapping of str to int
        What it should have.
    kind : str
        Which step, for the error.

    Raises
    ------
    RunError
        If it found something else: then its time is one of other work.
    """
    for name, n in expected.items():
        if found[name] != n:
            raise RunError(
                f"{kind}: {name} is {found[name]}, not {n}",
                fix="look for the cause first: times of other work cannot be compared",
            )


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> IndexConfig:
    """Check the values of a configuration."""
    return checked(IndexConfig, values, origin=origin)


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return set(FIGURES)


def run(config: IndexConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Lay out a catalogue, let nights pass, and hold the figures against the limits."""
    limits = limits_of(config, names=FIGURES, cores=cores)
    bench = Bench(config, scratch, cores)
    bench.lay_out()
    nights = [bench.night(kind) for _ in range(config.rounds) for kind in NIGHTS]
    n_whole = bench.check()
    figures = figures_of(nights)
    return {
        "figures": figures,
        "nights": [asdict(night) for night in nights],
        "tables": [_table(config, figures, n_whole=n_whole)],
        "broken_floors": limits.broken(figures),
    }


def _table(config: IndexConfig, figures: Mapping[str, float], *, n_whole: int) -> dict[str, Any]:
    rows = [
        (
            f"{NIGHT}, {STILL if kind == STILL else f'{config.new} new'}",
            figure_text(figures[SECONDS[kind]]),
            figure_text(figures[PROCESS[kind]]),
            figure_text(figures[PEAKS[kind]]),
            figure_text(figures[SECONDS[kind]] / figures[LISTING_S]),
        )
        for kind in NIGHTS
    ]
    listing = (f"{LISTING} and stat alone", figure_text(figures[LISTING_S]), "", "", "1")
    return table_of(
        f"A night with {config.files:,} files",
        ("what", "s", "process s", "peak MiB", f"x {LISTING}"),
        [*rows, listing],
        notes=[
            f"Medians of {config.rounds} nights of each kind; {figures[PER_FILE_US]:.0f} us a file "
            f"where there is {STILL}. Process: with imports.",
            f"Parity: each night found all files and embedded just the new ones; at the end all "
            f"{n_whole:,} rows agree with the catalogue.",
        ],
    )


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--files", type=int, help="of the catalogue")
    parser.add_argument("--new", type=int, help="of a night that has new ones")
    parser.add_argument("--rounds", type=int, help="nights of each kind")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
