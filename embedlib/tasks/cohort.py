"""Labelled tracks that a catalogue holds: what folds are made of, whatever the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The labelled tracks of one task in one catalogue, in the order of their ids.

    Attributes
    ----------
    task : str
        Its name.
    classes : tuple of str
        Of the task.
    track_ids : tuple of str
        Sorted.
    y : np.ndarray [shape=(n_tracks,), int64]
        Index into `classes`.
    groups : tuple of str
        One for each track, empty where not known for it; an empty tuple where no track has one.
    folds : tuple of int
        Published folds from 0, one for each track; an empty tuple where there are none.
    """

    task: str
    classes: tuple[str, ...]
    track_ids: tuple[str, ...]
    y: Int
    groups: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.track_ids)

    @property
    def cohort_id(self) -> str:
        """Name of these tracks, labels, groups and folds: a hash of them."""
        content = [self.classes, self.track_ids, self.y.tolist(), self.groups, self.folds]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def units(self) -> Int:
        """Number of the group of each track, from 0 [shape=(n_tracks,)]; alone without a group."""
        names = self.groups or ("",) * len(self)
        keys = [
            (group, "") if group else ("", track)
            for group, track in zip(names, self.track_ids, strict=True)
        ]
        numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
        return np.array([numbers[key] for key in keys], dtype=np.int64)
