"""The workers of a run, as the scheduler sees them: who is free, who holds what, who is to go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from embedlib.run.buckets import BucketQueue
from embedlib.run.events import DecoderAdded, Dismiss, Recycle, SlotAdded
from embedlib.run.flow import Attempt

ATTEMPTS_PER_SLOT = 2
"""One shard being embedded and one being decoded ahead, so that a model never waits for a start."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much the workers of one kind have to do at this moment.

    Attributes
    ----------
    n_workers : int
        Those that are ready.
    n_busy : int
        Those of them that have something to work on.
    n_chunks : int
        Chunks that are with them or wait for them; none where they decode for themselves.
    """

    n_workers: int = 0
    n_busy: int = 0
    n_chunks: int = 0


class Staff:
    """Decoders and slots, each with the attempts that it holds."""

    def __init__(self) -> None:
        self._decoders: dict[str, str] = {}  # with their attempt, or none
        self._models: dict[str, str] = {}  # by slot
        self._self_decoding: set[str] = set()
        self._nodes: dict[str, str] = {}
        self._idle = BucketQueue()  # decoders without an attempt
        self._held: dict[str, dict[str, None]] = {}  # attempts by slot, in order
        self._free: defaultdict[str, BucketQueue] = defaultdict(BucketQueue)  # slots by model
        self._retiring: dict[str, type[Recycle | Dismiss]] = {}

    # Who is there

    @property
    def n_decoders(self) -> int:
        """Number of decode workers."""
        return len(self._decoders)

    @property
    def can_start(self) -> bool:
        """Whether there may be workers for one more attempt."""
        return bool(self._idle or self._self_decoding) and any(self._free.values())

    def decodes_itself(self, slot_ids: Iterable[str]) -> bool:
        """Say whether slots take a shard the whole way.

        Parameters
        ----------
        slot_ids : iterable of str
            Any.

        Returns
        -------
        decodes_itself : bool
            Whether it is one, and it does.
        """
        slot_ids = tuple(slot_ids)
        return len(slot_ids) == 1 and slot_ids[0] in self._self_decoding

    def n_held(self) -> dict[str, int]:
        """Count the attempts at each model.

        Returns
        -------
        n_held : dict of str to int
            By model.
        """
        counts: dict[str, int] = {}
        for slot_id, held in self._held.items():
            model = self._models[slot_id]
            counts[model] = counts.get(model, 0) + len(held)
        return counts

    def loads(self, n_chunks: Mapping[str, int]) -> dict[str, Load]:
        """Say how much the slots of each model have to do.

        Parameters
        ----------
        n_chunks : mapping of str to int
            Chunks that wait for each slot, where there are any.

        Returns
        -------
        loads : dict of str to Load
            By model; those without a slot are left out.
        """
        slots: defaultdict[str, list[str]] = defaultdict(list)
        for slot_id, model in self._models.items():
            slots[model].append(slot_id)
        return {
            model: Load(
                n_workers=len(slot_ids),
                n_busy=sum(self._is_busy(slot_id, n_chunks) for slot_id in slot_ids),
                n_chunks=sum(n_chunks.get(slot_id, 0) for slot_id in slot_ids),
            )
            for model, slot_ids in slots.items()
        }

    def _is_busy(self, slot_id: str, n_chunks: Mapping[str, int]) -> bool:
        has_shard = slot_id in self._self_decoding and bool(self._held[slot_id])
        return has_shard or slot_id in n_chunks

    # Coming and going

    def add_decoder(self, event: DecoderAdded) -> None:
        """Let a decoder wait for work.

        Parameters
        ----------
        event : DecoderAdded
            Who and where.
        """
        self._decoders[event.decoder_id] = ""
        self._nodes[event.decoder_id] = event.node_id
        self._idle.put(event.decoder_id, level=0)

    def add_slot(self, event: SlotAdded) -> None:
        """Let a slot wait for work.

        Parameters
        ----------
        event : SlotAdded
            Who, where, and for which model.
        """
        self._models[event.slot_id] = event.model
        self._nodes[event.slot_id] = event.node_id
        self._held[event.slot_id] = {}
        if event.is_decoder:
            self._self_decoding.add(event.slot_id)
        self._rank(event.slot_id)

    def lose_decoder(self, worker_id: str) -> str | None:
        """Take out a decoder that is gone.

        Parameters
        ----------
        worker_id : str
            Any worker.

        Returns
        -------
        attempt_id : str or None
            What it was at, perhaps nothing; None where this is no decoder.
        """
        if worker_id not in self._decoders:
            return None
        self._idle.discard(worker_id)
        del self._nodes[worker_id]
        return self._decoders.pop(worker_id)

    def lose_slot(self, worker_id: str) -> tuple[str, tuple[str, ...], bool] | None:
        """Take out a slot that is gone.

        Parameters
        ----------
        worker_id : str
            Any worker.

        Returns
        -------
        loss : tuple of str, tuple of str, bool, or None
            Its model, the attempts it held and whether it was decoding them; None where this is
            no slot.
        """
        if worker_id not in self._models:
            return None
        model = self._models.pop(worker_id)
        was_decoding = worker_id in self._self_decoding
        self._self_decoding.discard(worker_id)
        self._free[model].discard(worker_id)
        del self._nodes[worker_id]
        return model, tuple(self._held.pop(worker_id)), was_decoding

    def is_missed(self, worker_id: str) -> bool:
        """Strike a lost worker from the list of those that are to go.

        Parameters
        ----------
        worker_id : str
            Any worker.

        Returns
        -------
        is_missed : bool
            Whether another one is to take its place.
        """
        return self._retiring.pop(worker_id, Recycle) is Recycle

    def retire(self, worker_id: str, how: type[Recycle | Dismiss]) -> None:
        """Give a worker nothing more to do.

        Parameters
        ----------
        worker_id : str
            Who; one that is not there is left out.
        how : type
            What becomes of it when it holds nothing. A dismissal is not taken back.
        """
        if self._retiring.get(worker_id) is Dismiss:
            return
        if worker_id in self._decoders:
            self._retiring[worker_id] = how
            self._idle.discard(worker_id)
        elif worker_id in self._models:
            self._retiring[worker_id] = how
            self._rank(worker_id)

    def let_go(self) -> list[Recycle | Dismiss]:
        """Let the workers go that were to retire and hold nothing any more.

        Returns
        -------
        actions : list of Recycle or Dismiss
            In the order of their names.
        """
        free = [
            worker_id
            for worker_id in sorted(self._retiring)
            if not (self._decoders.get(worker_id) or self._held.get(worker_id))
        ]
        return list(map(self._remove, free))

    def _remove(self, worker_id: str) -> Recycle | Dismiss:
        if self.lose_decoder(worker_id) is None:
            self.lose_slot(worker_id)
        return self._retiring.pop(worker_id)(worker_id)

    # Work

    def choose_slots(
        self, models: Iterable[str], *, apart_from: frozenset[str] = frozenset()
    ) -> dict[str, str]:
        """Choose the least loaded slot of each model; none where a model has none or all are full.

        Room for one is enough: a cheap model has one slot where a dear one has ten, and what the
        ten can do passes through the one.

        Parameters
        ----------
        models : iterable of str
            The models.
        apart_from : frozenset of str
            Workers that are not to be chosen, nor others of their nodes if there are such.

        Returns
        -------
        slots : dict of str to str
            By model.
        """
        chosen = {}
        for model in sorted(models):
            slot_id = self._first(self._free[model], apart_from)
            if slot_id is None:
                return {}
            chosen[model] = slot_id
        least = min(len(self._held[slot_id]) for slot_id in chosen.values())
        return chosen if least < ATTEMPTS_PER_SLOT else {}

    def choose_decoder(self, *, apart_from: frozenset[str] = frozenset()) -> str | None:
        """Choose the decoder that has been idle for longest.

        Parameters
        ----------
        apart_from : frozenset of str
            Workers that are not to be chosen, nor others of their nodes if there are such.

        Returns
        -------
        decoder_id : str or None
            None where none is idle.
        """
        return self._first(self._idle, apart_from)

    def _first(self, waiting: BucketQueue, apart_from: frozenset[str]) -> str | None:
        if not apart_from:
            return waiting.first()
        others = [name for name in waiting if name not in apart_from]
        node_ids = {self._nodes.get(name) for name in apart_from}
        elsewhere = (name for name in others if self._nodes[name] not in node_ids)
        return next(elsewhere, others[0] if others else None)

    def assign(self, attempt: Attempt) -> None:
        """Give an attempt to its decoder and its slots.

        Parameters
        ----------
        attempt : Attempt
            One whose decoder, if any, is idle.
        """
        if attempt.decoder_id:
            self._decoders[attempt.decoder_id] = attempt.attempt_id
            self._idle.discard(attempt.decoder_id)
        for slot_id in attempt.slots.values():
            self._held[slot_id][attempt.attempt_id] = None
            self._rank(slot_id)

    def end_decode(self, attempt: Attempt) -> None:
        """Take an attempt from its decoder, if that still has it.

        Parameters
        ----------
        attempt : Attempt
            The attempt.
        """
        decoder_id = attempt.decoder_id
        if self._decoders.get(decoder_id) == attempt.attempt_id:
            self._decoders[decoder_id] = ""
            if decoder_id not in self._retiring:
                self._idle.put(decoder_id, level=0)

    def leave(self, attempt: Attempt, model: str) -> None:
        """Take a model out of an attempt, and the attempt out of its slot.

        Parameters
        ----------
        attempt : Attempt
            The attempt.
        model : str
            One of its models; its slot may be gone.
        """
        slot_id = attempt.slots.pop(model)
        if slot_id in self._held:
            del self._held[slot_id][attempt.attempt_id]
            self._rank(slot_id)

    def _rank(self, slot_id: str) -> None:
        """Let the slot wait for work at the level of what it holds."""
        free, n_held = self._free[self._models[slot_id]], len(self._held[slot_id])
        # What queues behind a worker that decodes for itself would be late at the end.
        is_full = n_held and slot_id in self._self_decoding
        if is_full or slot_id in self._retiring:
            free.discard(slot_id)
        else:
            free.put(slot_id, level=n_held)
