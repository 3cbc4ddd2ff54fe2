"""A model worker: attempts beside each other, parts on disk, graphs on the node."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedlib.config import extract_config
from embedlib.errors import ModelError
from embedlib.models.registry import model_spec
from embedlib.models.store import WeightFile, locate
from embedlib.records import DecodedTrack, FeatureChunk, Segment, Shard, Status, Track
from embedlib.run.job import ModelJob
from embedlib.run.prepare import model_job
from embedlib.run.worker import ModelWorker, materialise

SHARD = Shard("0a", (Track("a", "/a", 10, "1"), Track("b", "/b", 10, "1")), 6.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> WeightFile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return locate(model_spec("untrained-msd-musicnn-1"))


@pytest.fixture
def job(weights: WeightFile, tmp_path: Path) -> ModelJob:
    config = extract_config({"sources": ["a"], "models": ["m"], "out": "o"})
    folder = tmp_path / "table"
    folder.mkdir()
    return model_job(model_spec("untrained-msd-musicnn-1"), weights, config, folder=folder)


@pytest.fixture
def make_chunk(rng: np.random.Generator) -> Callable[..., FeatureChunk]:
    """One patch of a track, and its end where it ends."""

    def make(index: int, *, status: Status | None = Status.OK) -> FeatureChunk:
        frames = rng.random((187, 96), np.float32)
        ended = () if status is None else (DecodedTrack(index, status, n_samples=48_000),)
        return FeatureChunk("musicnn-mel", frames, (Segment(index, 187),), ended)

    return make


def test_a_part_holds_the_rows_of_its_shard(
    job: ModelJob, weights: WeightFile, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, weights.path)
    worker.embed("a0", make_chunk(0))
    worker.embed("a0", make_chunk(1, status=Status.TRUNCATED))
    part = worker.write("a0", SHARD, "run-a0")
    rows = pq.read_table(Path(job.folder) / part.file_name).to_pylist()
    assert part.file_name == "part-0a-run-a0.parquet"
    assert [(row["track_id"], row["status"], row["n_patches"]) for row in rows] == [
        ("a", "ok", 1),
        ("b", "truncated", 1),
    ]
    assert Counter(dict(part.statuses)) == {"ok": 1, "truncated": 1}
    assert dict(part.stage_s)["embed"] > 0


def test_attempts_beside_each_other_do_not_mix(
    job: ModelJob, weights: WeightFile, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, weights.path)
    chunks = [make_chunk(0), make_chunk(1)]
    for chunk in chunks:
        for attempt in ("a0", "a1"):
            worker.embed(attempt, chunk)
    tables = []
    for attempt in ("a0", "a1"):
        part = worker.write(attempt, SHARD, attempt)
        tables.append(pq.read_table(Path(job.folder) / part.file_name))
    assert tables[0].equals(tables[1])


def test_a_forgotten_attempt_starts_from_nothing(
    job: ModelJob, weights: WeightFile, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, weights.path)
    worker.embed("a0", make_chunk(0, status=None))
    worker.forget("a0")
    worker.forget("never seen")
    for index in (0, 1):
        worker.embed("a0", make_chunk(index))
    assert worker.write("a0", SHARD, "a0").n_patches == 2


def test_frames_that_may_not_be_written_to_are_embedded(
    job: ModelJob, weights: WeightFile, make_chunk: Callable[..., FeatureChunk]
) -> None:
    # Arrays that come out of Ray's object store are read-only.
    chunk = make_chunk(0)
    chunk.frames.flags.writeable = False
    worker = ModelWorker(job, weights.path)
    worker.embed("a0", chunk)
    worker.embed("a0", make_chunk(1))
    assert worker.write("a0", SHARD, "a0").n_rows == 2


def test_a_node_that_is_not_in_the_graph_is_refused(job: ModelJob, weights: WeightFile) -> None:
    with pytest.raises(ModelError, match="model/gone"):
        ModelWorker(replace(job, output_node="model/gone"), weights.path)


def test_a_graph_is_put_on_a_node_under_its_hash(tmp_path: Path) -> None:
    path = materialise(b"graph", folder=tmp_path / "new" / "folder")
    assert path.name == f"{hashlib.sha256(b'graph').hexdigest()}.pb"
    assert path.read_bytes() == b"graph"


def test_a_graph_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    before = materialise(b"graph", folder=tmp_path).stat()
    after = materialise(b"graph", folder=tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(list(tmp_path.iterdir())) == 1
