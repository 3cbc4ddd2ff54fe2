"""Figures of `bench.py stages`: pure functions from rounds to stages and their limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench_costs import OWN_STAGES, SHARED_STAGES, Parts, shared_s
from bench_figures import Run

COMMIT, OWN = "commit", "the run's own"
INFERENCE, WRITE = "inference", "write"

MAX_L2, MIN_COSINE = 3e-2, 0.999
"""Bounds of parity for bf16: relative l2 of a file, and cosine of a patch."""

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of some models beside its parts, and the limit of each stage.

    Attributes
    ----------
    stage_s : mapping of str to float
        CPU seconds per hour of audio by stage.
    limit_s : mapping of str to float
        What each stage takes at best, likewise; a stage of which none is known is left out.
    wall_s : float
        Of the pass per hour of audio, models loaded, commits included.
    heard : str
        How much audio that was.
    """

    stage_s: Mapping[str, float]
    limit_s: Mapping[str, float]
    wall_s: float
    heard: str = ""

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all stages per hour of audio."""
        return sum(self.stage_s.values())

    @property
    def beside_inference_ms(self) -> float:
        """CPU milliseconds of all other stages per second of audio."""
        return 1e3 * (self.cpu_s - self.stage_s[INFERENCE]) / _HOUR_S

    @property
    def to_limit(self) -> float:
        """The share that the counted operations alone would take of its CPU time."""
        return self.limit_s[INFERENCE] / self.cpu_s


def stages_s(parts: Sequence[Parts], together: Run) -> dict[str, float]:
    """Divide the CPU time of one pass.

    Parameters
    ----------
    parts : sequence of Parts
        Of each model of the pass, with what a commit took.
    together : Run
        The pass.

    Returns
    -------
    cpu_s : dict of str to float
        By stage; what no part accounts for is the run's own, which noise can make negative.
    """
    shared = shared_s(parts)
    found = {
        stage: sum(cpu_s for name, cpu_s in shared.items() if name.startswith(stage))
        for stage in SHARED_STAGES
    }
    found |= {stage: sum(one.cpu_s[stage] for one in parts) for stage in (*OWN_STAGES, COMMIT)}
    return found | {OWN: together.stream_cpu_s - sum(found.values())}


def precision_of(model: Mapping[str, Any], wanted: str) -> str:
    """Tell in which precision a run has a model that bf16 may not suit.

    Parameters
    ----------
    model : mapping of str to Any
        What `bench_inference.py` tells of it.
    wanted : str
        Of the run.

    Returns
    -------
    precision : str
        ``f32`` or ``bf16``.

    Examples
    --------
    >>> precision_of({"takes_bf16": False}, "bf16")
    'f32'
    """
    return wanted if model["takes_bf16"] else "f32"


def peak_of(inference: Mapping[str, Any], precision: str) -> float:
    """Give the peak of the core: that of the fastest product.

    Parameters
    ----------
    inference : mapping of str to Any
        What `bench_inference.py` measured.
    precision : str
        Of the product.

    Returns
    -------
    peak : float
        Operations per second.
    """
    return float(max(inference["peaks"][precision].values()))


def operations_s(parts: Iterable[Parts], inference: Mapping[str, Any], precision: str) -> float:
    """Give the seconds that the counted operations of all patches take at the peak.

    Parameters
    ----------
    parts : iterable of Parts
        With the patches of each model.
    inference : mapping of str to Any
        What `bench_inference.py` measured.
    precision : str
        Of the run.

    Returns
    -------
    seconds : float
        Of one core.
    """
    seconds = (
        one.n_patches
        * inference["models"][one.model]["operations"]["n_all"]
        / peak_of(inference, precision_of(inference["models"][one.model], precision))
        for one in parts
    )
    return float(sum(seconds))


def limits_s(
    parts: Sequence[Parts], bare: Mapping[str, Any], *, n_bytes: int, inference_s: float
) -> dict[str, float]:
    """Give what each stage would take at best.

    Parameters
    ----------
    parts : sequence of Parts
        Of each model of a pass.
    bare : mapping of str to Any
        What `bench_bare.py` measured, over the same audio or less of it.
    n_bytes : int
        Of the part files that the pass wrote.
    inference_s : float
        As `operations_s` gives it.

    Returns
    -------
    seconds : dict of str to float
        By stage, for the audio of the parts; those of cutting, patch inputs and readouts are not
        known.
    """
    times = parts[0].audio_s / bare["audio_s"]
    cpu_s = bare["cpu_s"]
    return {
        "decode": times * cpu_s["decode"],
        "resample": times * sum(cpu_s[signal] for signal in {one.signal for one in parts}),
        "front end": times * sum(cpu_s[name] for name in {one.front_end for one in parts}),
        INFERENCE: inference_s,
        WRITE: n_bytes / bare["disk_bytes_per_s"],
        COMMIT: len(parts) * bare["empty_commit_s"],
    }


def hourly(seconds: Mapping[str, float], audio_s: float) -> dict[str, float]:
    """Give seconds per hour of audio.

    Parameters
    ----------
    seconds : mapping of str to float
        By stage.
    audio_s : float
        Seconds of audio behind them.

    Returns
    -------
    seconds : dict of str to float
        Likewise.

    Examples
    --------
    >>> hourly({"decode": 2.0}, 1800.0)
    {'decode': 4.0}
    """
    return {name: _HOUR_S * value / audio_s for name, value in seconds.items()}


def middle(passes: Sequence[Pass]) -> Pass:
    """Give the medians of some passes of the same models.

    Parameters
    ----------
    passes : sequence of Pass
        One of each round.

    Returns
    -------
    found : Pass
        Each stage, each limit and the wall by itself.
    """
    first = passes[0]
    return Pass(
        {name: median(one.stage_s[name] for one in passes) for name in first.stage_s},
        {name: median(one.limit_s[name] for one in passes) for name in first.limit_s},
        median(one.wall_s for one in passes),
        first.heard,
    )


def default_to_best(patch_ms: Mapping[str, float], batch_size: int) -> float:
    """Say how near the batches of a run are to the fastest ones.

    Parameters
    ----------
    patch_ms : mapping of str to float
        Milliseconds a patch, by batch size.
    batch_size : int
        Of a run.

    Returns
    -------
    ratio : float
        1 where they are the fastest.

    Examples
    --------
    >>> default_to_best({"1": 10.0, "4": 8.0}, 1)
    0.8
    """
    return min(patch_ms.values()) / patch_ms[str(batch_size)]


# What people see


def is_allowed(found: Mapping[str, float]) -> bool:
    """Tell whether embeddings in bf16 are near enough.

    Parameters
    ----------
    found : mapping of str to float
        As `bench_figures.parity` gives it.

    Returns
    -------
    is_allowed : bool
        Whether both bounds hold.
    """
    return found["max_relative_l2"] <= MAX_L2 and found["min_cosine"] >= MIN_COSINE


def accuracy_change(clips: Mapping[str, Any]) -> float:
    """Give the accuracy in bf16 less that in f32.

    Parameters
    ----------
    clips : mapping of str to Any
        What `bench_clips.py` found.

    Returns
    -------
    change : float
        Below zero where bf16 does worse.
    """
    accuracies = clips["accuracies"]
    return float(accuracies["bf16"]["accuracy"] - accuracies["f32"]["accuracy"])
