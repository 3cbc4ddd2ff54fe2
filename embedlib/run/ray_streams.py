"""What decode workers give under Ray: streams of chunks, of which the driver holds references."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import ray

from embedlib.records import DecodeStats, Shard
from embedlib.run.events import AttemptFailed, Decoded, DecodeEnded
from embedlib.run.job import DecodeJob

_AHEAD_ITEMS = 4
"""Items a decoder may be ahead of the driver: two chunks, each with its header."""

_PEEKS = 100
_PEEK_EVERY_S = 0.005


@dataclass(slots=True)
class _Stream:
    decoder_id: str
    items: Any
    n_chunks: int = 0


class Streams:
    """The chunks of all attempts that are being decoded."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._chunks: dict[tuple[str, int], Any] = {}

    def start(
        self, attempt_id: str, *, decoder_id: str, actor: Any, shard: Shard, job: DecodeJob
    ) -> None:
        """Have a shard decoded; nothing is taken before `take`.

        Parameters
        ----------
        attempt_id : str
            The attempt.
        decoder_id : str
            Who decodes.
        actor : ray.actor.ActorHandle
            The same.
        shard : Shard
            What.
        job : DecodeJob
            How.
        """
        items = actor.decode.options(
            num_returns="streaming", _generator_backpressure_num_objects=_AHEAD_ITEMS
        ).remote(shard, job)
        self._streams[attempt_id] = _Stream(decoder_id, items)

    def decoder(self, attempt_id: str) -> str:
        """Say who decodes an attempt.

        Parameters
        ----------
        attempt_id : str
            The attempt.

        Returns
        -------
        decoder_id : str
            Empty when decoding has ended or was given up.
        """
        stream = self._streams.get(attempt_id)
        return stream.decoder_id if stream else ""

    async def take(self, attempt_id: str) -> Decoded | DecodeEnded | AttemptFailed | None:
        """Wait for the next chunk of an attempt that is being decoded.

        Parameters
        ----------
        attempt_id : str
            The attempt.

        Returns
        -------
        event : Decoded, DecodeEnded, AttemptFailed or None
            What came; None when the attempt was given up meanwhile.

        Raises
        ------
        RayError
            If the decoder, or its code, failed instead.
        """
        stream = self._streams[attempt_id]
        try:
            header = await (await anext(stream.items))
        except StopAsyncIteration:  # the item before was the error that ended it
            return AttemptFailed(attempt_id, "decoding ended without its totals")
        if isinstance(header, DecodeStats):
            self._streams.pop(attempt_id, None)
            return DecodeEnded(attempt_id, header)
        chunk = await _next_ref(stream.items)
        if attempt_id not in self._streams:
            return None
        if chunk == stream.items.completed():  # of a decoder that died after the header
            await chunk
        seq = stream.n_chunks
        stream.n_chunks += 1
        self._chunks[attempt_id, seq] = chunk
        return Decoded(attempt_id, seq, header.n_bytes, header.front_end)

    def chunk(self, attempt_id: str, seq: int) -> Any:
        """Give the reference to a chunk.

        Parameters
        ----------
        attempt_id : str
            The attempt.
        seq : int
            Number of the chunk.

        Returns
        -------
        chunk : ray.ObjectRef
            An argument for a call.
        """
        return self._chunks[attempt_id, seq]

    def release(self, attempt_id: str, seq: int) -> None:
        """Let go of a chunk, and with it of its memory.

        Parameters
        ----------
        attempt_id : str
            The attempt.
        seq : int
            Number of the chunk.
        """
        del self._chunks[attempt_id, seq]

    def give_up(self, attempt_id: str, *, is_decoder_there: bool) -> None:
        """Stop decoding; a generator that is merely dropped would run to its end.

        Parameters
        ----------
        attempt_id : str
            The attempt.
        is_decoder_there : bool
            Whether somebody is still to be told.
        """
        stream = self._streams.pop(attempt_id, None)
        if stream and is_decoder_there:
            ray.cancel(stream.items)


async def _next_ref(items: Any) -> Any:
    """Take a reference without its value.

    The `anext` of Ray 2.60 fetches to this node what it has to wait for; all chunks of a cluster
    would pass through the driver's machine. A chunk is there a moment after its header.
    """
    for _ in range(_PEEKS):
        if items.next_ready():
            break
        await asyncio.sleep(_PEEK_EVERY_S)
    return await anext(items)
