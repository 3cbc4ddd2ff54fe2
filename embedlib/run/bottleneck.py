"""What holds a run up, in words: told from how busy its workers were lately. Pure.

Decoders and the workers of each model are stages of a pipe, and the stage that is never idle is the
one that all others wait for. Where workers take a shard the whole way, or one process does all,
there is no pipe; there the stage that takes most of the time is named.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from embedlib.run.driver import DRAIN_S
from embedlib.run.events import (
    Decoded,
    DecodeEnded,
    DecoderAdded,
    Drain,
    Embedded,
    Event,
    Tick,
    Written,
)
from embedlib.run.scheduler import Scheduler
from embedlib.run.staff import Load

N_MOMENTS: Final = 30
"""Moments that are looked back on, one per tick: half a minute."""

RECENT_S: Final = 120.0
"""Seconds of work from which on what came before counts half."""

TAIL_SHARE: Final = 0.75
"""Share of its workers below which no stage is held to be the tight one when nothing is left to
begin: the last shards keep few of them busy."""

ENDING: Final = f"ending: up to {DRAIN_S:.0f} s for what is in flight; Ctrl-C again ends now"
"""What a run waits for that a signal has told to end."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How busy the workers of a run are at one moment.

    Attributes
    ----------
    models : mapping of str to Load
        Workers of each model.
    decoders : Load
        Decode workers; none where model workers decode for themselves.
    n_writing : mapping of str to int
        Workers of each model that write a part.
    is_anything_left : bool
        Whether a shard could still begin.
    """

    models: Mapping[str, Load]
    decoders: Load = field(default_factory=Load)
    n_writing: Mapping[str, int] = field(default_factory=dict)
    is_anything_left: bool = True

    @property
    def is_anybody_busy(self) -> bool:
        """Whether a worker has something to do."""
        is_writing = any(self.n_writing.values())
        return is_writing or any(load.n_busy for load in (self.decoders, *self.models.values()))


class Bottleneck:
    """Looks on while a run works, and says what it waits for."""

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque(maxlen=N_MOMENTS)
        self._stage_s: defaultdict[str, float] = defaultdict(float)
        self._is_one_process = False
        self._is_ending = False
        self._seen_s = 0.0

    def observe(self, event: Event, scheduler: Scheduler, *, now_s: float) -> None:
        """See what has happened.

        Parameters
        ----------
        event : Event
            What.
        scheduler : Scheduler
            Its state after the event.
        now_s : float
            When, by a clock that is not set back.
        """
        match event:
            case DecoderAdded(_, node_id) if not node_id:
                self._is_one_process = True  # workers of a cluster are on a node
            case Drain():
                self._is_ending = True
            case Tick():
                moment = moment_of(scheduler)
                if self._moments or moment.is_anybody_busy:  # the start tells nothing of the rest
                    self._moments.append(moment)
            case Written(_, part) if "decode" in (stage_s := dict(part.stage_s)):
                self._spend(stage_s)
        if self._is_one_process:
            if stage := _stage(event):
                self._spend({stage: now_s - self._seen_s})
            self._seen_s = now_s

    def __str__(self) -> str:
        """Say what the run waits for, in a few words."""
        if self._is_ending:
            return ENDING
        return in_turns(self._stage_s) if self._stage_s else in_words(self._moments)

    def _spend(self, stage_s: Mapping[str, float]) -> None:
        for stage, seconds in stage_s.items():
            self._stage_s[stage] += seconds
        if sum(self._stage_s.values()) > RECENT_S:
            self._stage_s.update({stage: spent / 2 for stage, spent in self._stage_s.items()})


def moment_of(scheduler: Scheduler) -> Moment:
    """Look at the workers of a run.

    Parameters
    ----------
    scheduler : Scheduler
        Of the run.

    Returns
    -------
    moment : Moment
        As they are now.
    """
    return Moment(
        models=scheduler.loads(),
        decoders=scheduler.decoder_load,
        n_writing=scheduler.n_writing(),
        is_anything_left=scheduler.is_anything_left,
    )


def in_turns(stage_s: Mapping[str, float]) -> str:
    """Say which stage takes most of the time of workers that do one after the other.

    Parameters
    ----------
    stage_s : mapping of str to float
        Seconds that each stage took.

    Returns
    -------
    words : str
        For people.

    Examples
    --------
    >>> in_turns({"decode": 30.0, "embed": 10.0})
    'bound by decode: 75 % of the time'
    """
    stage = max(stage_s, key=stage_s.__getitem__)
    total_s = sum(stage_s.values())
    share = stage_s[stage] / total_s if total_s else 0.0
    return f"bound by {stage}: {100 * share:.0f} % of the time"


def in_words(moments: Collection[Moment]) -> str:
    """Say which stage of a pipe the others wait for.

    Parameters
    ----------
    moments : collection of Moment
        The last ones, of which the mean counts; none before the first.

    Returns
    -------
    words : str
        For people.

    Examples
    --------
    >>> in_words([Moment({"m": Load(2, 0), "n": Load(2, 1, 1)}, Load(1, 1))])
    'decode-bound: 3 of 4 model workers idle'
    >>> in_words([Moment({"m": Load(2, 2, 9), "n": Load(2, 0)}, Load(1, 0))])
    'bound by m: 2 of 2 workers busy, 7 chunks wait'
    """
    pools = _pools(moments)
    decoders = _mean([(moment.decoders, 0) for moment in moments])
    if not pools:
        return "starting workers"
    tight = max(pools, key=lambda model: pools[model].share)
    pool = pools[tight]
    if max(pool.share, decoders.share) < TAIL_SHARE and _is_tail(moments):
        return f"the last shards: {_idle(pools)}, nothing is left to begin"
    if decoders.share > pool.share:
        return f"decode-bound: {_idle(pools)}"
    if 2 * pool.n_writing > pool.n_workers:
        return f"store-bound: {pool.n_writing:.0f} of {pool.n_workers:.0f} workers of {tight} write"
    return (
        f"bound by {tight}: {pool.n_working:.0f} of {pool.n_workers:.0f} workers busy, "
        f"{max(0.0, pool.n_chunks - pool.n_busy):.0f} chunks wait"
    )


@dataclass(frozen=True, slots=True)
class _Pool:
    """The workers of one stage, over some moments."""

    n_workers: float
    n_busy: float
    n_chunks: float
    n_writing: float

    @property
    def n_working(self) -> float:
        return min(self.n_workers, self.n_busy + self.n_writing)

    @property
    def share(self) -> float:
        return self.n_working / self.n_workers if self.n_workers else 0.0


def _pools(moments: Collection[Moment]) -> dict[str, _Pool]:
    loads: defaultdict[str, list[tuple[Load, int]]] = defaultdict(list)
    for moment in moments:
        for model, load in moment.models.items():
            loads[model].append((load, moment.n_writing.get(model, 0)))
    means = {model: _mean(loads[model]) for model in sorted(loads)}
    return {model: pool for model, pool in means.items() if pool.n_workers}


def _mean(loads: Collection[tuple[Load, int]]) -> _Pool:
    """Give the mean of loads, each with the workers that write, while there were workers."""
    staffed = [(load, n_writing) for load, n_writing in loads if load.n_workers]
    if not staffed:
        return _Pool(0.0, 0.0, 0.0, 0.0)
    return _Pool(
        n_workers=fmean(load.n_workers for load, _ in staffed),
        n_busy=fmean(load.n_busy for load, _ in staffed),
        n_chunks=fmean(load.n_chunks for load, _ in staffed),
        n_writing=fmean(n_writing for _, n_writing in staffed),
    )


def _is_tail(moments: Collection[Moment]) -> bool:
    return not any(moment.is_anything_left for moment in moments)


def _idle(pools: Mapping[str, _Pool]) -> str:
    n_workers = sum(pool.n_workers for pool in pools.values())
    n_idle = sum(pool.n_workers - pool.n_working for pool in pools.values())
    return f"{n_idle:.0f} of {n_workers:.0f} model workers idle"


def _stage(event: Event) -> str:
    """Name what a process has just done that does one thing at a time."""
    match event:
        case Decoded() | DecodeEnded():
            return "decode"
        case Embedded(_, _, model):
            return model
        case Written():
            return "write"
    return ""
