"""Contenders of `bench.py extract`, and what a case is: who meets whom, over what audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench_figures import Comparison

MUSICNN = "msd-musicnn-1"

Audio = Literal["music", "some more music", "more music", "clips"]
"""What is embedded: so many minutes of music; several times as much, for what is fast, so that the
last second, when a core has no work left, weighs little; as many minutes of short clips."""

TWO_CORES = "two_cores"
BF16: Mapping[str, Any] = {"precision": "bf16"}


@dataclass(frozen=True, slots=True)
class Contender:
    """One way from files to embeddings.

    Attributes
    ----------
    name : str
        Part of the names of figures.
    tool : str
        A function of `bench_contender.py`.
    options : mapping of str to Any
        What it is told.
    models : sequence of str
        What it embeds with.
    like : str or None
        The contender whose output it is held to before anything is timed.
    n_cores : int
        How many it is bound to.
    audio : {'music', 'some more music', 'more music', 'clips'}
        What it embeds.
    needs : str or None
        What a machine must have for it.
    """

    name: str
    tool: str
    options: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[str] = (MUSICNN,)
    like: str | None = None
    n_cores: int = 1
    audio: Audio = "music"
    needs: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Contenders that take turns, and what is made of their speeds.

    Attributes
    ----------
    name, title : str
        In the configuration, and above its table.
    contenders : tuple of Contender
        Peers first.
    comparisons : tuple of Comparison
        Its figures.
    oracle : Contender
        Whose output is right, as far as it goes; it is not timed.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]
    oracle: Contender

    def on(self, facts: frozenset[str]) -> Case:
        """Leave out what a machine cannot do."""
        able = tuple(c for c in self.contenders if c.needs in {None, *facts})
        names = {contender.name for contender in able}
        kept = tuple(c for c in self.comparisons if {c.ours, c.other} <= names)
        return Case(self.name, self.title, able, kept, self.oracle)


def versus(ours: Sequence[str], peers: Sequence[str]) -> tuple[Comparison, ...]:
    """Hold each of ours against each peer."""
    return tuple(Comparison(us, peer) for us in ours for peer in peers)


# Ways, each with its name and whatever differs from the plainest of its kind.


def loop(
    name: str, *, quality: int = 1, batch_size: int | None = 64, hop: int | None = None, **more: Any
) -> Contender:
    """Give the loop of Essentia's documentation; quality 1 and batches of 64 are its defaults."""
    options = {"quality": quality, "batch_size": batch_size, "hop_frames": hop}
    return Contender(name, "loop", options, **more)


def oracle(models: Sequence[str] = (MUSICNN,), **more: Any) -> Contender:
    """Give Essentia at its best resampling, from which its default is farther away than we are."""
    return loop("essentia-q0", quality=0, batch_size=None, models=models, **more)


def pool(name: str, *, batch_size: int, **more: Any) -> Contender:
    """Give a pool of two processes around the loop."""
    options = {"quality": 1, "batch_size": batch_size, "n_workers": 2}
    return Contender(name, "pool", options, n_cores=2, needs=TWO_CORES, **more)


def local(name: str, **more: Any) -> Contender:
    """Give ``embedlib extract --local``."""
    options = {"local": True, **more.pop("options", {})}
    return Contender(name, "embedlib", options, **more)


def through_ray(name: str, **more: Any) -> Contender:
    """Give ``embedlib extract`` on two cores."""
    options = {"n_cores": 2, **more.pop("options", {})}
    return Contender(name, "embedlib", options, n_cores=2, **{"needs": TWO_CORES, **more})


def ray_data(name: str, *, engine: str, **more: Any) -> Contender:
    """Give the pipeline of `bench_ray_data.py` on two cores: an actor a model, two files a call."""
    options = {"engine": engine, "quality": 1, "batch_size": None, "n_cores": 2}
    options |= {"files_per_batch": 2, "actors_per_model": 1, **more.pop("options", {})}
    return Contender(name, "ray-data", options, n_cores=2, **{"needs": TWO_CORES, **more})
