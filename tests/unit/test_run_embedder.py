"""From chunks of frames to rows, with an engine whose embeddings can be foretold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedlib.config import extract_config
from embedlib.errors import EngineError
from embedlib.features.patches import PatchRule
from embedlib.models.registry import model_spec
from embedlib.models.store import WeightFile
from embedlib.records import DecodedTrack, FeatureChunk, Float32, Segment, Status, Track
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.job import ModelJob
from embedlib.run.prepare import model_job

N_BANDS = 96
N_DIMS = 200
TRACKS = tuple(Track(f"t{number}", f"/t{number}", -1, "") for number in range(3))


class MeanEngine:
    """The mean of a patch, repeated; remembers its batches."""

    name = "mean"

    def __init__(self, n_dims: int = N_DIMS) -> None:
        self.batches: list[Float32] = []
        self._n_dims = n_dims

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        self.batches.append(batch.copy())
        means = batch.reshape(len(batch), -1).mean(axis=1, keepdims=True)
        return (np.repeat(means, self._n_dims, axis=1),)


@pytest.fixture
def job(tmp_path: Path) -> ModelJob:
    """A job with patches of 10 frames, 5 apart, in batches of 4."""
    spec = model_spec("msd-vgg-1")
    file = WeightFile(tmp_path / "none.pb", "ab" * 32, untrained=False)
    config = extract_config({"sources": ["a"], "models": [spec.name], "out": "o"})
    made = model_job(spec, file, config, folder=tmp_path)
    return replace(
        made, rule=PatchRule(10, 5), patch_shape=(10, N_BANDS), n_dims=N_DIMS, batch_size=4
    )


def chunk(*lengths: int, first: int = 0, ended: bool = True) -> FeatureChunk:
    """A chunk of some tracks; the frames of track i hold the value i + 1."""
    values = [np.full((length, N_BANDS), first + i + 1.0) for i, length in enumerate(lengths)]
    segments = tuple(Segment(first + i, length) for i, length in enumerate(lengths))
    ends = tuple(DecodedTrack(segment.index, Status.OK) for segment in segments) if ended else ()
    return FeatureChunk("musicnn-mel", np.concatenate(values).astype(np.float32), segments, ends)


def test_each_track_gets_the_embeddings_of_its_own_patches(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), job)
    embedder.add(chunk(20, 10, 33))
    rows = embedder.rows(TRACKS)
    assert [len(row.patch_embeddings) for row in rows] == [3, 1, 5]
    for number, row in enumerate(rows):
        assert row.track is TRACKS[number]
        assert (row.patch_embeddings == number + 1).all()


def test_starts_of_patches_are_in_milliseconds(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), job)
    embedder.add(chunk(20, 10, 10))
    row = embedder.rows(TRACKS)[0]
    assert row.patch_t0_ms.tolist() == [0, 80, 160]  # 5 frames of 256 samples at 16 kHz


def test_batches_are_filled_across_tracks_and_have_one_shape(job: ModelJob) -> None:
    engine = MeanEngine()
    embedder = ShardEmbedder(engine, job)
    embedder.add(chunk(20, 10, 33))
    embedder.rows(TRACKS)
    assert [batch.shape for batch in engine.batches] == [(4, 10, N_BANDS)] * 3
    assert engine.batches[0][:, 0, 0].tolist() == [1, 1, 1, 2]


def test_the_last_batch_is_filled_up_with_silence(job: ModelJob) -> None:
    engine = MeanEngine()
    embedder = ShardEmbedder(engine, job)
    embedder.add(chunk(20, 10, 33))
    embedder.rows(TRACKS)
    assert not engine.batches[-1][1:].any()


def test_a_track_may_come_in_any_number_of_chunks(job: ModelJob) -> None:
    whole, cut = ShardEmbedder(MeanEngine(), job), ShardEmbedder(MeanEngine(), job)
    whole.add(chunk(23))
    for length in (7, 1, 10):
        cut.add(chunk(length, ended=False))
    cut.add(chunk(5))
    one, other = (embedder.rows(TRACKS[:1])[0] for embedder in (whole, cut))
    assert np.array_equal(one.patch_embeddings, other.patch_embeddings)


def test_a_track_shorter_than_a_patch_is_padded_and_says_so(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), job)
    embedder.add(chunk(4, 10, 10))
    assert [(row.padded, len(row.patch_embeddings)) for row in embedder.rows(TRACKS)] == [
        (True, 1),
        (False, 1),
        (False, 1),
    ]


def test_a_short_track_fails_where_the_rule_discards_it(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), replace(job, rule=PatchRule(10, 5, "discard")))
    embedder.add(chunk(4, 10, 10))
    row = embedder.rows(TRACKS)[0]
    assert (row.decoded.status, row.patch_embeddings) == (Status.TOO_SHORT, None)
    assert "'t0' is shorter than one patch" in row.decoded.error


def test_frames_of_a_track_that_failed_later_are_void(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), job)
    embedder.add(chunk(30, ended=False))
    gone = DecodedTrack(0, Status.TIMEOUT, "too slow")
    embedder.add(FeatureChunk("musicnn-mel", np.empty((0, N_BANDS), np.float32), (), (gone,)))
    (row,) = embedder.rows(TRACKS[:1])
    assert (row.decoded, row.patch_embeddings) == (gone, None)


def test_a_patch_that_is_not_finite_fails_its_track_alone(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), job)
    bad = chunk(10, 10, 10)
    bad.frames[12] = np.inf
    embedder.add(bad)
    assert [row.decoded.status for row in embedder.rows(TRACKS)] == ["ok", "nonfinite", "ok"]


def test_a_lost_chunk_is_an_error_and_no_row(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(), job)
    embedder.add(chunk(10, 10))
    with pytest.raises(EngineError, match="'t2' came without an end"):
        embedder.rows(TRACKS)


def test_an_output_of_another_shape_is_refused(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanEngine(n_dims=50), job)
    with pytest.raises(EngineError, match=r"mean gave \(4, 50\)"):
        embedder.add(chunk(33))
