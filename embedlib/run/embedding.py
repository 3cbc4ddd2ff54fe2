"""From chunks of frames to the rows of one model, in batches filled across tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from embedlib.engines.engine import Engine
from embedlib.errors import AudioError, EngineError, NonfiniteError, TooShortAudioError
from embedlib.features.front_end import front_end
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


@dataclass(slots=True)
class _Collected:
    """What is known of one track so far."""

    cutter: PatchCutter
    embeddings: list[Float32] = field(default_factory=list)
    decoded: DecodedTrack | None = None
    is_padded: bool = False


class ShardEmbedder:
    """Cut the frames of a shard into patches, embed them, and collect them by track.

    Every call of the engine has the same batch shape, so that an embedding does not depend on
    its neighbours; the last batch of a shard is filled up with silence.

    Parameters
    ----------
    engine : Engine
        Loaded with ``job.batch_size``.
    job : ModelJob
        How frames become rows.
    """

    def __init__(self, engine: Engine, job: ModelJob) -> None:
        self._engine = engine
        self._job = job
        self._front_end = front_end(job.front_end)
        self._tracks: dict[int, _Collected] = {}
        self._batch = np.zeros((job.batch_size, *job.patch_shape), np.float32)
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
            self._tracks[index] = _Collected(PatchCutter(self._job.rule))
        return self._tracks[index]

    def _end(self, decoded: DecodedTrack) -> None:
        track = self._collected(decoded.index)
        track.decoded = decoded
        if decoded.status in KEPT:
            patches, track.is_padded = track.cutter.finish()
            self._queue(decoded.index, patches)

    def _queue(self, index: int, patches: Float32) -> None:
        for patch in patches:
            self._batch[len(self._owners)] = patch.reshape(self._job.patch_shape)
            self._owners.append(index)
            if len(self._owners) == len(self._batch):
                self._run_batch()

    def _run_batch(self) -> None:
        self._batch[len(self._owners) :] = 0
        (outputs,) = self._engine(self._batch)
        if outputs.shape != (len(self._batch), self._job.n_dims):
            raise EngineError(
                f"{self._engine.name} gave {outputs.shape} for node {self._job.output_node!r}, "
                f"not {(len(self._batch), self._job.n_dims)}",
                fix="choose a node with one vector per patch",
            )
        for index, embedding in zip(self._owners, outputs, strict=False):
            self._tracks[index].embeddings.append(embedding)
        self._owners.clear()

    def _row(self, index: int, track: Track) -> TrackRow:
        collected = self._tracks.get(index)
        if collected is None or collected.decoded is None:
            raise EngineError(f"track {track.track_id!r} came without an end", fix="run it again")
        if collected.decoded.status not in KEPT:
            return TrackRow(track, collected.decoded)
        try:
            embeddings = _checked(collected.embeddings, track=track)
        except AudioError as exc:
            failed = replace(collected.decoded, status=Status(exc.status), error=str(exc))
            return TrackRow(track, failed)
        starts_ms = patch_starts_ms(
            len(embeddings),
            hop_frames=self._job.rule.hop_frames,
            hop_samples=self._front_end.hop_samples,
            sr_hz=self._front_end.sr_hz,
        )
        return TrackRow(track, collected.decoded, collected.is_padded, starts_ms, embeddings)


def _checked(embeddings: list[Float32], *, track: Track) -> Float32:
    """Stack the embeddings of a track, or say why there is nothing to stack."""
    if not embeddings:
        raise TooShortAudioError(
            f"{track.track_id!r} is shorter than one patch",
            fix="take last_patch=tile-short to keep it",
        )
    stacked = np.stack(embeddings)
    if not np.isfinite(stacked).all():
        raise NonfiniteError(f"an embedding of {track.track_id!r} is not finite")
    return stacked
