"""The labelled tracks of a task in an output: its own, and those of an external collection."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from embedlib.errors import ConfigError
from embedlib.tasks.labels import LabelRequest, LabelSet
from embedlib.tasks.match import Matched, catalogue_tracks, match, match_any
from embedlib.tasks.registry import adapter
from embedlib.tasks.task import Task

MANIFEST: Final = "manifest"
"""Adapter of CSV files, which are label manifests whatever the layout of a task."""


def internal(task: Task, labels: str | None, *, out: str) -> Matched:
    """Find the labelled tracks of a task in an output.

    Parameters
    ----------
    task : Task
        The task.
    labels : str or None
        A CSV file is a label manifest; anything else is for the adapter of the task, most often
        the folder of the data set. None where the labels are in the names of the tracks.
    out : str
        Output that holds the tracks.

    Returns
    -------
    matched : Matched
        At least one track.

    Raises
    ------
    ConfigError
        If the labels cannot be taken for this task.
    CatalogError
        If labels are missing or contradict each other, or none is of a track of the output.
    OutputError
        If the output has no catalogue.
    """
    tracks = catalogue_tracks(out)
    ids = tuple(track_id for track_id, _ in tracks)
    return match(task, read_source(task, labels, track_ids=ids), tracks=tracks)


def external(task: Task, source: str | None, *, out: str) -> Matched | None:
    """Find the external labelled tracks of a task in an output.

    Parameters
    ----------
    task : Task
        The task.
    source : str or None
        A CSV file is a label manifest with classes of the task; anything else is for the external
        adapter of the task, most often the folder with the tags.
    out : str
        Output that holds the tracks.

    Returns
    -------
    matched : Matched or None
        None without a source. The cohort is empty where the output holds none of the tracks.

    Raises
    ------
    ConfigError
        If the labels cannot be taken for this task.
    CatalogError
        If labels are missing or contradict each other.
    OutputError
        If the output has no catalogue.
    """
    if source is None:
        return None
    tracks = catalogue_tracks(out)
    ids = tuple(track_id for track_id, _ in tracks)
    return match_any(task, read_external_source(task, source, track_ids=ids), tracks=tracks)


def read_source(task: Task, labels: str | None, *, track_ids: tuple[str, ...] = ()) -> LabelSet:
    """Read the labels of a task.

    Parameters
    ----------
    task : Task
        The task.
    labels : str or None
        As for `internal`.
    track_ids : tuple of str, optional
        Ids of the catalogue, sorted.

    Returns
    -------
    labels : LabelSet
        Whether or not a catalogue holds their tracks.

    Raises
    ------
    ConfigError
        If the labels cannot be taken for this task.
    CatalogError
        If labels are missing or contradict each other.
    """
    return _read(task, task.adapter, labels, track_ids)


def read_external_source(task: Task, source: str, *, track_ids: tuple[str, ...] = ()) -> LabelSet:
    """Read the labels of an external collection.

    Parameters
    ----------
    task : Task
        The task.
    source : str
        As for `external`.
    track_ids : tuple of str, optional
        Ids of the catalogue, sorted.

    Returns
    -------
    labels : LabelSet
        Whether or not a catalogue holds their tracks.

    Raises
    ------
    ConfigError
        If the labels cannot be taken for this task.
    CatalogError
        If labels are missing or contradict each other.
    """
    if task.external is None and not _is_csv(source):
        raise ConfigError(
            f"{task.name} has no mapping of external tags to its classes",
            fix="bring external labels as a CSV file with the columns track_id,label",
        )
    return _read(task, task.external.adapter if task.external else MANIFEST, source, track_ids)


def _read(task: Task, name: str, source: str | None, track_ids: tuple[str, ...]) -> LabelSet:
    root = None if source is None else Path(source).expanduser()
    if source is not None and _is_csv(source):
        name = MANIFEST
    return adapter(name)(LabelRequest(task, root, track_ids))


def _is_csv(source: str) -> bool:
    return source.lower().endswith(".csv")
