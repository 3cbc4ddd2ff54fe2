"""What a run would cost: core hours or GPU hours, wall time and money, from short measurements.

Costs are seconds of one core or card per second of audio. What a run pays for before its first
shard, to start Ray and load models, is left out.
"""

from __future__ import annotations

import math
import os
import random
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from embedlib.catalog.shards import estimate_audio_s
from embedlib.config import ExtractConfig
from embedlib.features.front_end import front_end
from embedlib.records import Shard, Track
from embedlib.run.calibrate import keep_cost, known_costs, measure
from embedlib.run.decoding import decode_shard
from embedlib.run.driver import RunPlan
from embedlib.run.job import DecodeJob
from embedlib.run.prices import Prices
from embedlib.run.slots import DECODE_CORE_S

SAMPLE_S = 5.0
"""How long planned files are decoded to see what that costs."""

MAX_SAMPLED = 64
"""Planned files that are decoded at most; from a store each is a transfer."""

DECODE = "decode"
"""Name of the stage in front of all models."""


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """What decoding a sample of the planned files took.

    Attributes
    ----------
    core_s : float
        Core seconds per second of audio: decode, resampling and front ends.
    scale : float
        Seconds of audio that were there, per second that the sizes promise.
    n_sampled : int
        Files that gave audio; with none the other two are what is usual.
    """

    core_s: float = DECODE_CORE_S
    scale: float = 1.0
    n_sampled: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would cost.

    Attributes
    ----------
    audio_s : float
        Seconds of audio to decode: what the sizes promise, corrected by the sample.
    n_sampled : int
        Files that the correction and the cost of decoding come from.
    stage_hours : dict of str to float
        Hours of one core, or of one card for models on ``cuda``, by stage: ``decode`` and models.
    core_hours, gpu_hours : float
        Sums of them.
    n_cores, n_gpus : int
        What the run is taken to have.
    wall_s : float
        How long it would take with them.
    bound_by : str
        The stage that it would wait for: the dearest of those that share what is busiest.
    cost : float or None
        In the currency of the prices; None without prices.
    """

    audio_s: float
    n_sampled: int
    stage_hours: dict[str, float]
    core_hours: float
    gpu_hours: float
    n_cores: int
    n_gpus: int
    wall_s: float
    bound_by: str
    cost: float | None


def estimate(plan: RunPlan, config: ExtractConfig, *, prices: Prices | None) -> Estimate:
    """Measure for a while what each stage costs here, and say what that makes for a plan.

    Costs of models are kept for the next run.

    Parameters
    ----------
    plan : RunPlan
        What would be carried out.
    config : ExtractConfig
        Where.
    prices : Prices or None
        Of an hour.

    Returns
    -------
    estimate : Estimate
        For machines like this one.

    Raises
    ------
    EngineError
        If a model does not run here.
    """
    decode = measure_decode(sampled(plan), plan.decode)
    costs_s = {}
    for name, job in plan.jobs.items():
        found = measure(job, plan.graphs[name])
        costs_s[name] = found.cost_s
        keep_cost(job, found.cost_s, batch_size=found.batch_size)
    return add_up(plan, config, decode=decode, costs_s=costs_s, prices=prices)


def known_estimate(plan: RunPlan, config: ExtractConfig) -> Estimate | None:
    """Estimate a plan by what is known already, without measuring anything.

    Parameters
    ----------
    plan : RunPlan
        What is carried out.
    config : ExtractConfig
        Where.

    Returns
    -------
    estimate : Estimate or None
        None where the cost of a model is not known.
    """
    costs_s = known_costs(plan.jobs)
    if not plan.jobs or len(costs_s) < len(plan.jobs):
        return None
    return add_up(plan, config, decode=DecodeCost(), costs_s=costs_s, prices=None)


def sampled(plan: RunPlan) -> Iterator[Track]:
    """Draw some of the planned files; only their shards are read.

    Parameters
    ----------
    plan : RunPlan
        What would be carried out.

    Yields
    ------
    track : Track
        At most `MAX_SAMPLED`, the same each time.
    """
    shard_ids = sorted(plan.sizes)
    ends = list(accumulate(plan.sizes[shard_id].n_tracks for shard_id in shard_ids))
    n_tracks = ends[-1] if ends else 0
    for position in random.Random(0).sample(range(n_tracks), min(MAX_SAMPLED, n_tracks)):
        number = bisect_right(ends, position)
        yield plan.shards[shard_ids[number]].tracks[position - ends[number]]


def measure_decode(
    sample: Iterable[Track], job: DecodeJob, *, sample_s: float = SAMPLE_S
) -> DecodeCost:
    """Decode some of the planned files.

    Parameters
    ----------
    sample : iterable of Track
        Files to decode, as far as the time goes.
    job : DecodeJob
        How audio becomes frames.
    sample_s : float > 0
        Wall seconds after which no more is decoded.

    Returns
    -------
    cost : DecodeCost
        Of those that were decoded.
    """
    deadline_s = time.monotonic() + sample_s
    started_s = time.process_time()
    n_sampled, audio_s, whole_s, promised_s = 0, 0.0, 0.0, 0.0
    for track in sample:
        found_s, is_whole = _decoded_s(track, job, deadline_s=deadline_s)
        audio_s += found_s
        n_sampled += found_s > 0
        if found_s and is_whole:
            whole_s += found_s
            promised_s += estimate_audio_s(track)
        if time.monotonic() > deadline_s:
            break
    core_s = time.process_time() - started_s
    if not audio_s:
        return DecodeCost()
    return DecodeCost(core_s / audio_s, whole_s / promised_s if promised_s else 1.0, n_sampled)


def _decoded_s(track: Track, job: DecodeJob, *, deadline_s: float) -> tuple[float, bool]:
    """Decode a track until the time is over; seconds of audio, and whether it came to its end."""
    front = front_end(job.front_ends[0])
    n_frames = 0
    for chunk in decode_shard(Shard("", (track,), 0.0), job):
        n_frames += len(chunk.frames) if chunk.front_end == front.name else 0
        if time.monotonic() > deadline_s:
            return n_frames * front.hop_samples / front.sr_hz, False
    return n_frames * front.hop_samples / front.sr_hz, True


def add_up(
    plan: RunPlan,
    config: ExtractConfig,
    *,
    decode: DecodeCost,
    costs_s: Mapping[str, float],
    prices: Prices | None,
) -> Estimate:
    """Say what costs per second of audio make for a plan.

    Parameters
    ----------
    plan : RunPlan
        What would be carried out.
    config : ExtractConfig
        Where.
    decode : DecodeCost
        Of decoding.
    costs_s : mapping of str to float
        Seconds of a core or card, by model.
    prices : Prices or None
        Of an hour.

    Returns
    -------
    estimate : Estimate
        Stages that share cores, or a card, are taken to keep them busy.
    """
    audio_s = decode.scale * math.fsum(size.audio_s for size in plan.sizes.values())
    of_models = {
        name: decode.scale * _audio_s(plan, name) * cost_s / 3600
        for name, cost_s in costs_s.items()
    }
    on_cores = {DECODE: audio_s * decode.core_s / 3600}
    on_cards: dict[str, float] = {}
    (on_cards if config.device == "cuda" else on_cores).update(of_models)
    core_hours, gpu_hours = math.fsum(on_cores.values()), math.fsum(on_cards.values())
    n_cores, n_gpus = _n_cores(config), int(config.device == "cuda")
    core_wall, gpu_wall = core_hours / n_cores, gpu_hours / max(1, n_gpus)
    busiest = on_cards if gpu_wall > core_wall else on_cores
    return Estimate(
        audio_s=audio_s,
        n_sampled=decode.n_sampled,
        stage_hours=on_cores | on_cards,
        core_hours=core_hours,
        gpu_hours=gpu_hours,
        n_cores=n_cores,
        n_gpus=n_gpus,
        # In one process a card waits while the core works, and the other way round.
        wall_s=3600 * (core_wall + gpu_wall if config.local else max(core_wall, gpu_wall)),
        bound_by=max(busiest, key=busiest.__getitem__),
        cost=None if prices is None else prices.of(core_hours=core_hours, gpu_hours=gpu_hours),
    )


def _audio_s(plan: RunPlan, model: str) -> float:
    needed = (shard_id for shard_id, models in plan.models.items() if model in models)
    return math.fsum(plan.sizes[shard_id].audio_s for shard_id in needed)


def _n_cores(config: ExtractConfig) -> int:
    if config.local:
        return 1
    is_bound = hasattr(os, "sched_getaffinity")
    here = len(os.sched_getaffinity(0)) if is_bound else os.cpu_count() or 1
    return config.n_cores or here
