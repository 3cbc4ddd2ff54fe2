"""What is under way: attempts, the chunks that they hold, and the bytes that these may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from embedlib.run.buckets import BucketQueue
from embedlib.run.events import Pull, Release

CHUNKS_PER_ATTEMPT = 4
"""Chunks of one attempt in flight: enough to hide a round trip, few enough to feed all slots."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An attempt as people want to know it.

    Attributes
    ----------
    attempt_id, shard_id : str
        Which.
    stage : {'extract', 'decode', 'embed', 'write'}
        What it waits for; ``extract`` where one worker does all of it.
    worker_id : str
        Who is to do that.
    """

    attempt_id: str
    shard_id: str
    stage: str
    worker_id: str


@dataclass(slots=True)
class Chunk:
    """Frames on their way.

    Attributes
    ----------
    n_bytes : int
        Of the frames.
    waiting : dict of str to str
        Models that are not through with it, each with its slot.
    """

    n_bytes: int
    waiting: dict[str, str]


@dataclass(slots=True)
class Attempt:
    """One try to carry one shard through decode and its models.

    Attributes
    ----------
    attempt_id, shard_id : str
        Which.
    slots : dict of str to str
        Models whose part is not written yet, each with its slot.
    models : frozenset of str
        All models that it began with.
    started_s : float
        Time of the last tick before it began.
    twin_id : str
        The other attempt at the same, where there is one.
    decoder_id : str
        Who decodes; empty where a slot decodes for itself.
    is_decoding, is_pulling : bool
        Whether chunks are still to come, and whether one was asked for.
    chunks : dict of int to Chunk
        What exists of it at this moment.
    """

    attempt_id: str
    shard_id: str
    slots: dict[str, str]
    models: frozenset[str]
    started_s: float = 0.0
    twin_id: str = ""
    decoder_id: str = ""
    is_decoding: bool = False
    is_pulling: bool = False
    chunks: dict[int, Chunk] = field(default_factory=dict)

    @property
    def stage(self) -> tuple[str, str]:
        """What it waits for, and who is to do that; see `UnderWay`."""
        for chunk in self.chunks.values():
            return "embed", chunk.waiting[min(chunk.waiting)]
        if self.is_decoding:
            return "decode", self.decoder_id
        slot_id = next(iter(self.slots.values()))
        return ("write" if self.decoder_id else "extract"), slot_id

    @property
    def writing(self) -> dict[str, str]:
        """Slots that have all chunks behind them and write their part, each with its model."""
        if self.is_decoding or not self.decoder_id:
            return {}
        embedding = {model for chunk in self.chunks.values() for model in chunk.waiting}
        return {slot: model for model, slot in self.slots.items() if model not in embedding}

    @property
    def awaited(self) -> frozenset[str]:
        """All workers that have something to do for it, one of which may be stuck."""
        if self.chunks:
            waiting = (chunk.waiting.values() for chunk in self.chunks.values())
            return frozenset(slot_id for slot_ids in waiting for slot_id in slot_ids)
        return frozenset([self.decoder_id] if self.is_decoding else self.slots.values())


class Flow:
    """The attempts of a run, and the chunks between decoders and models.

    Parameters
    ----------
    budget_bytes : int > 0
        Limit for chunks in flight: those that exist, and the bound of each that was asked for.
    chunk_bytes : int > 0
        Bound on one chunk.
    """

    def __init__(self, *, budget_bytes: int, chunk_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._chunk_bytes = chunk_bytes
        self._hungry = BucketQueue()  # attempts that could do with a chunk
        self._n_waiting: Counter[str] = Counter()  # chunks, by the slot that they wait for
        self.attempts: dict[str, Attempt] = {}
        self.in_flight_bytes = 0

    @property
    def n_waiting(self) -> Mapping[str, int]:
        """Chunks that wait for each slot, the one at work among them, where there are any."""
        return self._n_waiting

    @property
    def n_pulling(self) -> int:
        """Number of attempts whose decoder was asked for a chunk."""
        return sum(attempt.is_pulling for attempt in self.attempts.values())

    def open(self, attempt: Attempt) -> None:
        """Let an attempt begin.

        Parameters
        ----------
        attempt : Attempt
            A new one.
        """
        self.attempts[attempt.attempt_id] = attempt
        self._rank(attempt)

    def close(self, attempt: Attempt) -> list[Release]:
        """Let an attempt end, with all that it holds.

        Parameters
        ----------
        attempt : Attempt
            One that is open.

        Returns
        -------
        actions : list of Release
            For its chunks.
        """
        self.end_decode(attempt)
        released = [action for seq in list(attempt.chunks) for action in self._drop(attempt, seq)]
        del self.attempts[attempt.attempt_id]
        return released

    def end_decode(self, attempt: Attempt) -> None:
        """Expect no more chunks.

        Parameters
        ----------
        attempt : Attempt
            One that is open.
        """
        self._settle(attempt, 0)
        attempt.is_decoding = False
        self._rank(attempt)

    def pull(self) -> list[Pull]:
        """Ask for chunks while they fit, those of the hungriest attempts first.

        Returns
        -------
        actions : list of Pull
            A chunk that does not fit is asked for when there is no other.
        """
        actions: list[Pull] = []
        while attempt_id := self._hungry.first():
            after = self.in_flight_bytes + self._chunk_bytes
            if self.in_flight_bytes and after > self.budget_bytes:
                break
            self.in_flight_bytes = after
            self.attempts[attempt_id].is_pulling = True
            self._hungry.discard(attempt_id)
            actions.append(Pull(attempt_id))
        return actions

    def add(
        self, attempt: Attempt, seq: int, *, n_bytes: int, waiting: dict[str, str]
    ) -> list[Release]:
        """Take the chunk that was asked for.

        Parameters
        ----------
        attempt : Attempt
            Whose chunk it is.
        seq : int
            Its number.
        n_bytes : int
            Its size.
        waiting : dict of str to str
            Models that want it, each with its slot.

        Returns
        -------
        actions : list of Release
            One, if nobody wants it.
        """
        self._settle(attempt, n_bytes)
        attempt.chunks[seq] = Chunk(n_bytes, waiting)
        self._n_waiting.update(waiting.values())
        self._rank(attempt)
        return [] if waiting else self._drop(attempt, seq)

    def done_with(self, attempt: Attempt, seq: int, model: str) -> list[Release]:
        """Note that a model needs a chunk no more.

        Parameters
        ----------
        attempt : Attempt
            Whose chunk it is.
        seq : int
            Its number; one that is gone is left out.
        model : str
            The model.

        Returns
        -------
        actions : list of Release
            One, if nobody else needs it.
        """
        chunk = attempt.chunks.get(seq)
        if chunk is None:
            return []
        if slot_id := chunk.waiting.pop(model, ""):
            self._count_done(slot_id)
        return [] if chunk.waiting else self._drop(attempt, seq)

    def done_with_all(self, attempt: Attempt, model: str) -> list[Release]:
        """Note that a model needs no chunk of an attempt any more.

        Parameters
        ----------
        attempt : Attempt
            The attempt.
        model : str
            The model.

        Returns
        -------
        actions : list of Release
            For the chunks that nobody else needs.
        """
        seqs = list(attempt.chunks)
        return [action for seq in seqs for action in self.done_with(attempt, seq, model)]

    def _drop(self, attempt: Attempt, seq: int) -> list[Release]:
        chunk = attempt.chunks.pop(seq)
        for slot_id in chunk.waiting.values():
            self._count_done(slot_id)
        self.in_flight_bytes -= chunk.n_bytes
        self._rank(attempt)
        return [Release(attempt.attempt_id, seq)]

    def _count_done(self, slot_id: str) -> None:
        self._n_waiting[slot_id] -= 1
        if not self._n_waiting[slot_id]:
            del self._n_waiting[slot_id]

    def _rank(self, attempt: Attempt) -> None:
        """Let the attempt wait for a chunk at the level of those it has, if it may have more."""
        n_chunks = len(attempt.chunks)
        if attempt.is_decoding and not attempt.is_pulling and n_chunks < CHUNKS_PER_ATTEMPT:
            self._hungry.put(attempt.attempt_id, level=n_chunks)
        else:
            self._hungry.discard(attempt.attempt_id)

    def _settle(self, attempt: Attempt, n_bytes: int) -> None:
        """Replace the reservation of a pull by what came."""
        if attempt.is_pulling:
            attempt.is_pulling = False
            self.in_flight_bytes += n_bytes - self._chunk_bytes
