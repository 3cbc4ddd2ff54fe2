"""A model worker: attempts beside each other, parts on disk, outputs, graphs on the node."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedlib.audio.decode import AudioLimits
from embedlib.audio.encode import write_audio
from embedlib.audio.synth import synthesise_music
from embedlib.config import extract_config
from embedlib.errors import EngineError, HashMismatchError, ModelError
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, Output
from embedlib.records import DecodedTrack, FeatureChunk, Segment, Shard, Status, Track
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.model import materialise
from embedlib.run.prepare import model_job
from embedlib.run.resolve import Prepared, prepare_models
from embedlib.run.worker import ModelWorker

MODEL = "untrained-msd-musicnn-1"
SHARD = Shard("0a", (Track("a", "/a", 10, "1"), Track("b", "/b", 10, "1")), 6.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """An untrained MusiCNN with its activations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        values = {"sources": ["a"], "models": [MODEL], "out": "o", "outputs": [ACTIVATIONS]}
        (found,) = prepare_models(extract_config(values))
        yield found


@pytest.fixture
def graph(prepared: Prepared) -> Path:
    return prepared.file.path


@pytest.fixture
def job(prepared: Prepared, tmp_path: Path) -> ModelJob:
    folder = tmp_path / "table"
    folder.mkdir()
    return model_job(prepared, folder=folder)


@pytest.fixture
def make_chunk(rng: np.random.Generator) -> Callable[..., FeatureChunk]:
    """One patch of a track, and its end where it ends."""

    def make(index: int, *, status: Status | None = Status.OK) -> FeatureChunk:
        frames = rng.random((187, 96), np.float32)
        ended = () if status is None else (DecodedTrack(index, status, n_samples=48_000),)
        return FeatureChunk("musicnn-mel", frames, (Segment(index, 187),), ended)

    return make


def test_a_part_holds_the_rows_of_its_shard(
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, graph)
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
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, graph)
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
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, graph)
    worker.embed("a0", make_chunk(0, status=None))
    worker.forget("a0")
    worker.forget("never seen")
    for index in (0, 1):
        worker.embed("a0", make_chunk(index))
    assert worker.write("a0", SHARD, "a0").n_patches == 2


def test_frames_that_may_not_be_written_to_are_embedded(
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    # Arrays that come out of Ray's object store are read-only.
    chunk = make_chunk(0)
    chunk.frames.flags.writeable = False
    worker = ModelWorker(job, graph)
    worker.embed("a0", chunk)
    worker.embed("a0", make_chunk(1))
    assert worker.write("a0", SHARD, "a0").n_rows == 2


def test_a_part_holds_the_further_outputs_of_its_model(
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, graph)
    worker.embed("a0", make_chunk(0))
    worker.embed("a0", make_chunk(1, status=Status.TIMEOUT))
    part = worker.write("a0", SHARD, "run-a0")
    good, bad = pq.read_table(Path(job.folder) / part.file_name).to_pylist()
    assert np.shape(good["patch_activations"]) == (1, 50)
    assert good["activations"] == good["patch_activations"][0]
    assert (bad["activations"], bad["patch_activations"]) == (None, None)


def test_extract_takes_a_shard_the_whole_way(job: ModelJob, graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, synthesise_music(4.0, sr_hz=44_100), sr_hz=44_100)
    shard = Shard("0a", (Track("a", str(path), -1, ""), Track("b", "/gone", -1, "")), 4.0)
    limits = AudioLimits(max_duration_s=3600.0, cpu_deadline_s=60.0)
    decode = DecodeJob((job.front_end,), "pyav", "soxr-hq", limits, 1 << 20)
    part, stats = ModelWorker(job, graph).extract("a0", shard, "run-a0", decode)
    assert (part.statuses, part.n_patches) == ((("missing", 1), ("ok", 1)), 1)
    assert (stats.n_decodes, stats.n_resamplings) == (1, 1)
    assert stats.passes == ((job.front_end, 1, 1),)
    assert {"decode", "embed"} <= {name for name, _ in part.stage_s}


def test_a_worker_that_is_warm_holds_no_rows(
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    worker = ModelWorker(job, graph)
    worker.warm_up()
    for index in (0, 1):
        worker.embed("a0", make_chunk(index))
    assert worker.write("a0", SHARD, "a0").n_patches == 2
    assert len(list(Path(job.folder).iterdir())) == 1


def test_a_node_that_is_not_in_the_graph_is_refused(job: ModelJob, graph: Path) -> None:
    gone = Output(EMBEDDINGS, ("model/gone",), 200)
    with pytest.raises(ModelError, match="model/gone"):
        ModelWorker(replace(job, outputs=(gone,)), graph)


def test_a_graph_that_gives_other_lengths_than_its_table_is_refused(
    job: ModelJob, graph: Path, make_chunk: Callable[..., FeatureChunk]
) -> None:
    short = replace(job.outputs[0], n_values=100)
    worker = ModelWorker(replace(job, outputs=(short,)), graph)
    with pytest.raises(EngineError, match=r"model/dense/BiasAdd gave \(1, 200\) .* not \(1, 100\)"):
        worker.embed("a0", make_chunk(0))


@pytest.mark.parametrize("engine", ["openvino", "essentia", "onnxruntime"])
def test_a_graph_that_was_replaced_since_is_refused(
    engine: str, job: ModelJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLIB_CACHE", str(tmp_path / "nothing-kept"))
    path = tmp_path / "graph.pb"
    path.write_bytes(b"another graph")
    with pytest.raises(HashMismatchError, match=r"graph\.pb"):
        ModelWorker(replace(job, engine=engine), path)


def test_a_graph_is_put_on_a_node_under_its_hash(tmp_path: Path) -> None:
    path = materialise(b"graph", folder=tmp_path / "new" / "folder")
    assert path.name == f"{hashlib.sha256(b'graph').hexdigest()}.pb"
    assert path.read_bytes() == b"graph"


def test_a_graph_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    before = materialise(b"graph", folder=tmp_path).stat()
    after = materialise(b"graph", folder=tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(list(tmp_path.iterdir())) == 1
