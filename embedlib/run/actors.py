"""What runs inside the processes that Ray starts; plain classes, made actors by the driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from embedlib.models.store import cache_folder
from embedlib.records import FeatureChunk, PartResult, Shard
from embedlib.run.cores import CoreLease
from embedlib.run.decoding import decode_shard
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.worker import ModelWorker, materialise


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """What the driver needs to know of a chunk: small, so that it travels without the store."""

    n_bytes: int
    front_end: str


class DecodeActor:
    """A decode worker: one shard at a time, as a stream of headers and chunks in turn."""

    def __init__(self, job: DecodeJob) -> None:
        self._job = job
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def load(self) -> None:
        """Answer when ready."""

    def decode(self, shard: Shard) -> Iterator[ChunkHeader | FeatureChunk]:
        """Decode a shard.

        Parameters
        ----------
        shard : Shard
            What to decode.

        Yields
        ------
        item : ChunkHeader or FeatureChunk
            Each chunk behind its header.
        """
        for chunk in decode_shard(shard, self._job):
            yield ChunkHeader(chunk.frames.nbytes, chunk.front_end)
            yield chunk


class ModelActor:
    """A model worker, pinned to a core of its own where one is free."""

    def __init__(self, job: ModelJob, n_cores: int) -> None:
        self._job = job
        self._lease = CoreLease(n_cores) if n_cores else None
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def load(self, graph: bytes) -> bool:
        """Load the model, after the process was bound to its core.

        Parameters
        ----------
        graph : bytes
            The verified graph.

        Returns
        -------
        is_pinned : bool
            Whether the worker has a core of its own.
        """
        is_pinned = self._lease.pin() if self._lease else False
        self._worker = ModelWorker(self._job, materialise(graph, folder=cache_folder() / "graphs"))
        self._worker.warm_up()
        return is_pinned

    def embed(self, attempt_id: str, chunk: FeatureChunk) -> None:
        """Embed a chunk; see `ModelWorker.embed`."""
        self._worker.embed(attempt_id, chunk)

    def write(self, attempt_id: str, shard: Shard, file_attempt: str) -> PartResult:
        """Write a part; see `ModelWorker.write`."""
        return self._worker.write(attempt_id, shard, file_attempt)

    def extract(
        self, attempt_id: str, shard: Shard, file_attempt: str, decode: DecodeJob
    ) -> PartResult:
        """Take a shard the whole way; see `ModelWorker.extract`."""
        return self._worker.extract(attempt_id, shard, file_attempt, decode)

    def forget(self, attempt_id: str) -> None:
        """Drop an attempt; see `ModelWorker.forget`."""
        self._worker.forget(attempt_id)
