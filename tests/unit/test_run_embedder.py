"""From chunks of frames to rows, with a model whose embeddings can be foretold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedlib.config import extract_config
from embedlib.errors import EngineError
from embedlib.features.patch_input import patch_input
from embedlib.features.patches import PatchRule
from embedlib.models.registry import model_spec
from embedlib.models.store import WeightFile
from embedlib.records import DecodedTrack, FeatureChunk, Float32, Segment, Status, Track
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.instances import Instance
from embedlib.run.job import ModelJob
from embedlib.run.prepare import model_job
from embedlib.run.resolve import Prepared

N_BANDS = 96
N_DIMS = 200
TRACKS = tuple(Track(f"t{number}", f"/t{number}", -1, "") for number in range(3))


class MeanModel:
    """The mean of a patch, repeated, once per output; remembers its batches."""

    def __init__(self, n_vectors: tuple[int, ...] = (1,)) -> None:
        self.batches: list[Float32] = []
        self.n_outputs = len(n_vectors)
        self._n_vectors = n_vectors

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        self.batches.append(batch.copy())
        means = batch.reshape(len(batch), 1, -1).mean(axis=2, keepdims=True)
        return tuple(np.tile(means, (1, number, N_DIMS)) for number in self._n_vectors)


@pytest.fixture
def job(tmp_path: Path) -> ModelJob:
    """A job with patches of 10 frames, 5 apart, in batches of 4."""
    spec = model_spec("msd-vgg-1")
    file = WeightFile(tmp_path / "none.pb", "ab" * 32, False, spec.input_node, spec.outputs)
    config = extract_config({"sources": ["a"], "models": [spec.name], "out": "o"})
    prepared = Prepared(Instance(spec.name, spec), config, file, spec.outputs[:1], ())
    made = model_job(prepared, folder=tmp_path)
    return replace(made, rule=PatchRule(10, 5), input_shape=(10, N_BANDS), batch_size=4)


def chunk(*lengths: int, first: int = 0, ended: bool = True) -> FeatureChunk:
    """A chunk of some tracks; the frames of track i hold the value i + 1."""
    values = [np.full((length, N_BANDS), first + i + 1.0) for i, length in enumerate(lengths)]
    segments = tuple(Segment(first + i, length) for i, length in enumerate(lengths))
    ends = tuple(DecodedTrack(segment.index, Status.OK) for segment in segments) if ended else ()
    return FeatureChunk("musicnn-mel", np.concatenate(values).astype(np.float32), segments, ends)


def test_each_track_gets_the_embeddings_of_its_own_patches(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), job)
    embedder.add(chunk(20, 10, 33))
    rows = embedder.rows(TRACKS)
    assert [len(row.patch_embeddings) for row in rows] == [3, 1, 5]
    for number, row in enumerate(rows):
        assert row.track is TRACKS[number]
        assert (row.patch_embeddings == number + 1).all()


def test_starts_of_patches_are_in_milliseconds(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), job)
    embedder.add(chunk(20, 10, 10))
    row = embedder.rows(TRACKS)[0]
    assert row.patch_t0_ms.tolist() == [0, 80, 160]  # 5 frames of 256 samples at 16 kHz


def test_batches_are_filled_across_tracks_and_the_last_holds_what_is_left(job: ModelJob) -> None:
    model = MeanModel()
    embedder = ShardEmbedder(model, job)
    embedder.add(chunk(20, 10, 33))
    embedder.rows(TRACKS)
    assert [batch.shape for batch in model.batches] == [(n, 10, N_BANDS) for n in (4, 4, 1)]
    assert model.batches[0][:, 0, 0].tolist() == [1, 1, 1, 2]


def test_a_track_may_come_in_any_number_of_chunks(job: ModelJob) -> None:
    whole, cut = ShardEmbedder(MeanModel(), job), ShardEmbedder(MeanModel(), job)
    whole.add(chunk(23))
    for length in (7, 1, 10):
        cut.add(chunk(length, ended=False))
    cut.add(chunk(5))
    one, other = (embedder.rows(TRACKS[:1])[0] for embedder in (whole, cut))
    assert np.array_equal(one.patch_embeddings, other.patch_embeddings)


def test_a_track_shorter_than_a_patch_is_padded_and_says_so(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), job)
    embedder.add(chunk(4, 10, 10))
    assert [(row.padded, len(row.patch_embeddings)) for row in embedder.rows(TRACKS)] == [
        (True, 1),
        (False, 1),
        (False, 1),
    ]


def test_a_short_track_fails_where_the_rule_discards_it(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), replace(job, rule=PatchRule(10, 5, "discard")))
    embedder.add(chunk(4, 10, 10))
    row = embedder.rows(TRACKS)[0]
    assert (row.decoded.status, row.patch_embeddings) == (Status.TOO_SHORT, None)
    assert "'t0' is shorter than one patch" in row.decoded.error


def test_frames_of_a_track_that_failed_later_are_void(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), job)
    embedder.add(chunk(30, ended=False))
    gone = DecodedTrack(0, Status.TIMEOUT, "too slow")
    embedder.add(FeatureChunk("musicnn-mel", np.empty((0, N_BANDS), np.float32), (), (gone,)))
    (row,) = embedder.rows(TRACKS[:1])
    assert (row.decoded, row.patch_embeddings) == (gone, None)


def test_a_patch_that_is_not_finite_fails_its_track_alone(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), job)
    bad = chunk(10, 10, 10)
    bad.frames[12] = np.inf
    embedder.add(bad)
    assert [row.decoded.status for row in embedder.rows(TRACKS)] == ["ok", "nonfinite", "ok"]


def test_a_lost_chunk_is_an_error_and_no_row(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(), job)
    embedder.add(chunk(10, 10))
    with pytest.raises(EngineError, match="'t2' came without an end"):
        embedder.rows(TRACKS)


def test_all_vectors_of_a_patch_follow_each_other(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(n_vectors=(3,)), job)
    embedder.add(chunk(20, 10, 10))
    row = embedder.rows(TRACKS)[0]
    assert row.patch_embeddings.shape == (3 * 3, N_DIMS)
    assert len(row.patch_t0_ms) == 3


def test_further_outputs_have_one_vector_for_each_patch(job: ModelJob) -> None:
    embedder = ShardEmbedder(MeanModel(n_vectors=(2, 1, 1)), job)
    embedder.add(chunk(20, 10, 33))
    for number, row in enumerate(embedder.rows(TRACKS)):
        n_patches = len(row.patch_t0_ms)
        assert [column.shape for column in row.columns] == [(n_patches, N_DIMS)] * 2
        assert all((column == number + 1).all() for column in row.columns)


def test_a_track_that_failed_has_no_columns(job: ModelJob) -> None:
    embedder = ShardEmbedder(
        MeanModel(n_vectors=(1, 1)),
        replace(job, rule=PatchRule(30, 5, "discard"), input_shape=(30, N_BANDS)),
    )
    embedder.add(chunk(33, 10))
    kept, failed = embedder.rows(TRACKS[:2])
    assert (len(kept.columns), failed.columns) == (1, ())


def test_zeros_fill_the_last_patch_where_the_rule_pads(job: ModelJob) -> None:
    model = MeanModel()
    embedder = ShardEmbedder(model, replace(job, rule=PatchRule(10, 10, "pad")))
    embedder.add(chunk(24))
    (row,) = embedder.rows(TRACKS[:1])
    assert row.patch_embeddings[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.4])


def test_patches_are_made_into_inputs_of_the_model(job: ModelJob) -> None:
    model = MeanModel()
    tempo = replace(
        job,
        front_end="tempocnn-mel",
        patch_input="tempocnn",
        rule=PatchRule(256, 128),
        input_shape=(40, 256, 1),
    )
    embedder = ShardEmbedder(model, tempo)
    frames = np.random.default_rng(440).random((256, 40), np.float32)
    ends = (DecodedTrack(0, Status.OK),)
    embedder.add(FeatureChunk("tempocnn-mel", frames, (Segment(0, 256),), ends))
    embedder.rows(TRACKS[:1])
    expected = patch_input("tempocnn").make(frames).reshape(40, 256, 1)
    assert np.array_equal(model.batches[0][0], expected)
