"""The chunks of a shard that exist as numbers only: when each is full, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embedlib.run.decoding import CHUNK_BYTES
from embedlib.run.events import Decoded, DecodeEnded
from embedlib.run.scenario import SimulatedModel


@dataclass(frozen=True, slots=True)
class _Chunk:
    ends_at_s: float
    audio_s: float
    n_bytes: int
    front_end: str


@dataclass(slots=True)
class Stream:
    """A shard on its way through a decode worker.

    Attributes
    ----------
    decoder_id : str
        The worker.
    slowness : float
        How many times as long as usual it takes.
    dies_at_s : float
        Second of audio at which the decoder is killed; infinite where none lies in wait.
    chunks : list of _Chunk
        In the order in which they are full.
    n_given : int
        Of these.
    """

    decoder_id: str
    slowness: float
    dies_at_s: float
    chunks: list[_Chunk]
    n_given: int = 0

    def chunk_s(self, seq: int) -> float:
        """Tell how much audio the frames of a chunk cover.

        Parameters
        ----------
        seq : int
            Number of the chunk.

        Returns
        -------
        audio_s : float
            Seconds.
        """
        return self.chunks[seq].audio_s

    def advance(self, attempt_id: str) -> tuple[float, Decoded | DecodeEnded | None]:
        """Decode on until the next chunk is full.

        Parameters
        ----------
        attempt_id : str
            Whose stream this is.

        Returns
        -------
        audio_s : float
            Seconds of audio that had to be decoded.
        event : Decoded or DecodeEnded or None
            What comes of it; None when the worker dies.
        """
        seq = self.n_given
        since_s = self.chunks[seq - 1].ends_at_s if seq else 0.0
        if seq == len(self.chunks):
            return 0.0, DecodeEnded(attempt_id)
        chunk = self.chunks[seq]
        if chunk.ends_at_s > self.dies_at_s:
            return max(0.0, self.dies_at_s - since_s), None
        self.n_given += 1
        event = Decoded(attempt_id, seq, chunk.n_bytes, chunk.front_end)
        return chunk.ends_at_s - since_s, event


def stream_of(
    models: Iterable[SimulatedModel],
    *,
    audio_s: float,
    decoder_id: str,
    slowness: float = 1.0,
    dies_at: float | None = None,
) -> Stream:
    """Say which chunks a shard comes to.

    Parameters
    ----------
    models : iterable of SimulatedModel
        Those that it is decoded for.
    audio_s : float
        Seconds of audio of the shard.
    decoder_id : str
        The worker.
    slowness : float
        How many times as long as usual it takes.
    dies_at : float, optional
        Where in the shard the decoder is killed, from 0 to 1.

    Returns
    -------
    stream : Stream
        At its beginning.

    Examples
    --------
    >>> from embedlib.run.scenario import MODELS
    >>> stream = stream_of([MODELS["msd-vgg-1"]], audio_s=240.0, decoder_id="w1")
    >>> [(round(chunk.audio_s, 1), chunk.n_bytes) for chunk in stream.chunks]
    [(174.8, 4194304), (65.2, 1565696)]
    """
    rates = {model.front_end: model.frame_bytes for model in models}
    chunks = [chunk for name, rate in rates.items() for chunk in _chunks(name, rate, audio_s)]
    chunks.sort(key=lambda chunk: chunk.ends_at_s)
    dies_at_s = float("inf") if dies_at is None else dies_at * audio_s
    return Stream(decoder_id, slowness, dies_at_s, chunks)


def _chunks(front_end: str, rate: float, audio_s: float) -> list[_Chunk]:
    """Cut the frames of one front end into full chunks and a rest."""
    full_s = CHUNK_BYTES / rate
    n_full = int(audio_s / full_s)
    rest_s = audio_s - n_full * full_s
    full = [_Chunk((n + 1) * full_s, full_s, CHUNK_BYTES, front_end) for n in range(n_full)]
    rest = _Chunk(audio_s, rest_s, round(rest_s * rate), front_end)
    return [*full, rest] if rest.n_bytes else full
