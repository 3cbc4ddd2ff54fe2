"""Processes that compact, prune, move and commit at once, and some that die: no row is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from embedlib.tables.reader import open_output
from embedlib.tables.snapshot import read_snapshot
from embedlib.tables.upkeep import compact, vacuum
from embedlib.tables.verify import verify

N_SHARDS = 60
TRACKS_PER_SHARD = 2

WORKER = """
import sys, time
from datetime import timedelta
from pathlib import Path
import numpy as np
from embedlib.catalog.shards import group_shards
from embedlib.features.front_end import front_end
from embedlib.features.patches import PatchRule, patch_starts_ms
from embedlib.records import DecodedTrack, Status, Track, TrackRow
from embedlib.tables.catalog import adopt, read_tracks
from embedlib.tables.commit import Committer
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.move import Move, move_rows
from embedlib.tables.parts import write_part
from embedlib.tables.planned import PlannedTracks
from embedlib.tables.prune import prune_rows
from embedlib.tables.upkeep import compact

out, role = Path(sys.argv[1]), sys.argv[2]
n_tracks, per_shard = map(int, sys.argv[3:])
N_DIMS, N_PATCHES = 64, 20
front = front_end("musicnn-mel")
rule = PatchRule()
n_samples = 16_000
while rule.n_patches(front.n_frames(n_samples)) < N_PATCHES:
    n_samples += 1_600
starts = patch_starts_ms(N_PATCHES, rule=rule, front_end=front, n_samples=n_samples)
manifest = ModelManifest(
    model="tiny", n_dims=N_DIMS, untrained=True, builder_version=1, seed=0, node="n",
    front_end="musicnn-mel", front_end_version=1, sr_hz=16000, resampler="soxr-hq",
    decoder="pyav", patch_frames=187, patch_hop_frames=93, last_patch="tile-short",
    precision="f32", patches=True,
)
listed = [Track(f"t{n:03}", f"/t{n:03}.wav", 320_044, "1") for n in range(n_tracks)]

def row(track):
    rng = np.random.default_rng(list(track.track_id.encode()))
    decoded = DecodedTrack(0, Status.OK, "", n_samples / 16000, 16000, 1, n_samples)
    values = rng.standard_normal((N_PATCHES, N_DIMS), dtype=np.float32)
    return TrackRow(track, decoded, False, starts, values)

def driver(attempt_id):
    plan = adopt(out, listed, sources=["/"], shard_hours=per_shard * 10 / 3600)
    ensure_manifest(out, manifest)
    committer = Committer(out, "tiny")
    for shard in group_shards(plan.tracks):
        part = write_part(out / "tiny", manifest=manifest, shard_id=shard.shard_id,
                          attempt_id=attempt_id, rows=[row(t) for t in shard.tracks],
                          provenance={"engine": "fake", "machine": "here"})
        committer.commit([part])

def upkeep():
    while not (out / "stop").exists():
        compact(out)

def pruner():
    tracks = PlannedTracks()
    tracks.add(read_tracks(out))
    while not (out / "stop").exists():
        prune_rows(out, "tiny", tracks)

def mover():
    moves = [Move(t.track_id, t.version, Track("m" + t.track_id, "/m", 1, "1", shard_id="moved"))
             for t in listed]
    while not (out / "stop").exists():
        move_rows(out, "tiny", moves)

print("ready", flush=True)
{"driver": lambda: driver("1"), "twin": lambda: driver("2"), "compact": upkeep, "prune": pruner,
 "move": mover}[role]()
"""


def start(out: Path, role: str) -> subprocess.Popen[str]:
    sizes = (N_SHARDS * TRACKS_PER_SHARD, TRACKS_PER_SHARD)
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, out, role, *map(str, sizes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(out: Path, *roles: str) -> None:
    """Let drivers run to their end, others until then; none may see an error."""
    workers = {role: start(out, role) for role in roles}
    for role in ("driver", "twin"):
        if role in workers:
            workers[role].wait(timeout=100)
    (out / "stop").touch()
    errors = {role: worker.communicate(timeout=60)[1] for role, worker in workers.items()}
    (out / "stop").unlink()
    assert errors == dict.fromkeys(roles, "")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output that one driver has made alone."""
    out = tmp_path_factory.mktemp("alone")
    finish(out, "driver")
    return out


def begin(out: Path, like: Path) -> Path:
    """Make an output with the catalogue of another, and an empty table."""
    shutil.copytree(like / "catalog", out / "catalog")
    (out / "tiny").mkdir()
    shutil.copy(like / "tiny" / "model.json", out / "tiny")
    return out


def logged(out: Path) -> Iterator[dict[str, object]]:
    for path in sorted((out / "tiny" / "_delta_log").glob("*.json")):
        yield from map(json.loads, path.read_text().splitlines())


@pytest.mark.parametrize("twins", [("driver",), ("driver", "twin")])
def test_drivers_commit_while_the_table_is_compacted(
    tmp_path: Path, undisturbed: Path, twins: tuple[str, ...]
) -> None:
    out = begin(tmp_path, undisturbed)
    finish(out, *twins, "compact", "prune")
    assert sum("remove" in action for action in logged(out)) > 0
    assert rows_of(out) == rows_of(undisturbed)
    assert verify(out).problems == ()


def rows_of(out: Path) -> list[dict[str, object]]:
    table = open_output(out).tracks("tiny").to_arrow()
    return table.sort_by([("track_id", "ascending"), ("shard_id", "ascending")]).to_pylist()


def test_rows_are_moved_once_while_the_table_is_written_and_compacted(
    tmp_path: Path, undisturbed: Path
) -> None:
    out = begin(tmp_path, undisturbed)
    finish(out, "driver", "move", "compact")
    ids = open_output(out).tracks("tiny").track_ids
    assert len(set(ids)) == len(ids)
    assert {name for name in ids if name.startswith("t")} == {
        row["track_id"] for row in rows_of(undisturbed)
    }


@pytest.mark.parametrize("after_s", [0.03, 0.1, 0.2])
def test_a_killed_compaction_leaves_nothing_half(
    tmp_path: Path, undisturbed: Path, after_s: float
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    worker = start(out, "compact")
    assert worker.stdout is not None
    worker.stdout.readline()
    time.sleep(after_s)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    assert (rows_of(out), verify(out).problems) == (rows_of(undisturbed), ())
    compact(out)
    assert len(read_snapshot(out / "tiny").files) == 1
    assert rows_of(out) == rows_of(undisturbed)
    for path in (out / "tiny").glob("*part-*"):
        os.utime(path, (0, 0))
    vacuum(out, keep=timedelta(0))
    assert len(list((out / "tiny").glob("*part-*"))) == 1
