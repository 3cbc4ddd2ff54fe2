"""Figures of the benchmark: pure functions from runs to medians, ratios, parity and floors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from embedlib.errors import ConfigError, RunError

Embeddings = Mapping[str, NDArray[np.float32]]

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""What of /proc/cpuinfo decides the speed of inference."""


class Floor(BaseModel):
    """A ratio that must be reached, on machines that have what it needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: float
    needs: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What one process of one contender took.

    Attributes
    ----------
    contender : str
        Its name.
    audio_s : float
        Seconds of audio that it was given.
    n_files, n_patches : int
        What it embedded and saved.
    timed_s : float
        The figure: from the first file to the last saved embedding, with listing and commits.
    stream_s : float
        The part of it with all workers at work, commits included.
    stream_audio_s : float
        Seconds of audio embedded in `stream_s`.
    load_s : float
        Loading of the model; through Ray, the start of Ray and of the workers. Not in `timed_s`.
    cpu_s : float
        CPU time behind `timed_s`, ours with that of `load_s`; through Ray, of the driver alone.
    stream_cpu_s : float
        CPU time behind `stream_s`: without listing and loading. Through Ray, of the driver alone.
    wall_s : float
        The whole life of the process, imports and warm-up included.
    """

    contender: str
    audio_s: float
    n_files: int
    n_patches: int
    timed_s: float
    stream_s: float
    stream_audio_s: float
    load_s: float
    cpu_s: float
    stream_cpu_s: float
    wall_s: float


def require_same_work(runs: Sequence[Run]) -> None:
    """See that all runs saved as many patches per file, each file being taken equally often.

    Parameters
    ----------
    runs : sequence of Run
        Of all contenders.

    Raises
    ------
    RunError
        If one saved more or fewer than the first one.
    """
    first = runs[0]
    for run in runs:
        if run.n_patches * first.n_files != first.n_patches * run.n_files:
            raise RunError(
                f"{run.contender} saved {run.n_patches} patches of {run.n_files} files, "
                f"{first.contender} {first.n_patches} of {first.n_files}",
                fix="look for the cause first: their times cannot be compared",
            )


def medians(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Give the medians of each contender.

    Parameters
    ----------
    runs : iterable of Run
        Of all contenders.

    Returns
    -------
    figures : dict of str to dict of str to float
        Per contender `speed` and `stream_speed` in times real time, and seconds.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.contender, []).append(run)
    seconds = ("timed_s", "stream_s", "load_s", "cpu_s", "stream_cpu_s", "wall_s")
    return {
        name: {
            "speed": median(run.audio_s / run.timed_s for run in group),
            "stream_speed": median(run.stream_audio_s / run.stream_s for run in group),
            **{key: median(getattr(run, key) for run in group) for key in seconds},
        }
        for name, group in by_name.items()
    }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two contenders whose speeds are divided.

    Attributes
    ----------
    ours, other : str
        Their names.
    figure : {'speed', 'stream_speed'}
        Which speed.
    n_times : int > 0
        How many of the other one are to be matched.
    """

    ours: str
    other: str
    figure: str = "speed"
    n_times: int = 1

    @property
    def name(self) -> str:
        """The name of the ratio, which floors go by."""
        return f"{self.ours} / {'' if self.n_times == 1 else f'{self.n_times} x '}{self.other}"

    def ratio(self, figures: Mapping[str, Mapping[str, float]]) -> float:
        """Divide.

        Parameters
        ----------
        figures : mapping of str to mapping of str to float
            What `medians` gave.

        Returns
        -------
        ratio : float
            Above 1 where ours is faster.

        Examples
        --------
        >>> Comparison("a", "b", n_times=2).ratio({"a": {"speed": 9.0}, "b": {"speed": 5.0}})
        0.9
        """
        return figures[self.ours][self.figure] / (self.n_times * figures[self.other][self.figure])


def parity(ours: Embeddings, theirs: Embeddings) -> dict[str, float]:
    """Compare the embeddings of the same files.

    Parameters
    ----------
    ours, theirs : mapping of str to np.ndarray [shape=(n_patches, n_dims), float32]
        By name of the file.

    Returns
    -------
    figures : dict of str to float
        `min_cosine` over all patches, and `max_relative_l2` over all files.

    Raises
    ------
    RunError
        If files or numbers of patches differ: then times could not be compared.
    """
    for name in sorted({*ours, *theirs}):
        shapes = [np.shape(side[name]) if name in side else None for side in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise RunError(
                f"{name} has shape {shapes[0]} on one side and {shapes[1]} on the other",
                fix="look for the cause first: their times cannot be compared",
            )
    pairs = [(ours[name], theirs[name]) for name in ours]
    return {
        "n_files": len(pairs),
        "n_patches": sum(len(a) for a, _ in pairs),
        "min_cosine": min(_min_cosine(a, b) for a, b in pairs),
        "max_relative_l2": max(_relative_l2(a, b) for a, b in pairs),
    }


def _min_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / norms).min())


def _relative_l2(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def floors_that_count(
    floors: Mapping[str, Floor], *, names: Collection[str], facts: frozenset[str]
) -> dict[str, float]:
    """Choose the floors of this machine, before anything is measured.

    Parameters
    ----------
    floors : mapping of str to Floor
        By name of the ratio.
    names : collection of str
        Ratios that will be measured.
    facts : frozenset of str
        What this machine has.

    Returns
    -------
    floors : dict of str to float
        Those whose need is among the facts.

    Raises
    ------
    ConfigError
        If one of them is for a ratio that will not be measured.
    """
    found = {n: floor.at_least for n, floor in floors.items() if floor.needs in {None, *facts}}
    for name in found.keys() - names:
        raise ConfigError(f"no ratio is called {name!r}", fix=f"there are {', '.join(names)}")
    return found


def broken_floors(ratios: Mapping[str, float], floors: Mapping[str, float]) -> list[str]:
    """Say which floors are not reached.

    Parameters
    ----------
    ratios, floors : mapping of str to float
        What was measured, and what it should be at least.

    Returns
    -------
    lines : list of str
        One per broken floor.

    Examples
    --------
    >>> broken_floors({"a / b": 2.5}, {"a / b": 3.0})
    ['a / b is 2.50, below its floor of 3.0']
    """
    return [
        f"{name} is {ratios[name]:.2f}, below its floor of {floor}"
        for name, floor in floors.items()
        if ratios[name] < floor
    ]


def cpu_of(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    r"""Read the model and the flags of interest from the text of /proc/cpuinfo.

    Parameters
    ----------
    cpuinfo : str
        The text.

    Returns
    -------
    name, flags : str, tuple of str
        Of the first core.

    Examples
    --------
    >>> cpu_of("model name : X 9\nflags : fpu avx2 amx_bf16")
    ('X 9', ('avx2', 'amx_bf16'))
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    return fields.get("model name", "unknown"), tuple(flag for flag in FLAGS if flag in flags)


def facts_of(flags: Sequence[str], *, n_cores: int) -> frozenset[str]:
    """Name what a machine has, in the words of `needs`.

    Parameters
    ----------
    flags : sequence of str
        Of its CPU.
    n_cores : int > 0
        Cores that may be used.

    Returns
    -------
    facts : frozenset of str
        The flags, ``bf16`` where any kind of it is there, ``two_cores``.

    Examples
    --------
    >>> sorted(facts_of(["avx512_bf16"], n_cores=1))
    ['avx512_bf16', 'bf16']
    """
    facts = set(flags)
    if facts & {"avx512_bf16", "amx_bf16"}:
        facts.add("bf16")
    if n_cores >= 2:
        facts.add("two_cores")
    return frozenset(facts)
