"""The labels of a data set, before they meet a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from embedlib.tasks.task import Task


@dataclass(frozen=True, slots=True)
class LabelledTrack:
    """One track and its class.

    Attributes
    ----------
    name : str
        Id in the catalogue, or path relative to the root of the data set, with ``/``.
    label : str
        One of the classes of the task.
    group : str
        Tracks of one group (artist, recording, uploader) belong together; empty where not known.
    fold : int
        Of the folds that the authors of the data set publish, from 0; -1 where there are none.
    """

    name: str
    label: str
    group: str = ""
    fold: int = -1


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a data set.

    Attributes
    ----------
    tracks : tuple of LabelledTrack
        By name, each name once.
    counts : tuple of (str, int)
        What happened on the way, as ``("excluded as faulty", 70)``, in the order of the rules.
    """

    tracks: tuple[LabelledTrack, ...]
    counts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """What an adapter is asked.

    Attributes
    ----------
    task : Task
        With its options.
    root : Path or None
        Folder of the data set as it is published, or a label manifest; None where the labels are in
        the names of the catalogue.
    track_ids : tuple of str
        Ids of the catalogue, sorted; empty where there is none yet.
    """

    task: Task
    root: Path | None
    track_ids: tuple[str, ...] = ()


Adapter: TypeAlias = Callable[[LabelRequest], LabelSet]
"""Reads the labels of one layout; raises `ConfigError` or `CatalogError` in one line."""
