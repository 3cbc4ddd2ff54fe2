"""What runs inside the processes that Ray starts; plain classes, made actors by the driver.

Each process imports what its own kind of work needs, and no more: with eight models on two cores
ten processes start at once, and their imports were most of the start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embedlib.records import Crash, DecodeStats, FeatureChunk, PartResult, Shard
from embedlib.run.cores import CoreLease, give_way
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.memory import private_bytes

if TYPE_CHECKING:
    from embedlib.run.calibrate import Measured


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """What the driver needs to know of a chunk: small, so that it travels without the store."""

    n_bytes: int
    front_end: str


class _Watched:
    """A worker that can be asked for its memory, between its calls."""

    def private_bytes(self) -> int:
        """Give the memory that the worker alone holds; see `embedlib.run.memory`."""
        return private_bytes()


class DecodeActor(_Watched):
    """A decode worker: one shard at a time, as a stream of headers and chunks in turn."""

    def __init__(self) -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def load(self) -> None:
        """Answer when ready."""
        from embedlib.run.decoding import decode_shard

        self._decode_shard = decode_shard

    def decode(
        self, shard: Shard, job: DecodeJob
    ) -> Iterator[ChunkHeader | FeatureChunk | DecodeStats]:
        """Decode a shard.

        Parameters
        ----------
        shard : Shard
            What to decode.
        job : DecodeJob
            How.

        Yields
        ------
        item : ChunkHeader, FeatureChunk or DecodeStats
            Each chunk behind its header; at the end what it all took.
        """
        chunks = self._decode_shard(shard, replace(job, is_expendable=True))
        while True:
            try:
                chunk = next(chunks)
            except StopIteration as end:
                yield end.value
                return
            yield ChunkHeader(chunk.frames.nbytes, chunk.front_end)
            yield chunk


class BisectionActor:
    """Searches a shard for tracks that kill their decoder; its child processes die, not itself."""

    def __init__(self) -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def bisect(self, shard: Shard, job: DecodeJob, memory_bytes: int) -> tuple[Crash, ...]:
        """Search a shard; see `bisect_shard`."""
        from embedlib.run.poison import bisect_shard

        return bisect_shard(shard, job, memory_bytes=memory_bytes)


class CalibrationActor:
    """Measures what models cost, one after the other, in a process that is then given up."""

    def __init__(self) -> None:
        self._lease = CoreLease(1)

    def measure(self, job: ModelJob, graph: bytes | str) -> Measured:
        """Measure one model; see `embedlib.run.calibrate.measure`."""
        from embedlib.run.calibrate import measure
        from embedlib.run.model import graph_file

        self._lease.pin()
        return measure(job, graph_file(graph, job))


class ModelActor(_Watched):
    """A model worker, pinned to a core of its own where it has one and one is free."""

    def __init__(self, job: ModelJob, n_cores: int, *, gives_way: bool = False) -> None:
        self._job = job
        self._lease = CoreLease(n_cores) if n_cores else None
        if gives_way:
            give_way()
        if job.device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def load(self, graph: bytes | str) -> bool:
        """Load the model, after the process was bound to its core.

        Parameters
        ----------
        graph : bytes or str
            The verified graph, or its path on this node.

        Returns
        -------
        is_pinned : bool
            Whether the worker sits on the core that it was to have.
        """
        from embedlib.run.model import graph_file
        from embedlib.run.worker import ModelWorker

        is_pinned = self._lease.pin() if self._lease else True
        self._worker = ModelWorker(self._job, graph_file(graph, self._job))
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
    ) -> tuple[PartResult, DecodeStats]:
        """Take a shard the whole way; see `ModelWorker.extract`."""
        decode = replace(decode, is_expendable=True)
        return self._worker.extract(attempt_id, shard, file_attempt, decode)

    def forget(self, attempt_id: str) -> None:
        """Drop an attempt; see `ModelWorker.forget`."""
        self._worker.forget(attempt_id)
