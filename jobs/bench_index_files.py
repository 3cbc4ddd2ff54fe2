"""Lay out a catalogue of many files, and add to it, in a process of its own.

Run by jobs/bench_index.py: python jobs/bench_index_files.py JOB.json, which leaves JOB.result

The files of the catalogue have a length and nothing in them: a night does not open what has not
changed. Their rows are drawn; catalogue, parts and log are those of the library's own writers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from bench_index_run import config_of
from coverage_catalogue import drawn_row

from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.catalog.listing import list_sources
from embedlib.records import PartResult, Track
from embedlib.run.planning import ready_jobs
from embedlib.tables.catalog import adopt, read_plan
from embedlib.tables.commit import commit_parts
from embedlib.tables.layout import output_root
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part
from embedlib.tables.verify import verify

LAY_OUT, ADD, CHECK = "lay out", "add", "check"
"""What a process does."""

FILES_PER_FOLDER = 1_000
FILE_BYTES = 1_000_000
"""Of the first file, which holds no block of the disk; each further one has a byte more."""

CLIP_S, SR_HZ = 3.0, 16_000

PARTS_PER_COMMIT = 100


def lay_out_files(music: Path, n_files: int) -> None:
    """Make files that have a length and nothing in them."""
    for number in range(n_files):
        path = music / f"{number // FILES_PER_FOLDER:04}" / f"{number:07}.flac"
        if number % FILES_PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.touch()
        os.truncate(path, FILE_BYTES + number)


def lay_out(job: dict[str, Any]) -> dict[str, Any]:
    """Make the files, their catalogue and their rows, as if all had been extracted before."""
    lay_out_files(Path(job["music"]), job["files"])
    config = config_of(job)
    model, root = config.models[0], output_root(config.out)
    adopt(root, list_sources(config.sources), sources=config.sources)
    manifest = ready_jobs(config, out=root).models[model].manifest
    ensure_manifest(root, manifest)
    parts = [write_drawn(root, manifest, *shard) for shard in _by_shard(read_plan(root))]
    for first in range(0, len(parts), PARTS_PER_COMMIT):
        commit_parts(root, model, parts[first : first + PARTS_PER_COMMIT])
    return {"n_rows": sum(part.n_rows for part in parts), "n_parts": len(parts)}


def _by_shard(tracks: Iterable[Track]) -> Iterator[tuple[str, list[Track]]]:
    planned = sorted(tracks, key=lambda track: (track.shard_id, track.track_id))
    for shard_id, some in groupby(planned, key=lambda track: track.shard_id):
        yield shard_id, list(some)


def write_drawn(
    root: Path, manifest: ModelManifest, shard_id: str, tracks: list[Track]
) -> PartResult:
    """Write the part of a shard with drawn embeddings."""
    rng = np.random.default_rng(int(shard_id, 16))
    vectors = rng.standard_normal((len(tracks), manifest.n_dims), dtype=np.float32)
    return write_part(
        root / manifest.model,
        manifest=manifest,
        shard_id=shard_id,
        attempt_id="0",
        rows=[drawn_row(n, track, vectors[n]) for n, track in enumerate(tracks)],
        provenance={"engine": "drawn"},
    )


def add(job: dict[str, Any]) -> dict[str, Any]:
    """Add clips of music made of nothing."""
    folder = Path(job["music"]) / f"new {job['night']}"
    folder.mkdir()
    for number in range(job["new"]):
        seed = job["night"] * job["new"] + number
        clip = synthesise_music(CLIP_S, sr_hz=SR_HZ, n_channels=1, seed=seed, style="drums")
        write_audio(folder / f"{number:04}.flac", clip, sr_hz=SR_HZ)
    return {"n_files": job["new"]}


def check(job: dict[str, Any]) -> dict[str, Any]:
    """Read all rows, and hold them against the catalogue."""
    verified = verify(job["output"])
    return {"problems": [str(problem) for problem in verified.problems]}


STEPS = {LAY_OUT: lay_out, ADD: add, CHECK: check}

if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    job_file.with_suffix(".result").write_text(json.dumps(STEPS[job["step"]](job)))
