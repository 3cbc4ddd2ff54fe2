"""The vocabulary of the scheduler: events that go in, actions that come out.

An *attempt* is one try to carry one shard through decode and one or more models. Its chunks are
numbered from zero in the order in which the decoder gives them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from embedlib.records import Crash, DecodeStats, PartResult


@dataclass(frozen=True, slots=True)
class DecoderAdded:
    """A decode worker is ready for a shard."""

    decoder_id: str
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class SlotAdded:
    """A model worker has loaded its model and is ready; it may be able to decode as well."""

    slot_id: str
    model: str
    is_decoder: bool = False
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A decode worker or a model worker is gone; nothing it held will come.

    By accident when its node is the reason: that uses up no try.
    """

    worker_id: str
    reason: str
    is_accident: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """The chunk that a `Pull` asked for is there."""

    attempt_id: str
    seq: int
    n_bytes: int
    front_end: str


@dataclass(frozen=True, slots=True)
class DecodeEnded:
    """The decoder has given all chunks of the shard."""

    attempt_id: str
    stats: DecodeStats = field(default_factory=DecodeStats)


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The worker lives but infrastructure failed it (a store, a disk).

    By accident when a node that left took its chunks along: that uses up no try.
    """

    attempt_id: str
    reason: str
    is_accident: bool = False


@dataclass(frozen=True, slots=True)
class Embedded:
    """One model is through with one chunk."""

    attempt_id: str
    seq: int
    model: str


@dataclass(frozen=True, slots=True)
class Written:
    """One model's part of the shard lies on disk, not yet committed.

    `stats` tells of decoding where the worker did that as well.
    """

    attempt_id: str
    part: PartResult
    stats: DecodeStats = field(default_factory=DecodeStats)


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit is settled: these shards are in the table, by whomever."""

    model: str
    shard_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bisected:
    """A shard was searched for tracks that kill their decoder; none, if nobody is to blame.

    It may come unasked, before any worker, with what is known from an earlier run.
    """

    shard_id: str
    crashed: tuple[Crash, ...] = ()


@dataclass(frozen=True, slots=True)
class Outgrown:
    """A worker holds more memory than its share: it is to be replaced when it is free."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Superfluous:
    """A worker has no place in its pool any more: it is to end when it is free."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; what is ready to commit may be committed, what is late done once more.

    `now_s` is that of a clock that starts at 0 with the run; nothing is late where it stands still.
    """

    now_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drain:
    """Somebody wants the run to end: start nothing new, finish what is in flight."""


Event = (
    DecoderAdded
    | SlotAdded
    | WorkerLost
    | Decoded
    | DecodeEnded
    | AttemptFailed
    | Embedded
    | Written
    | Committed
    | Bisected
    | Outgrown
    | Superfluous
    | Tick
    | Drain
)


@dataclass(frozen=True, slots=True)
class Decode:
    """Start to decode the shard but for `skip`; nothing is produced before a `Pull`."""

    attempt_id: str
    shard_id: str
    decoder_id: str
    models: tuple[str, ...]
    skip: tuple[Crash, ...] = ()


@dataclass(frozen=True, slots=True)
class Extract:
    """Take the shard but for `skip` the whole way in one worker, chunk by chunk."""

    attempt_id: str
    shard_id: str
    model: str
    slot_id: str
    skip: tuple[Crash, ...] = ()


@dataclass(frozen=True, slots=True)
class Pull:
    """Take the next chunk of the attempt."""

    attempt_id: str


@dataclass(frozen=True, slots=True)
class Embed:
    """Give the chunk to the model worker."""

    attempt_id: str
    seq: int
    model: str
    slot_id: str


@dataclass(frozen=True, slots=True)
class Release:
    """Nobody needs the chunk any more."""

    attempt_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Write:
    """All chunks are with the model worker: write the part when they are done."""

    attempt_id: str
    shard_id: str
    model: str
    slot_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """The model worker drops what it holds of the attempt."""

    attempt_id: str
    slot_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """The decode worker stops the attempt."""

    attempt_id: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Put these parts into the table of the model, in one transaction."""

    model: str
    parts: tuple[PartResult, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """Make a new worker for the one that was lost."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Bisect:
    """Find out which tracks of the shard kill their decoder, in processes that may die of it."""

    shard_id: str


@dataclass(frozen=True, slots=True)
class Recycle:
    """End this worker, which holds nothing that is wanted, and make a new one."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Dismiss:
    """End this worker, which holds nothing; none takes its place."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete the file of a part, for another attempt at the same was faster."""

    part: PartResult


@dataclass(frozen=True, slots=True)
class Stop:
    """Infrastructure failed beyond its limit; commit nothing more and say why."""

    reason: str


Action = (
    Decode
    | Extract
    | Pull
    | Embed
    | Release
    | Write
    | Forget
    | Cancel
    | Commit
    | Replace
    | Bisect
    | Recycle
    | Dismiss
    | Discard
    | Stop
)
