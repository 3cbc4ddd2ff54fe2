"""Real processes race for one output: each row ends up in it once, and nobody sees an error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedlib.catalog.places import place
from embedlib.catalog.stores import Place
from embedlib.tables.catalog import read_plan
from embedlib.tables.manifest import read_manifest
from embedlib.tables.reader import open_output
from embedlib.tables.snapshot import read_snapshot
from embedlib.tables.verify import verify

N_RACERS = 4
N_SHARDS = 20
TRACKS_PER_SHARD = 2
SERVER = Path(__file__).with_name("s3_server.py")

Race = tuple[Place, list[dict[str, list[str]]]]

RACER = """
import json, sys, time
from pathlib import Path
import numpy as np
from embedlib.features.front_end import front_end
from embedlib.features.patches import PatchRule, patch_starts_ms
from embedlib.records import DecodedTrack, Status, Track, TrackRow
from embedlib.catalog.shards import group_shards
from embedlib.catalog.places import place
from embedlib.tables.catalog import adopt
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import Column, ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part

folder, out = Path(sys.argv[1]), place(sys.argv[2])
racer, n_tracks, per_shard = map(int, sys.argv[3:])
starts = patch_starts_ms(
    5, rule=PatchRule(), front_end=front_end("musicnn-mel"), n_samples=160_000
)
activations = Column("activations", 3, ("model/Sigmoid",), "vector", 1)
manifest = ModelManifest(
    model="tiny", n_dims=2, untrained=True, builder_version=1, seed=0, node="n",
    front_end="musicnn-mel", front_end_version=1, sr_hz=16000, resampler="soxr-hq",
    decoder="pyav", patch_frames=187, patch_hop_frames=93, last_patch="tile-short",
    precision="f32", patches=True, n_vectors=2, columns=(activations,),
)
listed = [Track(f"t{n:03}", f"/t{n:03}.wav", 320_044, "1") for n in range(n_tracks)]

def row(track):
    decoded = DecodedTrack(0, Status.OK, "", 10.0, 16000, 1, 160_000)
    embeddings, columns = np.full((10, 2), 0.5, np.float32), (np.ones((5, 3), np.float32),)
    return TrackRow(track, decoded, False, starts, embeddings, columns)

(folder / f"ready-{racer}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)

plan = adopt(out, listed, sources=["/"], shard_hours=per_shard * 10 / 3600)
ensure_manifest(out, manifest)
committed, lost = [], []
shards = group_shards(plan.tracks)
order = shards if racer % 2 else shards[::-1]
for start in range(0, len(order), 3):
    parts = [
        write_part(out / "tiny", manifest=manifest, shard_id=shard.shard_id, attempt_id=f"r{racer}",
                   rows=[row(track) for track in shard.tracks], provenance={})
        for shard in order[start : start + 3]
    ]
    commit = commit_parts(out, "tiny", parts)
    committed += commit.committed
    lost += commit.lost
print(json.dumps({"committed": committed, "lost": lost}))
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server."""
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    line = [sys.executable, str(SERVER), "atomic"]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert server.stdout is not None
        patch.setenv("AWS_ENDPOINT_URL", server.stdout.readline().strip())
        patch.setenv("AWS_ACCESS_KEY_ID", "rightkey")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield "s3://store"
        s3fs.S3FileSystem.clear_instance_cache()
        server.kill()


@pytest.fixture(scope="module", params=["disk", "store"])
def race(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Race:
    """Let several drivers list, adopt, create, write and commit the same catalogue at once."""
    folder = tmp_path_factory.mktemp("race")
    on_disk = request.param == "disk"
    out = place(str(folder / "out") if on_disk else f"{request.getfixturevalue('bucket')}/out")
    n_tracks = N_SHARDS * TRACKS_PER_SHARD
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, folder, *map(str, (out, racer, n_tracks, 2))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for racer in range(N_RACERS)
    ]
    while len(list(folder.glob("ready-*"))) < N_RACERS:
        assert all(racer.poll() is None for racer in racers)
        time.sleep(0.01)
    (folder / "go").touch()
    outcomes = [racer.communicate(timeout=100) for racer in racers]
    assert [stderr for _, stderr in outcomes] == [""] * N_RACERS
    return out, [json.loads(stdout) for stdout, _ in outcomes]


def test_one_catalogue_is_adopted_by_all(race: Race) -> None:
    plan = read_plan(race[0])
    assert len({track.track_id for track in plan}) == len(plan) == N_SHARDS * TRACKS_PER_SHARD


def test_each_row_is_there_once(race: Race) -> None:
    ids = open_output(race[0]).tracks("tiny").track_ids
    assert sorted(ids) == [f"t{number:03}" for number in range(N_SHARDS * TRACKS_PER_SHARD)]


def test_each_shard_has_one_winner_and_every_loser_knows(
    race: Race,
) -> None:
    out, outcomes = race
    won = [shard for outcome in outcomes for shard in outcome["committed"]]
    assert sorted(won) == sorted(read_snapshot(out / "tiny").shard_ids())
    for outcome in outcomes:
        assert sorted(outcome["committed"] + outcome["lost"]) == sorted(won)


def test_the_table_is_created_once(race: Race) -> None:
    logs = [path.read_text() for path in (race[0] / "tiny" / "_delta_log").glob("*.json")]
    assert sum('"metaData"' in line for log in logs for line in log.splitlines()) == 1


def test_losers_leave_no_files(race: Race) -> None:
    out, _ = race
    found = sorted((out / "tiny").glob("*.parquet"), key=str)
    assert tuple(found) == open_output(out).files("tiny")


def test_the_output_of_a_race_verifies(race: Race) -> None:
    report = verify(race[0])
    assert (report.problems, report.notes) == ((), ())
    assert read_manifest(race[0] / "tiny").seed == 0
