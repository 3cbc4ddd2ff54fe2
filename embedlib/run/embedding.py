"""From chunks of frames to the rows of one model, in batches filled across tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from embedlib.audio.resample import resampled_length
from embedlib.errors import AudioError, EngineError, NonfiniteError, TooShortAudioError
from embedlib.features.front_end import front_end
from embedlib.features.patch_input import patch_input
from embedlib.features.patches import PatchCutter, patch_starts_ms
from embedlib.records import (
    KEPT,
    DecodedTrack,
    FeatureChunk,
    Float32,
    Status,
    Track,
    TrackRow,
)
from embedlib.run.job import ModelJob
from embedlib.run.model import LoadedModel


@dataclass(slots=True)
class _Collected:
    """What is known of one track so far; `vectors` holds one list per output."""

    cutter: PatchCutter
    vectors: list[list[Float32]] = field(default_factory=list)
    decoded: DecodedTrack | None = None
    is_padded: bool = False


class ShardEmbedder:
    """Cut the frames of a shard into patches, embed them, and collect them by track.

    Inputs are gathered across tracks until there are enough for one batch of the job; what is left
    at the end of a shard is less.

    Parameters
    ----------
    model : LoadedModel
        Gives the vectors of a batch.
    job : ModelJob
        How frames become rows.
    """

    def __init__(self, model: LoadedModel, job: ModelJob) -> None:
        self._model = model
        self._job = job
        self._front_end = front_end(job.front_end)
        self._make_input = patch_input(job.patch_input).make
        self._tracks: dict[int, _Collected] = {}
        self._batch = np.zeros((job.batch_size, *job.input_shape), np.float32)
        self._owners: list[int] = []

    def add(self, chunk: FeatureChunk) -> None:
        """Take the next chunk of the shard.

        Parameters
        ----------
        chunk : FeatureChunk
            Of the model's front end; chunks must come in order.
        """
        start = 0
        for segment in chunk.segments:
            frames = chunk.frames[start : start + segment.n_frames]
            start += segment.n_frames
            self._queue(segment.index, self._collected(segment.index).cutter.push(frames))
        for decoded in chunk.ended:
            self._end(decoded)

    def rows(self, tracks: Sequence[Track]) -> list[TrackRow]:
        """Give the rows of the shard, when all its chunks are in.

        Parameters
        ----------
        tracks : sequence of Track
            The tracks of the shard.

        Returns
        -------
        rows : list of TrackRow
            One per track, in the order of `tracks`.

        Raises
        ------
        EngineError
            If a track has not ended: a chunk was lost.
        """
        if self._owners:
            self._run_batch()
        return [self._row(index, track) for index, track in enumerate(tracks)]

    def _collected(self, index: int) -> _Collected:
        if index not in self._tracks:
            self._tracks[index] = _Collected(
                PatchCutter(self._job.rule), [[] for _ in range(self._model.n_outputs)]
            )
        return self._tracks[index]

    def _end(self, decoded: DecodedTrack) -> None:
        track = self._collected(decoded.index)
        track.decoded = decoded
        if decoded.status in KEPT:
            patches, track.is_padded = track.cutter.finish()
            self._queue(decoded.index, patches)

    def _queue(self, index: int, patches: Float32) -> None:
        for patch in patches:
            made = self._make_input(patch)
            self._batch[len(self._owners)] = made.reshape(self._job.input_shape)
            self._owners.append(index)
            if len(self._owners) == len(self._batch):
                self._run_batch()

    def _run_batch(self) -> None:
        for number, vectors in enumerate(self._model(self._batch[: len(self._owners)])):
            for index, of_patch in zip(self._owners, vectors, strict=True):
                self._tracks[index].vectors[number].append(of_patch)
        self._owners.clear()

    def _row(self, index: int, track: Track) -> TrackRow:
        collected = self._tracks.get(index)
        if collected is None or collected.decoded is None:
            raise EngineError(f"track {track.track_id!r} came without an end", fix="run it again")
        decoded = collected.decoded
        if decoded.status not in KEPT:
            return TrackRow(track, decoded)
        try:
            embeddings, *columns = (_joined(vectors, track=track) for vectors in collected.vectors)
        except AudioError as exc:
            failed = replace(decoded, status=Status(exc.status), error=str(exc))
            return TrackRow(track, failed)
        starts_ms = self._starts_ms(len(collected.vectors[0]), decoded)
        return TrackRow(track, decoded, collected.is_padded, starts_ms, embeddings, tuple(columns))

    def _starts_ms(self, n_patches: int, decoded: DecodedTrack) -> np.ndarray:
        sr_hz = self._front_end.sr_hz
        # Nothing was decoded where frames were given by hand.
        n_samples = resampled_length(
            decoded.n_samples, sr_in_hz=decoded.sr_hz or sr_hz, sr_out_hz=sr_hz
        )
        return patch_starts_ms(
            n_patches, rule=self._job.rule, front_end=self._front_end, n_samples=n_samples
        )


def _joined(vectors: list[Float32], *, track: Track) -> Float32:
    """Put the vectors of a track one below the other, or say why there are none."""
    if not vectors:
        raise TooShortAudioError(
            f"{track.track_id!r} is shorter than one patch",
            fix="take last_patch=tile-short to keep it",
        )
    joined = np.concatenate(vectors)
    if not np.isfinite(joined).all():
        raise NonfiniteError(f"an embedding of {track.track_id!r} is not finite")
    return joined
