"""Where a run is: one record, for the line on the terminal and for whoever looks from afar."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PoolStanding:
    """The workers of one model.

    Attributes
    ----------
    model : str
        Name of its table.
    n_workers, n_idle : int
        Those that are ready, and those of them that have nothing to do.
    n_chunks : int
        Chunks that are with them or wait for them.
    """

    model: str
    n_workers: int
    n_idle: int
    n_chunks: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one plan is.

    Attributes
    ----------
    n_rows, n_done, n_failed : int
        Rows to be made, over all models; those that are written; those of them without embedding.
    statuses : dict of str to int
        How the written ones ended.
    planned_s, audio_s : float
        Seconds of audio that are planned and that were embedded, counted per model.
    elapsed_s : float
        Seconds since the first worker was ready.
    left_s : float or None
        Seconds that it will still take; None before a shard is done.
    bottleneck : str
        What it waits for, in words.
    in_flight_bytes, budget_bytes : int
        Frames between workers, and their limit.
    n_decoders, n_decoding : int
        Decode workers, and those that are at work.
    pools : tuple of PoolStanding
        The workers of each model.
    """

    n_rows: int = 0
    n_done: int = 0
    n_failed: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    planned_s: float = 0.0
    audio_s: float = 0.0
    elapsed_s: float = 0.0
    left_s: float | None = None
    bottleneck: str = ""
    in_flight_bytes: int = 0
    budget_bytes: int = 0
    n_decoders: int = 0
    n_decoding: int = 0
    pools: tuple[PoolStanding, ...] = ()

    @property
    def speed(self) -> float:
        """Seconds of audio per second, counted per model."""
        return self.audio_s / max(self.elapsed_s, 1e-3)

    @property
    def share(self) -> float:
        """How much of the rows is written: 0 to 1."""
        return self.n_done / self.n_rows if self.n_rows else 0.0

    def words(self) -> tuple[str, ...]:
        """Say it in parts, what people need most first; without what binds.

        Returns
        -------
        parts : tuple of str
            Share, failures, time left, rows, and the hours of audio, one per model, with their
            speed.

        Examples
        --------
        >>> Standing(n_rows=8, n_done=2, n_failed=1, audio_s=360.0, elapsed_s=36.0).words()
        ('25%', '1 failed', 'ETA -', '2/8 rows', '0.10 model hours at 10x')
        """
        return (
            f"{self.share:.0%}",
            f"{self.n_failed} failed",
            f"ETA {_clock(self.left_s)}",
            f"{self.n_done}/{self.n_rows} rows",
            f"{self.audio_s / 3600:.2f} model hours at {self.speed:.0f}x",
        )

    def __str__(self) -> str:
        """Say it in one line: its words, and what binds."""
        return "  ".join((*self.words(), self.bottleneck))


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run tells of itself while it works, and how it ended.

    Attributes
    ----------
    run_id : str
        Name of its folder.
    host : str
        Machine, or container, of the driver.
    pid : int
        The driver's process there.
    process_start : str
        When that started, in ticks since the machine did; empty where the system does not tell.
    models : tuple of str
        What it makes.
    started_unix_s, written_unix_s : float
        When the run began, and when this was written.
    n_written : int
        How often it was written: goes up for as long as the run lives.
    ended : str
        Empty while it is under way; then ``done``, the name of a signal, or an error.
    standing : Standing
        How far it is.
    """

    run_id: str
    host: str
    pid: int
    process_start: str
    models: tuple[str, ...]
    started_unix_s: float
    written_unix_s: float
    n_written: int
    ended: str
    standing: Standing

    def to_json(self) -> str:
        """Write it as one JSON object.

        Returns
        -------
        text : str
            With the fields of the record.
        """
        return json.dumps(asdict(self), indent=1) + "\n"


def read_record(text: str) -> RunRecord:
    """Read what `RunRecord.to_json` wrote.

    Parameters
    ----------
    text : str
        A JSON object.

    Returns
    -------
    record : RunRecord
        The same.

    Raises
    ------
    ValueError
        If it is none, or one of another version.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        standing = values["standing"]
        pools = tuple(PoolStanding(**pool) for pool in standing["pools"])
        values |= {"standing": Standing(**standing | {"pools": pools})}
        return RunRecord(**values | {"models": tuple(values["models"])})
    except (TypeError, KeyError) as exc:
        raise ValueError(f"no record of a run: {exc}") from exc


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    left_s = round(seconds)
    return f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}"
