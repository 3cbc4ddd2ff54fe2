"""Measuring the contenders of a case: outputs first, then times, by turns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench_cases import MUSICNN, Audio, Case, Contender
from bench_figures import Embeddings, Run, medians, parity, require_same_work
from bench_outputs import read_outputs
from bench_process import measure
from bench_setting import link_copies, say

from embedlib.config import extract_config
from embedlib.models.registry import model_spec
from embedlib.run.resolve import Prepared, prepare_models

SCRIPT = "bench_contender.py"
N_SOME = 4
"""What "some more music" is a part of "more music" by."""

N_STARTS = 2


@dataclass(frozen=True, slots=True)
class Sound:
    """The files of one kind of audio, and how much of it is wanted."""

    files: Sequence[Path]
    minutes: float
    scaling_factor: int

    def n_copies(self, audio: Audio, *, audio_s: float) -> int:
        """Say how often each file is taken, if all of them once last so long.

        Examples
        --------
        >>> sound = Sound([], minutes=10, scaling_factor=16)
        >>> [sound.n_copies(a, audio_s=300.0) for a in ("music", "some more music", "more music")]
        [2, 8, 32]
        """
        factors = {
            "some more music": math.ceil(self.scaling_factor / N_SOME),
            "more music": self.scaling_factor,
        }
        return math.ceil(self.minutes * 60 / audio_s) * factors.get(audio, 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made: a scratch folder, cores, weights, files to warm up with."""

    scratch: Path
    cores: Sequence[int]
    weights: Path
    sounds: Mapping[str, Sound]
    folders: dict[str, Path] = field(default_factory=dict)

    def measure(self, contender: Contender, audio: Path, *, out: Path) -> dict[str, Any]:
        """Run a contender in a process of its own, bound to the last of the cores."""
        return measure(
            SCRIPT,
            self._job(contender, audio),
            name=contender.name,
            out=out,
            cores=self.cores[-contender.n_cores :],
        )

    def timed(self, contender: Contender, audio: Path, *, out: Path) -> Run:
        """Run a contender for its times."""
        figures = self.measure(contender, audio, out=out)
        say(f"{contender.name}: {figures['timed_s']:.1f} s")
        return Run(contender=contender.name, **figures)

    def first_commit_s(self, contender: Contender, *, out: Path) -> float:
        """Run a contender until it is through, and tell when its first commit was."""
        figures = self.measure(contender, self.folder("music"), out=out)
        say(f"{contender.name}: first commit after {figures['first_commit_s']:.1f} s")
        return float(figures["first_commit_s"])

    def folder(self, audio: Audio, *, n_copies: int = 1) -> Path:
        """Give a folder in which each file is so often, laid out once."""
        kind = kind_of(audio)
        name = f"{kind}-{n_copies}"
        if name not in self.folders:
            files = self.sounds[kind].files
            self.folders[name] = link_copies(files, self.scratch / name, n_copies=n_copies)
        return self.folders[name]

    def prepared(self, models: Sequence[str]) -> tuple[Prepared, ...]:
        """Find the graphs of models, or make their stand-ins."""
        texts = instances(models, weights=self.weights)
        values = {"sources": [""], "models": texts, "out": "", "allow_untrained": True}
        return prepare_models(extract_config(values))

    def _job(self, contender: Contender, audio: Path) -> dict[str, Any]:
        options = {**contender.options}
        is_ours = contender.tool in ("embedlib", "start")
        precision = options.get("precision", "f32")
        if is_ours:
            options["allow_untrained"] = True
        return {
            "tool": contender.tool,
            "options": options,
            "models": instances(contender.models, weights=self.weights, precision=precision),
            "graphs": [] if is_ours else [graph_of(p) for p in self.prepared(contender.models)],
            "warm_up": self._warm_up(contender.audio),
            "audio": audio,
            "asked_at": time.time(),
        }

    def _warm_up(self, audio: Audio) -> Path:
        name = f"warm-up-{kind_of(audio)}"
        if name not in self.folders:
            files = self.sounds[kind_of(audio)].files[:1]
            self.folders[name] = link_copies(files, self.scratch / name)
        return self.folders[name]


def kind_of(audio: Audio) -> Literal["music", "clips"]:
    """Say which files an audio is made of.

    Examples
    --------
    >>> kind_of("more music"), kind_of("clips")
    ('music', 'clips')
    """
    return "clips" if audio == "clips" else "music"


def instances(models: Iterable[str], *, weights: Path, precision: str = "f32") -> list[str]:
    """Write models as a run takes them: the weights of MusiCNN, and f32 where bf16 is refused.

    Examples
    --------
    >>> instances(["msd-musicnn-1", "spleeter-5s-3"], weights=Path("w.pb"), precision="bf16")
    ['msd-musicnn-1:weights=w.pb', 'spleeter-5s-3:precision=f32']
    """
    found = []
    for name in models:
        options = []
        if name == MUSICNN:
            options.append(f"weights={weights}")
        if precision == "bf16" and not model_spec(name).takes_bf16:
            options.append("precision=f32")
        found.append(":".join([name, ",".join(options)] if options else [name]))
    return found


def graph_of(model: Prepared) -> dict[str, Any]:
    """Write down a model for Essentia; see `bench_essentia.Graph`."""
    spec, output = model.instance.spec, model.outputs[0]
    return {
        "table": model.instance.table,
        "front_end": spec.front_end,
        "path": str(model.file.path),
        "nodes": list(output.nodes),
        "n_values": output.n_values,
        "patch_frames": spec.patch_frames,
        "readout": output.readout,
    }


def compare_outputs(bench: Bench, case: Case) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Compare the embeddings of all files, by model, before anything is timed.

    Returns
    -------
    found : list of dict of str to Any
        Per contender and model: to whom it was held, and the figures of `parity`.
    seconds : dict of str to float
        Seconds of audio of each kind.
    """
    saved: dict[str, dict[str, Embeddings]] = {}
    seconds: dict[str, float] = {}
    held = [contender for contender in case.contenders if contender.like]
    for contender in (case.oracle, *held):
        audio = kind_of(contender.audio)
        say(f"outputs of {contender.name}")
        out = bench.scratch / f"outputs {case.name} {contender.name}"
        seconds[audio] = bench.measure(contender, bench.folder(audio), out=out)["audio_s"]
        saved[contender.name] = read_outputs(out, tool=contender.tool)
    return [row for contender in held for row in _parities(saved, contender)], seconds


def _parities(
    saved: Mapping[str, Mapping[str, Embeddings]], contender: Contender
) -> list[dict[str, Any]]:
    name, like = contender.name, str(contender.like)
    return [
        {"contender": name, "like": like, "model": model, **parity(own, saved[like][model])}
        for model, own in saved[name].items()
    ]


def measure_case(bench: Bench, case: Case, *, repeats: int) -> dict[str, Any]:
    """Compare outputs, measure, and give the figures."""
    outputs, seconds = compare_outputs(bench, case)
    runs = []
    for n_round in range(1, repeats + 1):
        say(f"{case.name}: round {n_round} of {repeats}")
        for contender in case.contenders:
            kind = kind_of(contender.audio)
            n_copies = bench.sounds[kind].n_copies(contender.audio, audio_s=seconds[kind])
            audio = bench.folder(contender.audio, n_copies=n_copies)
            out = bench.scratch / f"{case.name} {n_round} {contender.name}"
            runs.append(bench.timed(contender, audio, out=out))
    for models in {tuple(contender.models) for contender in case.contenders}:
        names = {c.name for c in case.contenders if tuple(c.models) == models}
        require_same_work([run for run in runs if run.contender in names])
    figures = medians(runs)
    return {
        "title": case.title,
        "n_cores": {contender.name: contender.n_cores for contender in case.contenders},
        "outputs": outputs,
        "runs": [asdict(run) for run in runs],
        "medians": figures,
        "ratios": {c.name: c.ratio(figures) for c in case.comparisons},
    }


def measure_starts(
    bench: Bench, starts: Mapping[str, Contender], facts: frozenset[str]
) -> dict[str, list[float]]:
    """Measure how long each start takes; a first one, which may fill the cache, does not count."""
    found = {}
    for name, contender in starts.items():
        if contender.needs in {None, *facts}:
            found[name] = [
                bench.first_commit_s(contender, out=bench.scratch / f"start {contender.name} {n}")
                for n in range(1 + N_STARTS)
            ][1:]
    return found
