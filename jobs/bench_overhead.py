"""`bench.py overhead`: what a run costs beside decoding and embedding, and what Ray adds to it.

First runs in which nothing is decoded and nothing embedded, with a shard per track, in one process
and through Ray: their figure is the shards that were committed per minute and model. Then MusiCNN
over music, in one process and by one worker through Ray. The ways take turns, and all clocks run
from the moment when the workers are ready to the last commit.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench_costs import broken_ceilings
from bench_figures import (
    Floor,
    Run,
    broken_floors,
    facts_of,
    floors_that_count,
    medians,
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
    say,
)
from bench_show import figure_table, show_tables, table_of
from pydantic import BaseModel, ConfigDict, Field

from embedlib.errors import ConfigError

MODEL = "msd-musicnn-1"

NO_WORK = ("untrained-msd-musicnn-1", "untrained-msd-vgg-1")
"""What runs without work are named after; their graphs are loaded by nobody."""

LOCAL, RAY, RAY_TWO = "--local", "Ray", "Ray, two models"
WAYS = (LOCAL, RAY)

N_CORES = 2
"""What all processes of a run are bound to, those of Ray included."""

IDLE_WAYS: dict[str, dict[str, Any]] = {
    LOCAL: {"models": NO_WORK[:1], "options": {"local": True}},
    RAY: {"models": NO_WORK[:1], "options": {"n_cores": N_CORES}},
    RAY_TWO: {"models": NO_WORK, "options": {"n_cores": N_CORES}},
}
"""How runs without work are driven. With one model, workers take a shard the whole way; with two,
chunks pass from decode workers through the object store, and each shard is committed twice."""

RATES = {way: f"shard commits per minute, {way}" for way in IDLE_WAYS}
LAST_RATES = {way: f"{RATES[way]}, last quarter" for way in IDLE_WAYS}
RATIO = f"MusiCNN, {RAY} / {LOCAL}"
FIGURES = (*RATES.values(), *LAST_RATES.values(), RATIO)


class OverheadConfig(BaseModel):
    """What to measure; configs/bench/overhead.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio: Path
    weights: Path | None
    shards: int = Field(ge=4)
    copies: int = Field(ge=1)
    rounds: int = Field(ge=1)
    floors: dict[str, Floor]
    ceilings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Commits:
    """How a run without work went.

    Attributes
    ----------
    way : str
        Who drove it.
    commits : list of (float, int)
        After each commit: seconds since the workers were ready, and shards committed until then,
        counted per model.
    driver_cpu_s : float
        CPU time of the driver meanwhile; with ``--local`` that of its worker is in it.
    wall_s : float
        The whole life of the process.
    """

    way: str
    commits: list[tuple[float, int]]
    driver_cpu_s: float
    wall_s: float


def per_minute(commits: Sequence[tuple[float, int]], *, from_part: float = 0.0) -> float:
    """Give the rate of commits, over the whole run or its end.

    Parameters
    ----------
    commits : sequence of (float, int)
        After each commit, in order: seconds, and shards committed until then.
    from_part : float in [0, 1)
        The part of the shards that is left out at the beginning.

    Returns
    -------
    rate : float
        Shards per minute.

    Examples
    --------
    >>> per_minute([(1.0, 10), (2.0, 30), (4.0, 40)])
    600.0
    >>> per_minute([(1.0, 10), (2.0, 30), (4.0, 40)], from_part=0.75)
    300.0
    """
    ended_s, n_shards = commits[-1]
    earlier = [(0.0, 0), *((at_s, n) for at_s, n in commits if n <= from_part * n_shards)]
    began_s, n_before = earlier[-1]
    return 60.0 * (n_shards - n_before) / (ended_s - began_s)


def rates(runs: Sequence[Commits]) -> dict[str, float]:
    """Give the figures of runs without work, medians over the rounds."""
    found = {}
    for way in IDLE_WAYS:
        own = [run.commits for run in runs if run.way == way]
        found[RATES[way]] = median(map(per_minute, own))
        found[LAST_RATES[way]] = median(per_minute(each, from_part=0.75) for each in own)
    return found


def ray_ratio(runs: Sequence[Run]) -> float:
    """Hold the time of MusiCNN through Ray against that of one process, round by round."""
    seconds = {way: [run.stream_s for run in runs if run.contender == way] for way in WAYS}
    return median(a / b for a, b in zip(seconds[RAY], seconds[LOCAL], strict=True))


def way_table(found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Make the table of MusiCNN by both ways, from medians."""
    rows = [
        (way, *(f"{row[key]:.1f}" for key in ("stream_s", "load_s", "wall_s", "speed")))
        for way, row in found.items()
    ]
    return table_of("MusiCNN", ("way", "s", "load s", "process s", "x real time"), rows)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made: a scratch folder, cores, a file, music."""

    scratch: Path
    cores: Sequence[int]
    tracks: Path
    music: Path
    warm_up: Path
    weights: Path | None

    def without_work(self, way: str, *, n_round: int) -> Commits:
        """Measure a run in which nothing is decoded and nothing embedded."""
        job = {"audio": self.tracks, **IDLE_WAYS[way]}
        name = f"without work, {way}"
        figures = self._measure("bench_noop.py", job, name=name, n_round=n_round)
        run = Commits(way=way, **figures)
        say(f"round {n_round}: {name}: {per_minute(run.commits):,.0f} shards per minute")
        return run

    def musicnn(self, way: str, *, n_round: int) -> Run:
        """Measure MusiCNN by one worker."""
        driver = {"local": True} if way == LOCAL else {"n_cores": 1}
        job = {
            "tool": "embedlib",
            "models": [MODEL],
            "weights": self.weights,
            "warm_up": self.warm_up,
            "audio": self.music,
            "options": {"allow_untrained": True, **driver},
        }
        name = f"MusiCNN, {way}"
        figures = self._measure("bench_contender.py", job, name=name, n_round=n_round)
        run = Run(contender=way, **figures)
        say(f"round {n_round}: {name}: {run.stream_s:.1f} s")
        return run

    def _measure(
        self, script: str, job: Mapping[str, Any], *, name: str, n_round: int
    ) -> dict[str, Any]:
        out = self.scratch / f"{name} {n_round}"
        return measure(script, job, name=name, out=out, cores=self.cores)


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> OverheadConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(OverheadConfig, values, origin=origin)
    weights = config.weights and ROOT / config.weights
    return config.model_copy(update={"audio": ROOT / config.audio, "weights": weights})


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return set(FIGURES)


def run(config: OverheadConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure both, and hold the figures against floors and ceilings."""
    facts = facts_of(machine(cores)["flags"], n_cores=len(cores))
    floors = floors_that_count(config.floors, names=FIGURES, facts=facts)
    if unknown := config.ceilings.keys() - set(FIGURES):
        raise ConfigError(f"no figure is called {min(unknown)!r}", fix=f"there are {FIGURES}")
    bench = make_bench(config, scratch, cores)
    commits, runs = [], []
    for n_round in range(1, config.rounds + 1):
        commits += [bench.without_work(way, n_round=n_round) for way in IDLE_WAYS]
        runs += [bench.musicnn(way, n_round=n_round) for way in WAYS]
    require_same_work(runs)
    figures, of_musicnn = {**rates(commits), RATIO: ray_ratio(runs)}, medians(runs)
    return {
        "figures": figures,
        "tables": [figure_table("What the driver costs, and Ray", figures), way_table(of_musicnn)],
        "without_work": [asdict(each) for each in commits],
        "musicnn": [asdict(each) for each in runs],
        "medians": of_musicnn,
        "broken_floors": [
            *broken_floors(figures, floors),
            *broken_ceilings(figures, config.ceilings),
        ],
    }


def make_bench(config: OverheadConfig, scratch: Path, cores: Sequence[int]) -> Bench:
    """Lay out a track per shard, the music, and a file to warm up with."""
    files = audio_files(config.audio)
    return Bench(
        scratch=scratch,
        cores=cores[-N_CORES:],
        tracks=link_copies(files[:1], scratch / "tracks", n_copies=config.shards),
        music=link_copies(files, scratch / "music", n_copies=config.copies),
        warm_up=link_copies(files[:1], scratch / "warm-up"),
        weights=config.weights,
    )


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--audio", type=absolute_path, help="folder of audio files")
    parser.add_argument("--weights", type=absolute_path, help=f"file of {MODEL}")
    parser.add_argument("--shards", type=int, help="of a run without work")
    parser.add_argument("--copies", type=int, help="of each file, for MusiCNN")
    parser.add_argument("--rounds", type=int, help="how often each is measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
