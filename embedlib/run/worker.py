"""What a model worker does, in this process or in an actor: one model, loaded once."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedlib.catalog.places import place
from embedlib.features.front_end import front_end
from embedlib.records import (
    DecodedTrack,
    DecodeStats,
    FeatureChunk,
    PartResult,
    Segment,
    Shard,
    Status,
    Track,
)
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.model import LoadedModel
from embedlib.run.points import Point, reach
from embedlib.tables.parts import write_part
from embedlib.tables.rows import rows_table


class ModelWorker:
    """One model in one engine, with the shards that are under way.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    graph : Path
        The verified graph file.
    """

    def __init__(self, job: ModelJob, graph: Path) -> None:
        self._job = job
        self._model = LoadedModel(job, graph)
        self._shards: dict[str, ShardEmbedder] = {}
        self._embed_s: dict[str, float] = {}

    def warm_up(self) -> None:
        """Take silence the way of a track up to its row, so that no shard is the slow first one.

        Libraries put work off until they are used: it took the first shard 0.2 s.
        """
        front = front_end(self._job.front_end)
        frames = np.zeros((self._job.rule.patch_frames, front.n_bands), np.float32)
        ended = DecodedTrack(0, Status.OK)
        embedder = ShardEmbedder(self._model, self._job)
        embedder.add(FeatureChunk(front.name, frames, (Segment(0, len(frames)),), (ended,)))
        rows_table(embedder.rows([Track("", "", -1, "")]), manifest=self._job.manifest, shard_id="")

    def embed(self, attempt_id: str, chunk: FeatureChunk) -> None:
        """Embed the next chunk of an attempt.

        Parameters
        ----------
        attempt_id : str
            Whose chunk it is.
        chunk : FeatureChunk
            Chunks of an attempt must come in order.
        """
        started = time.perf_counter()
        if attempt_id not in self._shards:
            self._shards[attempt_id] = ShardEmbedder(self._model, self._job)
        self._shards[attempt_id].add(chunk)
        self._count(attempt_id, started)

    def write(self, attempt_id: str, shard: Shard, file_attempt: str) -> PartResult:
        """Write the part of an attempt whose chunks are all in, and forget the attempt.

        Parameters
        ----------
        attempt_id : str
            Which attempt.
        shard : Shard
            Its tracks, which become the rows.
        file_attempt : str
            Name of the attempt in the file name, unique over all runs.

        Returns
        -------
        part : PartResult
            What lies on disk now, uncommitted.
        """
        started = time.perf_counter()
        rows = self._shards.pop(attempt_id).rows(shard.tracks)
        self._count(attempt_id, started)
        reach(Point.AFTER_INFERENCE, shard.shard_id, self._job.name)
        part = write_part(
            place(self._job.folder),
            manifest=self._job.manifest,
            shard_id=shard.shard_id,
            attempt_id=file_attempt,
            rows=rows,
            provenance=dict(self._job.provenance),
            stage_s={"embed": self._embed_s.pop(attempt_id)},
        )
        reach(Point.PART_WRITTEN, shard.shard_id, self._job.name)
        return part

    def extract(
        self, attempt_id: str, shard: Shard, file_attempt: str, decode: DecodeJob
    ) -> tuple[PartResult, DecodeStats]:
        """Decode a shard, embed it and write its part, one chunk in memory at a time.

        Parameters
        ----------
        attempt_id : str
            Which attempt.
        shard : Shard
            Its tracks, which become the rows.
        file_attempt : str
            Name of the attempt in the file name, unique over all runs.
        decode : DecodeJob
            How audio becomes frames.

        Returns
        -------
        part : PartResult
            What lies on disk now, uncommitted; its ``stage_s`` tells the seconds of decoding too.
        stats : DecodeStats
            What decoding took.
        """
        from embedlib.run.decoding import decode_shard

        chunks = decode_shard(shard, decode)
        try:
            while True:
                self.embed(attempt_id, next(chunks))
        except StopIteration as end:
            stats: DecodeStats = end.value
        part = self.write(attempt_id, shard, file_attempt)
        return replace(part, stage_s=(("decode", stats.decode_s), *part.stage_s)), stats

    def forget(self, attempt_id: str) -> None:
        """Drop what is held of an attempt.

        Parameters
        ----------
        attempt_id : str
            Which attempt.
        """
        self._shards.pop(attempt_id, None)
        self._embed_s.pop(attempt_id, None)

    def _count(self, attempt_id: str, started: float) -> None:
        spent = time.perf_counter() - started
        self._embed_s[attempt_id] = self._embed_s.get(attempt_id, 0.0) + spent
