"""The limit of each stage but inference: the same work bare, over the same audio.

Run by jobs/bench.py: python jobs/bench_bare.py JOB.json, which leaves JOB.result

Decoding is FFmpeg's loop over frames of which no array is made; a resampler and a front end get a
whole track in one call, or large blocks where these are faster, because they stay in the cache.
No part file is faster than the disk takes its bytes, no commit faster than one of nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from bench_parts import shards_of, signal_text
from deltalake import DeltaTable

from embedlib.audio.container import open_audio
from embedlib.audio.decode import Decoding
from embedlib.audio.fetch import LocalAudio, local_copy
from embedlib.audio.resample import SOXR_HQ
from embedlib.audio.signals import SignalMixer
from embedlib.features.front_end import FrontEnd, front_end
from embedlib.records import Float32, Track

AUDIO_S: Final = "audio_s"

N_TIMES: Final = 3
"""How often each is done; the fastest counts."""

BLOCK_SAMPLES: Final = 2**18

BLOCK_BYTES: Final = 4 * 2**20
N_BLOCKS: Final = 16
"""Written and synced to tell what the disk takes: as much as some part files."""


def fastest(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Give the seconds of the fastest of some times."""
    times = []
    for _ in range(N_TIMES):
        started = clock()
        work()
        times.append(clock() - started)
    return min(times)


def bare_decode(audio: LocalAudio) -> int:
    """Run through the frames of a file."""
    with open_audio(audio) as (container, stream):
        return sum(frame.samples for frame in container.decode(stream))


def blocks_of(y: Float32) -> tuple[list[Float32], list[Float32]]:
    """Give a track whole, and cut into large blocks."""
    return [y], [y[..., n : n + BLOCK_SAMPLES] for n in range(0, y.shape[-1], BLOCK_SAMPLES)]


def bare_resample(blocks: Sequence[Float32], front: FrontEnd, sr_hz: int) -> list[Float32]:
    """Mix and resample a track."""
    n_channels = len(blocks[0])
    mixer = SignalMixer([front.signal], sr_hz=sr_hz, n_channels=n_channels, resampler=SOXR_HQ)
    return [*(mixer.push(block)[front.signal] for block in blocks), mixer.flush()[front.signal]]


def bare_front_end(blocks: Sequence[Float32], front: FrontEnd) -> list[Float32]:
    """Make the frames of a track."""
    stream = front.stream()
    return [*(stream.push(block) for block in blocks), stream.flush()]


def fastest_cut(work: Callable[[Sequence[Float32]], object], y: Float32) -> float:
    """Give the CPU seconds of what works on blocks, however these are cut."""
    return min(fastest(partial(work, blocks), time.process_time) for blocks in blocks_of(y))


def of_track(track: Track, fronts: Sequence[FrontEnd]) -> dict[str, float]:
    """Give the CPU seconds of a track: of its decoding, of each signal and of each front end."""
    found: dict[str, float] = {}
    with local_copy(track) as audio:
        found["decode"] = fastest(lambda: bare_decode(audio), time.process_time)
        decoding = Decoding(audio)
        samples = np.concatenate(list(decoding), axis=1)
        facts = decoding.facts(0)
    found[AUDIO_S] = facts.duration_s
    for front in fronts:
        resample = partial(bare_resample, front=front, sr_hz=facts.sr_hz)
        y = np.concatenate(resample([samples]), axis=-1)
        found[signal_text(front)] = fastest_cut(resample, samples)
        found[front.name] = fastest_cut(partial(bare_front_end, front=front), y)
    return found


def disk_bytes_per_s(folder: Path) -> float:
    """Measure what the disk takes, synced, in wall time."""
    block = np.random.default_rng(0).bytes(BLOCK_BYTES)

    def write() -> None:
        with (folder / "blocks").open("wb", buffering=0) as file:
            for _ in range(N_BLOCKS):
                file.write(block)
            os.fsync(file.fileno())

    return BLOCK_BYTES * N_BLOCKS / fastest(write, time.perf_counter)


def empty_commit_s(folder: Path) -> float:
    """Measure the CPU time of a transaction that adds nothing."""
    table = DeltaTable.create(folder, schema=pa.schema([pa.field("track_id", pa.string())]))

    def commit() -> None:
        table.update_incremental()
        table.create_write_transaction([], mode="append", schema=table.schema())

    commit()
    return fastest(commit, time.process_time)


def measure_bare(job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure all limits."""
    out = Path(job["out"])
    out.mkdir()
    fronts = [front_end(name) for name in job["front_ends"]]
    tracks = [track for shard in shards_of(job["audio"]) for track in shard.tracks]
    total: defaultdict[str, float] = defaultdict(float)
    for track in tracks:
        for name, seconds in of_track(track, fronts).items():
            total[name] += seconds
    return {
        AUDIO_S: total.pop(AUDIO_S),
        "cpu_s": dict(total),
        "disk_bytes_per_s": disk_bytes_per_s(out),
        "empty_commit_s": empty_commit_s(out / "table"),
    }


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    figures = measure_bare(json.loads(job_file.read_text()))
    job_file.with_suffix(".result").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
