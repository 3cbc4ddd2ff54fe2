"""One model put together by hand, every part of the library timed by itself.

Run by jobs/bench.py: python jobs/bench_parts.py JOB.json, which leaves JOB.result

A plain loop over the shards of a run: it calls what a run calls, with the same batches, but knows
no scheduler and no chunks, and commits once. What a run takes beyond these parts is the run's own.
A job names one ``model``, or several ``models``, of which one comes after the other.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from embedlib.audio.decode import Decoding
from embedlib.audio.fetch import local_copy
from embedlib.audio.resample import resampled_length
from embedlib.audio.signals import SignalMixer
from embedlib.catalog.listing import list_sources
from embedlib.catalog.shards import assign_shards, group_shards
from embedlib.config import extract_config
from embedlib.engines.load import load_engine
from embedlib.errors import RunError
from embedlib.features.front_end import FrontEnd, front_end
from embedlib.features.patch_input import patch_input
from embedlib.features.patches import PatchCutter, patch_starts_ms
from embedlib.features.readout import readout
from embedlib.records import DecodedTrack, Float32, PartResult, Shard, Track, TrackRow
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.model import graph_spec
from embedlib.run.prepare import decode_job, model_job
from embedlib.run.resolve import prepare_models
from embedlib.tables.commit import Committer
from embedlib.tables.layout import model_folder
from embedlib.tables.manifest import ensure_manifest
from embedlib.tables.parts import write_part


class Tally:
    """CPU seconds of this process and all its threads by stage, and for what."""

    def __init__(self) -> None:
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        self.audio_s = 0.0
        self.n_patches = self.n_calls = 0

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count what happens inside to a stage."""
        started = time.process_time()
        yield
        self.cpu_s[stage] += time.process_time() - started


class HandMade:
    """The parts of one model, and what they have taken."""

    def __init__(self, job: ModelJob, decode: DecodeJob, graph: Path) -> None:
        self._job = job
        self._decode = decode
        (self._output,) = job.outputs
        self._front_end = front_end(job.front_end)
        self._make = patch_input(job.patch_input).make
        self._read = readout(self._output.readout).read
        self._engine = load_engine(job.engine, graph_spec(job, graph))
        self._batch = np.zeros((job.batch_size, *job.input_shape), np.float32)
        self.tally = Tally()

    def run(self, shards: Sequence[Shard]) -> list[PartResult]:
        """Take shards from files to parts."""
        return [self._part(shard) for shard in shards]

    def _part(self, shard: Shard) -> PartResult:
        rows = self._rows(shard)
        with self.tally.of("write"):
            return write_part(
                Path(self._job.folder),
                manifest=self._job.manifest,
                shard_id=shard.shard_id,
                attempt_id="by-hand",
                rows=rows,
                provenance=dict(self._job.provenance),
            )

    def _rows(self, shard: Shard) -> list[TrackRow]:
        self._owners: list[int] = []
        self._vectors: list[list[Float32]] = [[] for _ in shard.tracks]
        ends = [self._track(index, track) for index, track in enumerate(shard.tracks)]
        if self._owners:
            self._call()
        return [
            self._row(track, *end, vectors)
            for track, end, vectors in zip(shard.tracks, ends, self._vectors, strict=True)
        ]

    def _track(self, index: int, track: Track) -> tuple[DecodedTrack, bool]:
        cutter = PatchCutter(self._job.rule)
        with ExitStack() as opened:
            with self.tally.of("decode"):  # which begins with the hash of the file
                audio = opened.enter_context(local_copy(track))
            decoding = Decoding(audio, limits=self._decode.limits)
            for frames in self._frames(decoding):
                with self.tally.of("cut"):
                    patches = cutter.push(frames)
                self._queue(index, patches)
            with self.tally.of("cut"):
                patches, is_padded = cutter.finish()
            self._queue(index, patches)
            with self.tally.of("decode"):
                return decoding.facts(index), is_padded

    def _frames(self, decoding: Decoding) -> Iterator[Float32]:
        signal, stream = self._front_end.signal, self._front_end.stream()
        mixer = None
        for block in self._blocks(decoding):
            if mixer is None:
                mixer = self._mixer(decoding)
            with self.tally.of("resample"):
                y = mixer.push(block)[signal]
            with self.tally.of("front end"):
                frames = stream.push(y)
            yield frames
        if mixer is not None:
            with self.tally.of("resample"):
                y = mixer.flush()[signal]
            with self.tally.of("front end"):
                frames = np.concatenate([stream.push(y), stream.flush()])
            yield frames

    def _blocks(self, decoding: Decoding) -> Iterator[Float32]:
        blocks = iter(decoding)
        while True:
            with self.tally.of("decode"):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _mixer(self, decoding: Decoding) -> SignalMixer:
        facts = decoding.facts(0)
        return SignalMixer(
            [self._front_end.signal],
            sr_hz=facts.sr_hz,
            n_channels=facts.n_channels,
            resampler=self._decode.resampler,
        )

    def _queue(self, index: int, patches: Float32) -> None:
        for patch in patches:
            with self.tally.of("patch input"):
                made = self._make(patch)
                self._batch[len(self._owners)] = made.reshape(self._job.input_shape)
            self._owners.append(index)
            if len(self._owners) == len(self._batch):
                self._call()

    def _call(self) -> None:
        self._batch[len(self._owners) :] = 0
        with self.tally.of("inference"):
            arrays = self._engine(self._batch)
        with self.tally.of("readout"):
            vectors = self._read(arrays)
        for index, of_patch in zip(self._owners, vectors, strict=False):
            self._vectors[index].append(of_patch)
        self.tally.n_patches += len(self._owners)
        self.tally.n_calls += 1
        self._owners.clear()

    def _row(
        self, track: Track, decoded: DecodedTrack, is_padded: bool, vectors: list[Float32]
    ) -> TrackRow:
        if not vectors:
            raise RunError(
                f"{track.track_id!r} is too short for {self._job.name}",
                fix="leave it out of the benchmark",
            )
        self.tally.audio_s += decoded.duration_s
        sr_hz = self._front_end.sr_hz
        n_samples = resampled_length(decoded.n_samples, sr_in_hz=decoded.sr_hz, sr_out_hz=sr_hz)
        starts_ms = patch_starts_ms(
            len(vectors), rule=self._job.rule, front_end=self._front_end, n_samples=n_samples
        )
        return TrackRow(track, decoded, is_padded, starts_ms, np.concatenate(vectors))


def shards_of(folder: str) -> list[Shard]:
    """Cut a folder into the shards that a run cuts it into."""
    return group_shards(assign_shards(list_sources([folder])))


def signal_text(front: FrontEnd) -> str:
    """Name what a front end listens to."""
    return "{} Hz, {} ch".format(*front.signal)


def measure_parts(job: dict[str, Any]) -> dict[str, Any]:
    """Warm up with other audio, then take each stage's time."""
    values = {"sources": [job["audio"]], "models": [job["model"]], "out": job["out"]}
    config = extract_config({**values, **job["options"]})
    (prepared,) = prepare_models(config)
    own = model_job(prepared, folder=model_folder(job["out"], prepared.instance.table))
    ensure_manifest(job["out"], own.manifest)
    committer = Committer(job["out"], own.name)
    committer.shard_ids()  # creates the table
    parts = HandMade(own, decode_job(config, front_ends=[own.front_end]), prepared.file.path)
    parts.run(shards_of(job["warm_up"]))
    parts.tally = tally = Tally()
    shards = shards_of(job["audio"])
    written = parts.run(shards)
    with tally.of("commit"):
        committer.commit(written)
    return {
        "table": own.name,
        "front_end": own.front_end,
        "signal": signal_text(front_end(own.front_end)),
        "audio_s": tally.audio_s,
        "n_files": sum(len(shard.tracks) for shard in shards),
        "n_shards": len(shards),
        "n_patches": tally.n_patches,
        "n_filled": tally.n_calls * own.batch_size - tally.n_patches,
        "cpu_s": dict(tally.cpu_s),
    }


def main() -> None:
    """Carry out the job that the command line names."""
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    if "models" in job:
        figures = {m: measure_parts({**job, "model": m}) for m in job["models"]}
    else:
        figures = measure_parts(job)
    job_file.with_suffix(".result").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
