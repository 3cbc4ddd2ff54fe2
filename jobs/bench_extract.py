"""`bench.py extract`: from files to committed tables, beside the loop, a pool and Ray Data.

Each case lets contenders take turns over the same files, so that a slow minute of the machine meets
all of them; figures are medians. First the outputs are compared, then the times.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench_cases import MUSICNN
from bench_figures import facts_of
from bench_limits import LimitedConfig, limits_of
from bench_matches import CASES, STARTS
from bench_rounds import Bench, Sound, measure_case, measure_starts
from bench_setting import ROOT, absolute_path, audio_files, checked, machine
from bench_show import show_tables
from bench_speeds import case_table, start_table
from pydantic import Field, field_validator

from embedlib.errors import EngineError
from embedlib.models.registry import model_spec
from embedlib.models.store import locate

START = "start"
NAMES = (*CASES, START)


class BenchConfig(LimitedConfig):
    """What to measure; configs/bench/extract.yaml explains each key."""

    cases: list[str] = Field(min_length=1)
    audio: Path
    clips: Path
    weights: Path
    minutes: float = Field(gt=0)
    scaling_factor: int = Field(ge=1)
    repeats: int = Field(ge=1)

    @field_validator("cases")
    @classmethod
    def _known(cls, cases: list[str]) -> list[str]:
        for name in cases:
            if name not in NAMES:
                raise ValueError(f"no case is called {name!r}: there are {', '.join(NAMES)}")
        return cases


def make_bench(config: BenchConfig, scratch: Path, cores: Sequence[int]) -> Bench:
    """Check what all measurements need."""
    if find_spec("essentia") is None:
        raise EngineError("Essentia is not installed", fix="pip install essentia-tensorflow")
    weights = locate(model_spec(MUSICNN), path=config.weights).path
    files = {"music": audio_files(config.audio)}
    if "clips" in config.cases:
        files["clips"] = audio_files(config.clips)
    sounds = {
        kind: Sound(found, minutes=config.minutes, scaling_factor=config.scaling_factor)
        for kind, found in files.items()
    }
    return Bench(scratch=scratch, cores=cores, weights=weights, sounds=sounds)


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> BenchConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(BenchConfig, values, origin=origin)
    paths = {key: ROOT / getattr(config, key) for key in ("audio", "clips", "weights")}
    return config.model_copy(update=paths)


def figure_names() -> set[str]:
    """Name what a limit can be set for."""
    return {pair.name for case in CASES.values() for pair in case.comparisons} | {*STARTS}


def run(config: BenchConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure what this machine can, and hold it against the limits."""
    limits = limits_of(config, names=figure_names(), cores=cores)
    facts = facts_of(machine(cores)["flags"], n_cores=len(cores))
    bench = make_bench(config, scratch, cores)
    cases = {
        name: measure_case(bench, CASES[name].on(facts), repeats=config.repeats)
        for name in dict.fromkeys(config.cases)
        if name in CASES
    }
    starts = measure_starts(bench, STARTS, facts) if START in config.cases else {}
    figures = figures_of(cases.values(), starts)
    tables = [case_table(found) for found in cases.values()]
    return {
        "files": {kind: [f.name for f in sound.files] for kind, sound in bench.sounds.items()},
        "cases": cases,
        "starts": starts,
        "figures": figures,
        "tables": [*tables, *([start_table(starts)] if starts else [])],
        "broken_floors": limits.broken(figures),
    }


def figures_of(
    cases: Iterable[Mapping[str, Any]], starts: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Give all that limits are set on: ratios, and the best of the starts.

    Examples
    --------
    >>> figures_of([{"ratios": {"a / b": 3.0}}], {"start": [2.0, 1.5]})
    {'a / b': 3.0, 'start': 1.5}
    """
    ratios = {name: value for case in cases for name, value in case["ratios"].items()}
    return ratios | {name: min(seconds) for name, seconds in starts.items()}


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--cases", nargs="+", choices=NAMES, help="what is compared; all")
    parser.add_argument("--audio", type=absolute_path, help="folder of audio files")
    parser.add_argument("--clips", type=absolute_path, help="folder of short audio files")
    parser.add_argument("--weights", type=absolute_path, help=f"file of {MUSICNN}")
    parser.add_argument("--minutes", type=float, help="audio per run, at least")
    parser.add_argument("--repeats", type=int, help="rounds")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
