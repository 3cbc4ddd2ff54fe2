"""What the parts of a run hold, and what decoding them took, counted from its events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from embedlib.records import KEPT, DecodeStats
from embedlib.run.events import Committed, DecodeEnded, Event, SlotAdded, Written
from embedlib.run.job import ModelJob


class Tally:
    """Counts over the events of one plan, to which those of others may be added.

    Parameters
    ----------
    jobs : mapping of str to ModelJob
        The models of the plan, by name of the table.

    Attributes
    ----------
    statuses : Counter of str
        Rows by how they ended, over all models.
    n_patches : int
        Over all models.
    audio_s : float
        Seconds of audio behind the rows, counted per model.
    done : Counter of str
        ``decodes``, ``resamplings`` and ``front_end_passes``.
    separately : Counter of str
        The same, had each model been run alone.
    worked_s : float
        Seconds from the first worker that was ready to the last commit.
    """

    def __init__(self, jobs: Mapping[str, ModelJob]) -> None:
        self._front_ends = {name: job.front_end for name, job in jobs.items()}
        self._stats: dict[str, DecodeStats] = {}
        self.statuses: Counter[str] = Counter()
        self.n_patches = 0
        self.audio_s = 0.0
        self.done: Counter[str] = Counter()
        self.separately: Counter[str] = Counter()
        self.worked_s = 0.0
        self._ready_s: float | None = None

    @property
    def n_failed(self) -> int:
        """Rows without an embedding."""
        return sum(n for status, n in self.statuses.items() if status not in KEPT)

    def observe(self, event: Event) -> None:
        """Count what has happened.

        Parameters
        ----------
        event : Event
            What.
        """
        match event:
            case SlotAdded() if self._ready_s is None:
                self._ready_s = time.monotonic()
            case Committed() if self._ready_s is not None:
                self.worked_s = time.monotonic() - self._ready_s
            case DecodeEnded(attempt_id, stats):
                self._decoded(attempt_id, stats)
            case Written(attempt_id, part, stats):
                if stats.n_decodes:
                    self._decoded(attempt_id, stats)
                self.statuses.update(dict(part.statuses))
                self.n_patches += part.n_patches
                self.audio_s += part.audio_s
                self._count_alone(attempt_id, self._front_ends[part.model])

    def add(self, other: Tally) -> None:
        """Count what another tally has.

        Parameters
        ----------
        other : Tally
            Of another plan.
        """
        self.statuses.update(other.statuses)
        self.n_patches += other.n_patches
        self.audio_s += other.audio_s
        self.done.update(other.done)
        self.separately.update(other.separately)
        self.worked_s += other.worked_s

    def saved(self) -> dict[str, int]:
        """Give what separate runs of the same models would have done beside.

        Returns
        -------
        saved : dict of str to int
            By the keys of `done`.
        """
        return {name: self.separately[name] - done for name, done in self.done.items()}

    def _decoded(self, attempt_id: str, stats: DecodeStats) -> None:
        self._stats[attempt_id] = stats
        self.done["decodes"] += stats.n_decodes
        self.done["resamplings"] += stats.n_resamplings
        self.done["front_end_passes"] += sum(n_tracks for _, n_tracks, _ in stats.passes)

    def _count_alone(self, attempt_id: str, front_end: str) -> None:
        """Add what a run of this model alone would have taken."""
        stats = self._stats.get(attempt_id, DecodeStats())
        self.separately["decodes"] += stats.n_decodes
        for name, n_tracks, n_resamplings in stats.passes:
            if name == front_end:
                self.separately["resamplings"] += n_resamplings
                self.separately["front_end_passes"] += n_tracks
