"""Figures of `bench.py models`: pure functions from rounds to costs, ratios and ceilings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench_figures import Run
from bench_show import table_of

from embedlib.errors import ConfigError, RunError

SHARED_STAGES = ("decode", "resample", "front end")
"""What is done once for all models, of the stages that `bench_parts.py` times."""

OWN_STAGES = ("cut", "patch input", "inference", "readout", "write")
"""What is done for each model."""

NEEDED = ("patch input", "inference")
"""What of that counts as a part: the rest is what a run adds, as are commits and the scheduler. The
patch input counts because it is the second half of the front end of models that take the
waveform."""

TO_PARTS = "one pass / its parts"
TO_SEPARATE = "separate passes / one pass"
PEAK_GIB = "peak memory GiB"
FIGURES = (TO_PARTS, TO_SEPARATE, PEAK_GIB)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts of one model took, in a process of its own.

    Attributes
    ----------
    model, engine : str
        As the user named them.
    table : str
        Name of the model's table: it tells random weights.
    front_end, signal : str
        What the model listens to.
    audio_s : float
        Seconds of audio.
    n_files, n_shards : int
        How it was cut.
    n_patches, n_filled : int
        Patches embedded, and empty places in the last batches of the shards.
    cpu_s : mapping of str to float
        CPU seconds by stage.
    wall_s : float
        The whole life of the process.
    """

    model: str
    engine: str
    table: str
    front_end: str
    signal: str
    audio_s: float
    n_files: int
    n_shards: int
    n_patches: int
    n_filled: int
    cpu_s: Mapping[str, float]
    wall_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """All that is compared, measured once, by turns.

    Attributes
    ----------
    parts : sequence of Parts
        Of each model, with the engine of the passes.
    separate : sequence of Run
        A pass of each model alone.
    together : Run
        One pass of all models.
    """

    parts: Sequence[Parts]
    separate: Sequence[Run]
    together: Run


def shared_s(parts: Iterable[Parts]) -> dict[str, float]:
    """Give what is done once for all models.

    Parameters
    ----------
    parts : iterable of Parts
        Over the same audio.

    Returns
    -------
    cpu_s : dict of str to float
        Decoding, each distinct signal, each distinct front end; the median where several models
        had it measured.
    """
    found: dict[str, list[float]] = {}
    for one in parts:
        names = ("decode", f"resample to {one.signal}", f"front end {one.front_end}")
        for name, stage in zip(names, SHARED_STAGES, strict=True):
            found.setdefault(name, []).append(one.cpu_s[stage])
    return {name: median(values) for name, values in found.items()}


def parts_s(parts: Sequence[Parts]) -> float:
    """Give what one pass of all models cannot do without.

    Parameters
    ----------
    parts : sequence of Parts
        One of each model.

    Returns
    -------
    cpu_s : float
        One decode, one resampling per signal, one front-end pass each, and the sum of the patch
        inputs and inferences.
    """
    own_s = sum(one.cpu_s[stage] for one in parts for stage in NEEDED)
    return sum(shared_s(parts).values()) + own_s


def require_same_patches(found: Round) -> None:
    """See that the parts, the separate passes and the one pass embedded the same patches.

    Parameters
    ----------
    found : Round
        What was measured.

    Raises
    ------
    RunError
        If their numbers differ: then times could not be compared.
    """
    n_together = found.together.n_patches
    for name, runs in (("parts", found.parts), ("separate passes", found.separate)):
        n_patches = sum(run.n_patches for run in runs)
        if n_patches != n_together:
            raise RunError(
                f"the {name} embedded {n_patches} patches, the one pass {n_together}",
                fix="look for the cause first: their times cannot be compared",
            )


def ratios(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """Hold one pass against its parts, and separate passes against one.

    Parameters
    ----------
    rounds : sequence of Round
        Each is compared within itself, so that a slow minute of the machine meets both sides.

    Returns
    -------
    found : dict of str to dict of str to float
        By name of the ratio its `median`, `least` and `greatest`.
    """
    by_name = {
        TO_PARTS: [r.together.stream_cpu_s / parts_s(r.parts) for r in rounds],
        TO_SEPARATE: [
            sum(run.stream_cpu_s for run in r.separate) / r.together.stream_cpu_s for r in rounds
        ],
    }
    return {
        name: {"median": median(values), "least": min(values), "greatest": max(values)}
        for name, values in by_name.items()
    }


def costs(parts: Iterable[Parts]) -> dict[str, dict[str, float]]:
    """Give the cost of each stage of each model with each engine.

    Parameters
    ----------
    parts : iterable of Parts
        Of all rounds.

    Returns
    -------
    costs : dict of str to dict of str to float
        By ``MODEL ENGINE``: CPU seconds per minute of audio by stage, medians of the rounds, and
        `filled`, the share of its batches' places that held no patch.
    """
    groups: dict[str, list[Parts]] = {}
    for one in parts:
        groups.setdefault(f"{one.model} {one.engine}", []).append(one)
    return {
        name: {
            **{
                stage: median(_per_minute(one, stage) for one in group)
                for stage in (*SHARED_STAGES, *OWN_STAGES)
            },
            "filled": group[0].n_filled / (group[0].n_filled + group[0].n_patches),
        }
        for name, group in groups.items()
    }


def _per_minute(parts: Parts, stage: str) -> float:
    return 60 * parts.cpu_s[stage] / parts.audio_s


def passes(rounds: Sequence[Round]) -> dict[str, float]:
    """Give what passes cost.

    Parameters
    ----------
    rounds : sequence of Round
        What was measured.

    Returns
    -------
    costs : dict of str to float
        CPU seconds per minute of audio, medians of the rounds: what is shared, ``parts``,
        ``one pass`` and ``separate passes``.
    """
    minutes = [r.parts[0].audio_s / 60 for r in rounds]
    found: dict[str, list[float]] = {}
    for r in rounds:
        spent = {
            **shared_s(r.parts),
            "parts": parts_s(r.parts),
            "one pass": r.together.stream_cpu_s,
            "separate passes": sum(run.stream_cpu_s for run in r.separate),
        }
        for name, cpu_s in spent.items():
            found.setdefault(name, []).append(cpu_s)
    return {
        name: median(cpu_s / m for cpu_s, m in zip(values, minutes, strict=True))
        for name, values in found.items()
    }


def require_known(ceilings: Collection[str]) -> None:
    """Refuse a ceiling for what is not measured, before anything is.

    Parameters
    ----------
    ceilings : collection of str
        Names of figures.

    Raises
    ------
    ConfigError
        If there is no such figure.
    """
    for name in ceilings:
        if name not in FIGURES:
            raise ConfigError(
                f"no figure is called {name!r}", fix=f"there are {', '.join(FIGURES)}"
            )


def broken_ceilings(figures: Mapping[str, float], ceilings: Mapping[str, float]) -> list[str]:
    """Say which ceilings are passed.

    Parameters
    ----------
    figures, ceilings : mapping of str to float
        What was measured, and what it should be at most.

    Returns
    -------
    lines : list of str
        One per figure that was measured and is above its ceiling.

    Examples
    --------
    >>> broken_ceilings({"one pass / its parts": 1.2}, {"one pass / its parts": 1.1, "other": 1})
    ['one pass / its parts is 1.20, above its ceiling of 1.1']
    """
    return [
        f"{name} is {figures[name]:.2f}, above its ceiling of {ceiling}"
        for name, ceiling in ceilings.items()
        if figures.get(name, 0.0) > ceiling
    ]


def cost_tables(result: Mapping[str, Any], *, precision: str) -> list[dict[str, Any]]:
    """Make the tables of parts, passes and their ratios.

    Parameters
    ----------
    result : mapping of str to Any
        With the keys that `bench.py models` fills when it measures times.
    precision : str
        Of inference.

    Returns
    -------
    tables : list of dict of str to Any
        As `table_of` makes them.
    """
    first = result["rounds"][0]["parts"][0]
    minutes, n_rounds = first["audio_s"] / 60, len(result["rounds"])
    heard = f"{minutes:.1f} min of audio in {first['n_files']} files, {first['n_shards']} shards"
    rows = [
        (
            *name.rsplit(" ", 1),
            *(f"{row[stage]:.3f}" for stage in OWN_STAGES),
            f"{row['filled']:.0%}",
        )
        for name, row in result["costs"].items()
    ]
    ratios = [
        (name, *(f"{found[key]:.3f}" for key in ("median", "least", "greatest")))
        for name, found in result["ratios"].items()
    ]
    return [
        table_of(
            "CPU seconds per minute of audio, on one core",
            ("model", "engine", *OWN_STAGES, "empty places"),
            rows,
            notes=[
                f"{heard}; {precision}; medians of {n_rounds} rounds.",
                *(f"Not measured: {name}: {why}" for name, why in result["refused"].items()),
                *(f"Random weights: {table}" for table in result["untrained"]),
            ],
        ),
        table_of(
            "What is shared, and all together, CPU seconds per minute of audio",
            ("step", "s"),
            [(name, f"{cpu_s:.3f}") for name, cpu_s in result["passes"].items()],
        ),
        table_of("Ratios", ("ratio", "median", "least", "greatest"), ratios),
    ]
