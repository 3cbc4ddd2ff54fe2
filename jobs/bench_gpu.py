"""`bench.py gpu`: audio hours per hour on each card, the share of its peak, and parity.

A run is the main job through Ray with ``--device cuda``: several model workers on each card, and
decode workers on the cores beside it. Its rate is that of the time with all workers at work. First
the card's embeddings of each file are held against those of the CPU. Where there is no card, the
result says why, and holds no figures.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench_figures import Run, parity
from bench_limits import LimitedConfig, limits_of
from bench_models import lay_out_audio, lay_out_warm_up
from bench_outputs import read_tables
from bench_process import measure
from bench_setting import ROOT, absolute_path, checked, link_copies, say
from bench_show import show_tables, table_of
from pydantic import BaseModel, ConfigDict, Field

from embedlib.engines.onnx_providers import CUDA

SPEED = "audio hours per hour per card"
SHARE = "share of the card's peak"
COSINE, DISTANCE = "min cosine", "max relative l2"
PEAK = "peak of the card, GFLOP/s"
FIGURES_OF_GROUP = (SPEED, SHARE, COSINE, DISTANCE)
GROUPS = ("MusiCNN", "OpenL3", "all eight")

DRIVER = Path("/proc/driver/nvidia/gpus")
"""The driver has a folder for each card here."""


class Group(BaseModel):
    """Models that are run in one pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: list[str] = Field(min_length=1)
    gflop: float = Field(gt=0)


class GpuConfig(LimitedConfig):
    """What to measure; configs/bench/gpu.yaml explains each key."""

    audio: list[Path]
    minutes: float = Field(gt=0)
    hours: float = Field(gt=0)
    engine: Literal["onnxruntime", "tensorrt"]
    rounds: int = Field(ge=1)
    groups: dict[Literal["MusiCNN", "OpenL3", "all eight"], Group]


def named(figure: str, group: str) -> str:
    """Name a figure of a group.

    Examples
    --------
    >>> named(SPEED, "OpenL3")
    'audio hours per hour per card, OpenL3'
    """
    return f"{figure}, {group}"


def n_cards(driver: Path = DRIVER) -> int:
    """Count the cards that the driver of this machine knows."""
    return sum(1 for _ in driver.iterdir()) if driver.is_dir() else 0


def why_none(*, n_found: int) -> str:
    """Say why nothing can be measured; empty where it can.

    Parameters
    ----------
    n_found : int
        Cards of this machine.

    Returns
    -------
    reason : str
        A line for people.
    """
    if not n_found:
        return "no NVIDIA card on this machine: nothing was measured"
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        return "onnxruntime or onnx is not installed: pip install 'embedlib[gpu]'"
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime knows no CUDA: pip install 'embedlib[gpu]' in its place"
    return ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of a group.

    Attributes
    ----------
    speeds : tuple of float
        Seconds of audio per second of all cards together, a round each; audio that several models
        hear counts once.
    parities : tuple of (float, float)
        Smallest cosine and largest relative l2 to the CPU, a model each.
    """

    speeds: tuple[float, ...]
    parities: tuple[tuple[float, float], ...]

    def figures(self, *, gflop: float, n_cards: int, peak_gflops: float) -> dict[str, float]:
        """Give the figures of the group.

        Parameters
        ----------
        gflop : float
            Operations per second of audio.
        n_cards : int
            That worked.
        peak_gflops : float
            Of one of them.

        Returns
        -------
        figures : dict of str to float
            By `FIGURES_OF_GROUP`.
        """
        speed = median(self.speeds) / n_cards
        cosines, distances = zip(*self.parities, strict=True)
        values = (speed, speed * gflop / peak_gflops, min(cosines), max(distances))
        return dict(zip(FIGURES_OF_GROUP, values, strict=True))


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made, and of what."""

    config: GpuConfig
    scratch: Path
    cores: Sequence[int]
    files: Path
    warm_up: Path

    def peak_gflops(self) -> float:
        """Measure the peak of a card."""
        job, out = {"device": "cuda"}, self.scratch / "peak"
        found = measure("bench_gpu_peak.py", job, name="the peak", out=out, cores=self.cores)
        return float(found["peak_gflops"])

    def compare(self, name: str) -> tuple[tuple[tuple[float, float], ...], float]:
        """Hold the card's embeddings against the CPU's; also the seconds of audio of the files."""
        outs = {device: self.scratch / f"{name} {device}" for device in ("cpu", "cuda")}
        runs = [self.run(name, self.files, device=device, out=out) for device, out in outs.items()]
        ours, theirs = (read_tables(outs[device]) for device in ("cuda", "cpu"))
        found = [parity(ours[model], theirs[model]) for model in theirs]
        pairs = tuple((each["min_cosine"], each["max_relative_l2"]) for each in found)
        return pairs, runs[0].audio_s

    def run(self, name: str, audio: Path, *, device: str, out: Path) -> Run:
        """Run a group in a process of its own."""
        engine = self.config.engine if device == "cuda" else "auto"
        job = {
            "tool": "embedlib",
            "options": {"device": device, "engine": engine, "allow_untrained": True},
            "models": self.config.groups[name].models,  # type: ignore[index]
            "weights": None,
            "warm_up": self.warm_up,
            "audio": audio,
        }
        figures = measure("bench_contender.py", job, name=out.name, out=out, cores=self.cores)
        say(f"{out.name} took {figures['timed_s']:.1f} s")
        return Run(contender=name, **figures)

    def group(self, name: str) -> tuple[Measured, list[Run]]:
        """Compare a group with the CPU, then measure it once per round."""
        parities, audio_s = self.compare(name)
        n_copies = math.ceil(3600 * self.config.hours / audio_s)
        audio = self.scratch / f"{name} audio"
        link_copies(sorted(self.files.iterdir()), audio, n_copies=n_copies)
        runs = [
            self.run(name, audio, device="cuda", out=self.scratch / f"{name} round {number}")
            for number in range(1, self.config.rounds + 1)
        ]
        speeds = tuple(each.stream_audio_s / each.stream_s for each in runs)
        return Measured(speeds, parities), runs


def rows_of(figures: Mapping[str, float], groups: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Give the rows for people."""
    for name in groups:
        speed, share, cosine, distance = (figures[named(f, name)] for f in FIGURES_OF_GROUP)
        yield name, f"{speed:,.0f}", f"{share:.1%}", f"{cosine:.6f}", f"{distance:.1e}"


def _table(figures: Mapping[str, float], config: GpuConfig, *, n_found: int) -> dict[str, Any]:
    return table_of(
        "Cards",
        ("models", *FIGURES_OF_GROUP),
        rows_of(figures, list(config.groups)),
        notes=[
            f"{n_found} cards, engine {config.engine}; medians of {config.rounds} rounds of "
            f"{config.hours:g} h of audio, with all workers at work.",
            f"Peak of a card: {figures[PEAK]:,.0f} GFLOP/s, a matrix product in float32 without "
            "TF32. Operations are those of the published graphs.",
            "Parity: the embeddings of each file by the card, against those by the CPU.",
        ],
    )


# The interface of a verb


def bench_config(values: Mapping[str, Any], *, origin: str) -> GpuConfig:
    """Check the values of a configuration; its relative paths are from the root."""
    config = checked(GpuConfig, values, origin=origin)
    return config.model_copy(update={"audio": [ROOT / path for path in config.audio]})


def figure_names() -> set[str]:
    """Name what a floor or a ceiling can be set for."""
    return {PEAK} | {named(figure, group) for figure in FIGURES_OF_GROUP for group in GROUPS}


def run(config: GpuConfig, scratch: Path, cores: Sequence[int]) -> dict[str, Any]:
    """Measure each group, where there is a card, and hold the figures against the limits."""
    limits = limits_of(config, names=figure_names(), cores=cores)
    n_found = n_cards()
    if reason := why_none(n_found=n_found):
        table = table_of("Cards", ("models", SPEED), [], notes=[reason])
        return {"figures": {}, "tables": [table], "reason": reason, "broken_floors": []}
    files = lay_out_audio(config, scratch / "files")  # type: ignore[arg-type]
    bench = Bench(config, scratch, cores, files, lay_out_warm_up(scratch / "warm-up"))
    figures = {PEAK: bench.peak_gflops()}
    runs: list[Run] = []
    for name, group in config.groups.items():
        measured, of_group = bench.group(name)
        own = measured.figures(gflop=group.gflop, n_cards=n_found, peak_gflops=figures[PEAK])
        figures |= {named(figure, name): value for figure, value in own.items()}
        runs += of_group
    return {
        "figures": figures,
        "runs": [asdict(each) for each in runs],
        "tables": [_table(figures, config, n_found=n_found)],
        "broken_floors": limits.broken(figures),
    }


def add_flags(parser: ArgumentParser) -> None:
    """Add what the command line can say otherwise than the configuration."""
    parser.add_argument("--audio", type=absolute_path, nargs="+", help="files and folders")
    parser.add_argument("--minutes", type=float, help="of songs made of nothing")
    parser.add_argument("--hours", type=float, help="of audio in a run")
    parser.add_argument("--engine", help="onnxruntime or tensorrt")
    parser.add_argument("--rounds", type=int, help="how often each is measured")


def show(result: Mapping[str, Any]) -> None:
    """Print what was found."""
    show_tables(result)
