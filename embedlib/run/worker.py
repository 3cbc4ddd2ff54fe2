"""What a model worker does, in this process or in an actor: one model, loaded once."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedlib.engines.engine import Engine, GraphSpec
from embedlib.engines.load import load_engine
from embedlib.features.front_end import front_end
from embedlib.models.locks import write_atomically
from embedlib.records import (
    DecodedTrack,
    FeatureChunk,
    PartResult,
    Segment,
    Shard,
    Status,
    Track,
)
from embedlib.run.decoding import decode_shard
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.tables.parts import write_part
from embedlib.tables.rows import rows_table


def materialise(data: bytes, *, folder: Path) -> Path:
    """Put a graph on this node under its hash, once, whoever comes first.

    Parameters
    ----------
    data : bytes
        The verified graph.
    folder : Path
        The node's cache; made if absent.

    Returns
    -------
    path : Path
        ``folder/<sha256>.pb``.
    """
    path = folder / f"{hashlib.sha256(data).hexdigest()}.pb"
    if not path.exists():
        write_atomically(path, data)
    return path


def load_job(job: ModelJob, graph: Path) -> Engine:
    """Load the engine of a job.

    Parameters
    ----------
    job : ModelJob
        Which model, and how.
    graph : Path
        The verified graph file.

    Returns
    -------
    engine : Engine
        Ready for batches of ``job.batch_size``.
    """
    spec = GraphSpec(
        path=graph,
        input_node=job.input_node,
        output_nodes=(job.output_node,),
        patch_shape=job.patch_shape,
        batch_size=job.batch_size,
        precision=job.precision,
    )
    return load_engine(job.engine, spec)


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
        self._engine = load_job(job, graph)
        self._shards: dict[str, ShardEmbedder] = {}
        self._embed_s: dict[str, float] = {}

    def warm_up(self) -> None:
        """Take silence the way of a track up to its row, so that no shard is the slow first one.

        Libraries put work off until they are used: it took the first shard 0.2 s.
        """
        front = front_end(self._job.front_end)
        frames = np.zeros((self._job.rule.patch_frames, front.n_bands), np.float32)
        ended = DecodedTrack(0, Status.OK)
        embedder = ShardEmbedder(self._engine, self._job)
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
            self._shards[attempt_id] = ShardEmbedder(self._engine, self._job)
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
        return write_part(
            Path(self._job.folder),
            manifest=self._job.manifest,
            shard_id=shard.shard_id,
            attempt_id=file_attempt,
            rows=rows,
            provenance=dict(self._job.provenance),
            stage_s={"embed": self._embed_s.pop(attempt_id)},
        )

    def extract(
        self, attempt_id: str, shard: Shard, file_attempt: str, decode: DecodeJob
    ) -> PartResult:
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
        """
        started = time.perf_counter()
        for chunk in decode_shard(shard, decode):
            self.embed(attempt_id, chunk)
        decode_s = time.perf_counter() - started - self._embed_s[attempt_id]
        part = self.write(attempt_id, shard, file_attempt)
        return replace(part, stage_s=(("decode", decode_s), *part.stage_s))

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
