"""`bench.py models`: what each step of each model costs, and all of them from one decode.

Costs are CPU seconds on one core, over the same audio and in the same batches. The parts of each
model, a pass of it alone and the pass of all models take turns. A pass is ``embedlib extract
--local`` into a fresh output; its clock runs from the moment when all models are loaded to the last
commit, so that imports, listing and loading are on neither side. With ``--memory`` no time is
measured, but the memory of one run of all models through Ray on two cores.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from bench_costs import (
    FIGURES,
    PEAK_GIB,
    Parts,
    Round,
    broken_ceilings,
    cost_tables,
    costs,
    passes,
    ratios,
    require_known,
    require_same_patches,
)
from bench_figures import Run
from bench_memory import follow, memory_table, peaks
from bench_process import measure
from bench_setting import (
    ROOT,
    absolute_path,
    audio_files,
    checked,
    link_copies,
    say,
)
from bench_show import gib, show_tables
from pydantic import BaseModel, ConfigDict, Field

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import extract_config
from embedlib.engines.load import ENGINES
from embedlib.errors import RunError
from embedlib.models.registry import paper_models
from embedlib.models.spec import UNTRAINED_PREFIX
from embedlib.run.instances import ALL
from embedlib.run.resolve import prepare_models

SONGS = ((".mp3", 44_100), (".flac", 44_100), (".m4a", 48_000))
"""Formats and rates of the synthesised songs."""

WARM_UP_S = 4.0

N_MEMORY_CORES = 2


class ModelsConfig(BaseModel):
    """What to measure; configs/bench/models.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio: list[Path]
    models: list[str] = Field(min_length=1)
    engines: list[str]
    precision: Literal["f32", "bf16"]
    minutes: float = Field(gt=0)
    rounds: int = Field(ge=1)
    ceilings: dict[str, float]
    memory: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made: a scratch folder, a core, and what is embedded how."""

    scratch: Path
    core: int
    audio: Path
    warm_up: Path
    precision: str
    refused: dict[str, str] = field(default_factory=dict)

    def parts(self, model: str, engine: str, *, n_round: int) -> Parts:
        """Measure the parts of a model."""
        job = {"model": model, "options": self._options(engine), **self._folders}
        figures = self._measure("bench_parts.py", job, name=f"parts {model} {engine}", n=n_round)
        return Parts(model=model, engine=engine, **figures)

    def one_pass(self, models: Sequence[str], engine: str, *, name: str, n_round: int) -> Run:
        """Measure a pass of one model or several."""
        job = {"tool": "embedlib", "models": models, "weights": None, **self._folders}
        options = {"local": True, **self._options(engine)}
        figures = self._measure(
            "bench_contender.py", {**job, "options": options}, name=name, n=n_round
        )
        return Run(contender=name, **figures)

    @property
    def _folders(self) -> dict[str, Path]:
        return {"audio": self.audio, "warm_up": self.warm_up}

    def _options(self, engine: str) -> dict[str, Any]:
        return {"engine": engine, "precision": self.precision, "allow_untrained": True}

    def _measure(self, script: str, job: dict[str, Any], *, name: str, n: int) -> dict[str, Any]:
        out = self.scratch / f"{n} {name.replace('/', ' ')}"
        figures = measure(script, job, name=name, out=out, cores=[self.core])
        say(f"round {n}: {name} took {figures['wall_s']:.1f} s")
        return figures


def lay_out_audio(config: ModelsConfig, folder: Path) -> Path:
    """Fill a new folder with links to the user's files, or with songs made of nothing."""
    if config.audio:
        return link_copies([file for path in config.audio for file in audio_files(path)], folder)
    folder.mkdir()
    for index, (suffix, sr_hz) in enumerate(SONGS):
        duration_s = 60 * config.minutes / len(SONGS)
        music = synthesise_music(duration_s, sr_hz=sr_hz, seed=index, style="chords")
        write_audio(folder / f"song {index}{suffix}", music, sr_hz=sr_hz)
    return folder


def lay_out_warm_up(folder: Path) -> Path:
    """Fill a new folder with a short clip, for the first calls of everything."""
    folder.mkdir()
    music = synthesise_music(WARM_UP_S, sr_hz=44_100, seed=len(SONGS), style="chords")
    write_audio(folder / "clip.mp3", music, sr_hz=44_100)
    return folder


def named_models(config: ModelsConfig) -> list[str]:
    """Write out the models of the paper where they are all wanted."""
    return [n for text in config.models for n in (paper_models() if text == ALL else (text,))]


def installed_engines(config: ModelsConfig) -> list[str]:
    """Give the engines that were asked for, else all that are here, the default one first."""
    return config.engines or [name for name in ENGINES[1:] if find_spec(name)]


def untrained_tables(models: Sequence[str]) -> list[str]:
    """Find all weights, build the stand-ins of those that are missing, and tell which."""
    values = {"sources": [""], "models": list(models), "out": "", "allow_untrained": True}
    tables = [model.instance.table for model in prepare_models(extract_config(values))]
    return [table for table in tables if table.startswith(UNTRAINED_PREFIX)]


def measure_round(bench: Bench, models: Sequence[str], engine: str, *, n_round: int) -> Round:
    """Let the parts, the separate passes and the one pass take turns; it comes in the middle."""
    parts, separate = [], []
    for index, model in enumerate(models):
        if index == len(models) // 2:
            together = bench.one_pass(models, engine, name="one pass", n_round=n_round)
        parts.append(bench.parts(model, engine, n_round=n_round))
        name = f"separate pass {model}"
        separate.append(bench.one_pass([model], engine, name=name, n_round=n_round))
    found = Round(parts, separate, together)
    require_same_patches(found)
    return found


def measure_engine(
    bench: Bench, models: Sequence[str], engine: str, *, n_round: int
) -> list[Parts]:
    """Measure the parts with a further engine; note the models that it refuses."""
    found = []
    for model in models:
        name = f"{model} {engine}"
        if name not in bench.refused:
            try:
                found.append(bench.parts(model, engine, n_round=n_round))
            except RunError as exc:
                bench.refused[name] = str(exc.args[0])
    return found


def bench_costs(bench: Bench, config: ModelsConfig, models: Sequence[str]) -> dict[str, Any]:
    """Measure all rounds, and give the figures."""
    first, *others = installed_engines(config)
    rounds, further = [], []
    for n_round in range(1, config.rounds + 1):
        rounds.append(measure_round(bench, models, first, n_round=n_round))
        for engine in others:
            further += measure_engine(bench, models, engine, n_round=n_round)
    return {
        "rounds": [asdict(each) for each in rounds],
        "further_parts": [asdict(each) for each in further],
        "refused": bench.refused,
        "costs": costs([*(part for each in rounds for part in each.parts), *further]),
        "passes": passes(rounds),
        "ratios": ratios(rounds),
    }


def bench_memory(config: ModelsConfig, models: Sequence[str], audio: Path) -> dict[str, Any]:
    """Follow a run of all models through Ray on two cores."""
    out = audio.parent / "through-ray"
    arguments = ["extract", audio, *(part for model in models for part in ("--models", model))]
    options = ["--allow-untrained", "--precision", config.precision, "--quiet", "--out", out]
    cores = sorted(os.sched_getaffinity(0))[-N_MEMORY_CORES:]
    samples = follow(list(map(str, arguments + options)), cores=cores)
    return {"n_samples": len(samples), "n_cores": len(cores), **peaks(samples)}


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> ModelsConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(ModelsConfig, values, origin=origin)
    return config.model_copy(update={"audio": [ROOT / path for path in config.audio]})


def figure_names() -> set[str]:
    """Name what a ceiling can be set for."""
    return set(FIGURES)


def run(config: ModelsConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure times or memory, and hold them against the ceilings."""
    require_known(config.ceilings)
    models = named_models(config)
    untrained = untrained_tables(models)
    audio = lay_out_audio(config, scratch / "audio")
    result: dict[str, Any] = {"models": models, "untrained": untrained}
    if config.memory:
        result["memory"] = bench_memory(config, models, audio)
        figures = {PEAK_GIB: gib(result["memory"]["peak"]["pss_bytes"])}
        tables = [memory_table(result["memory"])]
    else:
        warm_up = lay_out_warm_up(scratch / "warm-up")
        bench = Bench(scratch, cores[-1], audio, warm_up, config.precision)
        result |= bench_costs(bench, config, models)
        figures = {name: found["median"] for name, found in result["ratios"].items()}
        tables = cost_tables(result, precision=config.precision)
    broken = broken_ceilings(figures, config.ceilings)
    return {**result, "figures": figures, "tables": tables, "broken_floors": broken}


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--audio", type=absolute_path, nargs="+", help="files and folders")
    parser.add_argument("--models", nargs="+", help="names, `all` for those of the paper")
    parser.add_argument("--engines", type=_parts, help="with commas between; the first runs passes")
    parser.add_argument("--precision", choices=["f32", "bf16"])
    parser.add_argument("--minutes", type=float, help="of audio, where none is given")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument(
        "--memory", action="store_true", default=None, help="measure memory instead of time"
    )


def _parts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
