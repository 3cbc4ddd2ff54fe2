"""`bench.py stages`: where the time of a pass goes, and how far the limit of each stage is.

A pass of the published MusiCNN, of the four models that share its front end and of all eight, in
f32 and bf16, beside the parts of each model, put together by hand over the same audio. The limits
are measured in the same run: bare loops for decoding, resampling and front ends, the operations of
the converted models over the peak of the core, bytes over the bandwidth of the disk, transactions
of nothing. The outputs of both precisions are compared before the figures are made.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench_costs import Parts
from bench_figures import Run, parity
from bench_limits import LimitedConfig, limits_of
from bench_models import Bench, lay_out_warm_up
from bench_outputs import read_tables
from bench_process import measure
from bench_setting import ROOT, absolute_path, audio_files, checked, link_copies, say
from bench_show import show_tables, table_of
from bench_stage_figures import (
    Pass,
    accuracy_change,
    default_to_best,
    hourly,
    limits_s,
    middle,
    operations_s,
    stages_s,
)
from bench_stage_tables import bars_of, inference_tables, parity_table, pass_table, probe_table
from pydantic import Field

from embedlib.errors import RunError
from embedlib.models.registry import model_spec, paper_models
from embedlib.tables.reader import open_output

ENGINE = "openvino"
MUSICNN = model_spec("msd-musicnn-1")
F32, BF16 = "f32", "bf16"
PRECISIONS = (F32, BF16)

GROUPS = {
    "MusiCNN": (MUSICNN.name,),
    "four": tuple(n for n in paper_models() if model_spec(n).front_end == MUSICNN.front_end),
    "eight": paper_models(),
}
"""Models of a pass: the published one, those that share its front end, those of the paper."""

ALL_CORES = "eight, all cores"
CHANGE = "probe accuracy, bf16 - f32"


class StagesConfig(LimitedConfig):
    """What to measure; configs/bench/stages.yaml explains each key."""

    audio: list[Path] = Field(min_length=1)
    weights: Path
    clips: Path | None
    groups: list[Literal["MusiCNN", "four", "eight"]] = Field(min_length=1)
    minutes: float = Field(gt=0)
    rounds: int = Field(ge=1)
    batches: list[int]
    call_s: float = Field(gt=0)
    turn_s: float = Field(gt=0)
    scaling_factor: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of everything that is timed, in one precision.

    Attributes
    ----------
    parts : mapping of str to Parts
        By model.
    passes : mapping of str to Run
        By group.
    n_bytes : mapping of str to int
        Of the part files of each pass.
    """

    parts: Mapping[str, Parts]
    passes: Mapping[str, Run]
    n_bytes: Mapping[str, int]


@dataclass(frozen=True)
class Stages:
    """Measures rounds: a scratch folder, cores, what is embedded."""

    config: StagesConfig
    scratch: Path
    cores: Sequence[int]
    originals: Path
    warm_up: Path

    @property
    def audio(self) -> Path:
        """What the parts and the passes on one core embed."""
        return self.scratch / "audio"

    @property
    def more_audio(self) -> Path:
        """What the passes on all cores embed."""
        return self.scratch / "more audio"

    def copy_audio(self, original_s: float) -> None:
        """Lay out as much audio as is wanted: each file equally often."""
        n_copies = math.ceil(60 * self.config.minutes / original_s)
        n_more = n_copies * self.config.scaling_factor
        files = audio_files(self.originals)
        link_copies(files, self.audio, n_copies=n_copies)
        link_copies(files, self.more_audio, n_copies=n_more)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Each model of the groups, once."""
        return tuple(dict.fromkeys(m for group in self.config.groups for m in GROUPS[group]))

    def named(self, model: str, precision: str) -> str:
        """Name a model as a run should have it."""
        options = []
        if model == MUSICNN.name and self.config.weights.is_file():
            options.append(f"weights={self.config.weights}")
        if not model_spec(model).takes_bf16 and precision == BF16:
            options.append(f"precision={F32}")
        return ":".join([model, *filter(None, [",".join(options)])])

    def inference(self) -> dict[str, Any]:
        """Measure the peak of the core, and a patch of each model by batch."""
        config = self.config
        settings = {"batches": config.batches, "call_s": config.call_s, "turn_s": config.turn_s}
        job = {"models": [self.named(m, F32) for m in self.models], "precisions": PRECISIONS}
        return self._measure("bench_inference.py", {**job, **settings}, name="inference")

    def bare(self) -> dict[str, Any]:
        """Measure the limits of the other stages."""
        front_ends = dict.fromkeys(model_spec(m).front_end for m in self.models)
        job = {"audio": self.originals, "front_ends": list(front_ends)}
        return self._measure("bench_bare.py", job, name="bare stages")

    def clips(self) -> dict[str, Any]:
        """Measure the accuracy of a probe in both precisions."""
        job = {"clips": self.config.clips, "model": self.named(MUSICNN.name, F32)}
        return self._measure("bench_clips.py", job, name="clips")

    def round(self, precision: str, *, n: int) -> Round:
        """Measure all parts and all passes once."""
        bench = self._bench(precision, n=n)
        parts = self._parts(precision, n=n)
        passes: dict[str, Run] = {}
        n_bytes: dict[str, int] = {}
        for group in self.config.groups:
            models = [self.named(m, precision) for m in GROUPS[group]]
            passes[group] = bench.one_pass(models, ENGINE, name=group, n_round=n)
            n_bytes[group] = _part_bytes(self.output(group, precision, n=n))
            _require_same_patches(group, parts, passes[group])
        return Round(parts, passes, n_bytes)

    def output(self, group: str, precision: str, *, n: int) -> Path:
        """Say where the output of a pass lies."""
        return self._bench(precision, n=n).scratch / f"{n} {group}"

    def on_all_cores(self, precision: str) -> Run:
        """Measure a pass of all models through Ray on all cores."""
        job = {
            "tool": "embedlib",
            "models": [self.named(m, precision) for m in GROUPS["eight"]],
            "weights": None,
            "audio": self.more_audio,
            "warm_up": self.warm_up,
            "options": {"precision": precision, "engine": ENGINE, "allow_untrained": True},
        }
        name = f"all cores {precision}"
        figures = self._measure("bench_contender.py", job, name=name, cores=self.cores)
        return Run(contender=name, **figures)

    def _bench(self, precision: str, *, n: int) -> Bench:
        scratch = self.scratch / precision
        scratch.mkdir(exist_ok=True)
        return Bench(scratch, self.cores[-1], self.audio, self.warm_up, precision)

    def _parts(self, precision: str, *, n: int) -> dict[str, Parts]:
        job = {
            "models": [self.named(m, precision) for m in self.models],
            "audio": self.audio,
            "warm_up": self.warm_up,
            "options": {"precision": precision, "engine": ENGINE, "allow_untrained": True},
        }
        found = self._measure("bench_parts.py", job, name=f"parts {precision} {n}")
        wall_s = found.pop("wall_s")
        return {
            name: Parts(model=name, engine=ENGINE, wall_s=wall_s, **figures)
            for name, figures in zip(self.models, found.values(), strict=True)
        }

    def _measure(
        self,
        script: str,
        job: Mapping[str, Any],
        *,
        name: str,
        cores: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        on = cores or self.cores[-1:]
        figures = measure(script, job, name=name, out=self.scratch / name, cores=on)
        say(f"{name} took {figures['wall_s']:.1f} s")
        return figures


def _part_bytes(out: Path) -> int:
    return sum(file.stat().st_size for file in out.rglob("part-*.parquet"))


def _require_same_patches(group: str, parts: Mapping[str, Parts], together: Run) -> None:
    n_patches = sum(parts[model].n_patches for model in GROUPS[group])
    if n_patches != together.n_patches:
        raise RunError(
            f"the parts embedded {n_patches} patches, the pass of {group} {together.n_patches}",
            fix="look for the cause first: their times cannot be compared",
        )


def pass_of(
    measured: Round,
    group: str,
    *,
    precision: str,
    inference: Mapping[str, Any],
    bare: Mapping[str, Any],
) -> Pass:
    """Divide a pass of a round into its stages, each beside its limit."""
    run, parts = measured.passes[group], [measured.parts[model] for model in GROUPS[group]]
    limits = limits_s(
        parts,
        bare,
        n_bytes=measured.n_bytes[group],
        inference_s=operations_s(parts, inference, precision),
    )
    first = parts[0]
    audio_s = first.audio_s
    return Pass(
        hourly(stages_s(parts, run), audio_s),
        hourly(limits, audio_s),
        hourly({"wall": run.stream_s}, audio_s)["wall"],
        f"{audio_s / 60:.1f} min of audio in {first.n_files} files and {first.n_shards} shards",
    )


def parities(outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Compare the tables of two passes, in f32 and in bf16, model by model."""
    f32, bf16 = (read_tables(outputs[precision]) for precision in PRECISIONS)
    output = open_output(outputs[BF16])
    tables = [name for name in bf16 if output.tracks(name).manifest.precision == BF16]
    return {name: parity(bf16[name], f32[name]) for name in tables}


def all_cores_figures(
    runs: Mapping[str, Run], *, eight: Mapping[str, Pass], n_cores: int
) -> dict[str, float]:
    """Hold passes through Ray on all cores against the counted operations and real time."""
    found = {}
    for precision, run in runs.items():
        speed = run.stream_audio_s / run.stream_s
        limit = n_cores * 3600 / eight[precision].limit_s["inference"]
        found[f"{ALL_CORES}, {precision} / limit of operations"] = speed / limit
        found[f"{ALL_CORES}, {precision}, times real time"] = speed
    return found


def figures_of(
    passes: Mapping[tuple[str, str], Pass], result: Mapping[str, Any]
) -> dict[str, float]:
    """Name the figures that limits can be set on."""
    figures = dict(result["all_cores"])
    for (group, precision), found in passes.items():
        figures[f"{group}, {precision} / limit of operations"] = found.to_limit
        figures[f"{group}, {precision}, all but inference, ms per s"] = found.beside_inference_ms
    for name, model in result["inference"]["models"].items():
        for precision, patch_ms in model["patch_ms"].items():
            ratio = default_to_best(patch_ms, model["batch_size"])
            figures[f"{name}, {precision}, best batch / default"] = ratio
    if result["clips"]:
        figures[CHANGE] = accuracy_change(result["clips"])
    return figures


def tables_of(
    passes: Mapping[tuple[str, str], Pass], result: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Show everything."""
    tables = [pass_table(", ".join(key), found) for key, found in passes.items()]
    tables += [*inference_tables(result["inference"]), parity_table(result["parities"])]
    if result["clips"]:
        tables.append(probe_table(result["clips"]))
    if result["all_cores"]:
        rows = [(name, f"{value:.3f}") for name, value in result["all_cores"].items()]
        tables.append(table_of("All eight through Ray, on all cores", ("figure", "value"), rows))
    return tables


def bench_stages(stages: Stages) -> dict[str, Any]:
    """Measure everything, and give the figures."""
    config = stages.config
    inference, bare = stages.inference(), stages.bare()
    stages.copy_audio(bare["audio_s"])
    rounds: dict[str, list[Round]] = {precision: [] for precision in PRECISIONS}
    found: dict[str, Any] = {}
    for n in range(1, config.rounds + 1):
        for precision in PRECISIONS:
            rounds[precision].append(stages.round(precision, n=n))
        if not found:
            largest = max(config.groups, key=lambda group: len(GROUPS[group]))
            outputs = {p: stages.output(largest, p, n=n) for p in PRECISIONS}
            found["parities"] = parities(outputs)
    passes: dict[tuple[str, str], Pass] = {
        (group, precision): middle(
            [
                pass_of(one, group, precision=precision, inference=inference, bare=bare)
                for one in rounds[precision]
            ]
        )
        for group in config.groups
        for precision in PRECISIONS
    }
    runs = _all_cores_runs(stages)
    eight = {precision: passes["eight", precision] for precision in runs}
    found |= {
        "inference": inference,
        "bare": bare,
        "rounds": {p: [asdict(one) for one in measured] for p, measured in rounds.items()},
        "all_cores_runs": {precision: asdict(run) for precision, run in runs.items()},
        "all_cores": all_cores_figures(runs, eight=eight, n_cores=len(stages.cores)),
        "clips": _clips(stages),
    }
    return {
        **found,
        "figures": figures_of(passes, found),
        "tables": tables_of(passes, found),
        "bars": bars_of({", ".join(key): one for key, one in passes.items()}),
    }


def _all_cores_runs(stages: Stages) -> dict[str, Run]:
    config = stages.config
    if not config.scaling_factor or "eight" not in config.groups or len(stages.cores) < 2:
        return {}
    return {precision: stages.on_all_cores(precision) for precision in PRECISIONS}


def _clips(stages: Stages) -> dict[str, Any] | None:
    clips = stages.config.clips
    if clips is None:
        return None
    if not clips.is_dir():
        say(f"no labelled clips in {clips}: what bf16 does to a probe is not measured")
        return None
    return stages.clips()


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> StagesConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(StagesConfig, values, origin=origin)
    clips = None if config.clips is None else ROOT / config.clips
    audio = [ROOT / path for path in config.audio]
    paths = {"audio": audio, "weights": ROOT / config.weights, "clips": clips}
    return config.model_copy(update=paths)


def figure_names() -> set[str]:
    """Name what a limit can be set for."""
    of_group = ("{}, {} / limit of operations", "{}, {}, all but inference, ms per s")
    of_model = ("{}, {}, best batch / default",)
    of_all = ("{}, {} / limit of operations", "{}, {}, times real time")
    names = {
        form.format(name, precision)
        for forms, named in ((of_group, GROUPS), (of_model, paper_models()), (of_all, [ALL_CORES]))
        for form in forms
        for name in named
        for precision in PRECISIONS
    }
    return names | {CHANGE}


def run(config: StagesConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure, and hold the figures against the limits."""
    limits = limits_of(config, names=figure_names(), cores=cores)
    originals = link_copies(_files(config.audio), scratch / "originals")
    stages = Stages(config, scratch, cores, originals, lay_out_warm_up(scratch / "warm-up"))
    result = bench_stages(stages)
    return {**result, "broken_floors": limits.broken(result["figures"])}


def _files(paths: Sequence[Path]) -> list[Path]:
    return [file for path in paths for file in audio_files(path)]


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--audio", type=absolute_path, nargs="+", help="files and folders")
    parser.add_argument("--weights", type=absolute_path, help=f"file of {MUSICNN.name}")
    parser.add_argument("--clips", type=absolute_path, help="folder of labelled clips")
    parser.add_argument("--groups", nargs="+", choices=[*GROUPS], help="models of the passes")
    parser.add_argument("--minutes", type=float, help="of audio per pass, at least")
    parser.add_argument("--rounds", type=int, help="how often each is measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
