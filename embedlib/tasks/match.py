"""Labelled tracks and the catalogue that holds them: which is which, and what is absent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from embedlib.errors import CatalogError
from embedlib.tables.catalog import read_tracks
from embedlib.tables.layout import OutLike
from embedlib.tasks.cohort import Cohort
from embedlib.tasks.labels import LabelledTrack, LabelSet
from embedlib.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Matched:
    """The labelled tracks of a task that a catalogue holds.

    Attributes
    ----------
    cohort : Cohort
        Those that it holds.
    n_labelled : int
        All labelled tracks.
    absent : tuple of str
        Names of labelled tracks that it does not hold, sorted.
    counts : tuple of (str, int)
        What happened while the labels were read, see `LabelSet`.
    """

    cohort: Cohort
    n_labelled: int
    absent: tuple[str, ...]
    counts: tuple[tuple[str, int], ...] = ()

    @property
    def absence(self) -> str:
        """How many are absent, with one of them; empty where none is."""
        if not self.absent:
            return ""
        return (
            f"{len(self.absent)} of {self.n_labelled} labelled tracks are not in the catalogue, "
            f"such as {self.absent[0]!r}"
        )


def catalogue_tracks(out: OutLike) -> tuple[tuple[str, str], ...]:
    """List the tracks of an output.

    Parameters
    ----------
    out : str or path-like
        An output folder.

    Returns
    -------
    tracks : tuple of (str, str)
        Id and URI of each, in the order of the ids.

    Raises
    ------
    OutputError
        If there is no catalogue, or it is damaged.
    """
    return tuple(sorted((track.track_id, track.uri) for track in read_tracks(out)))


def match(task: Task, labels: LabelSet, *, tracks: Iterable[tuple[str, str]]) -> Matched:
    """Find the labelled tracks in a catalogue.

    Parameters
    ----------
    task : Task
        What they are labelled for.
    labels : LabelSet
        Their names and classes.
    tracks : iterable of (str, str)
        Id and URI of the tracks of the catalogue.

    Returns
    -------
    matched : Matched
        A name stands for the track that has it as id, else for the one whose id or URI ends in
        ``/`` and the name.

    Raises
    ------
    CatalogError
        If a name stands for several tracks, two names with different labels for one, only some
        tracks have a published fold, or nothing matches.

    Examples
    --------
    >>> task = Task(name="mood", classes=["glad", "sad"])
    >>> labels = LabelSet((LabelledTrack("a.wav", "sad"), LabelledTrack("b.wav", "glad")))
    >>> matched = match(task, labels, tracks=[("x/a.wav", "/music/x/a.wav")])
    >>> matched.cohort.track_ids, matched.absent
    (('x/a.wav',), ('b.wav',))
    """
    listed = tuple(tracks)
    matched = match_any(task, labels, tracks=listed)
    if not len(matched.cohort):
        labelled = f"such as {labels.tracks[0].name!r}" if labels.tracks else "there are none"
        there = f"such as {listed[0][0]!r}" if listed else "it is empty"
        raise CatalogError(
            f"task {task.name}: no labelled track ({labelled}) is in the catalogue ({there})",
            fix="let the labels name tracks by their ids, or by the last parts of their paths",
        )
    return matched


def match_any(task: Task, labels: LabelSet, *, tracks: Iterable[tuple[str, str]]) -> Matched:
    """Do what `match` does, but let nothing match.

    Parameters
    ----------
    task : Task
        What they are labelled for.
    labels : LabelSet
        Their names and classes.
    tracks : iterable of (str, str)
        Id and URI of the tracks of the catalogue.

    Returns
    -------
    matched : Matched
        Its cohort may be empty.

    Raises
    ------
    CatalogError
        If a name stands for several tracks, two names with different labels for one, or only some
        tracks have a published fold.
    """
    id_of = find_names([track.name for track in labels.tracks], tracks)
    found: dict[str, LabelledTrack] = {}
    for track in labels.tracks:
        if track.name in id_of:
            _add(found, id_of[track.name], track)
    absent = tuple(sorted(track.name for track in labels.tracks if track.name not in id_of))
    return Matched(_cohort(task, found), len(labels.tracks), absent, labels.counts)


def find_names(names: Iterable[str], tracks: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Find the track that each name stands for.

    Parameters
    ----------
    names : iterable of str
        Ids, or paths with ``/``.
    tracks : iterable of (str, str)
        Id and URI.

    Returns
    -------
    ids : dict of str to str
        By name; names that stand for no track are left out.

    Raises
    ------
    CatalogError
        If a name stands for several tracks.
    """
    return {name: _only(name, ids) for name, ids in candidates(names, tracks).items()}


def candidates(
    names: Iterable[str], tracks: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, ...]]:
    """Find the tracks that each name may stand for.

    Parameters
    ----------
    names : iterable of str
        Ids, or paths with ``/``.
    tracks : iterable of (str, str)
        Id and URI; read once, and only those that may be meant are kept.

    Returns
    -------
    ids : dict of str to tuple of str
        By name: the track with that id, else those whose id or URI ends in ``/`` and the name,
        sorted. Names that stand for no track are left out.

    Examples
    --------
    >>> candidates(["a.wav"], [("x/a.wav", "/m/x/a.wav"), ("y/a.wav", "/m/y/a.wav")])
    {'a.wav': ('x/a.wav', 'y/a.wav')}
    """
    wanted = dict.fromkeys(names)
    last_parts = {_last_part(name) for name in wanted}
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for track_id, uri in tracks:
        for last in {_last_part(track_id), _last_part(uri)} & last_parts:
            alike[last][track_id] = uri
    found = {name: _meant_by(name, alike[_last_part(name)]) for name in wanted}
    return {name: ids for name, ids in found.items() if ids}


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]


def _meant_by(name: str, uri_of: Mapping[str, str]) -> tuple[str, ...]:
    if name in uri_of:
        return (name,)
    end = f"/{name}"
    return tuple(sorted(i for i, uri in uri_of.items() if i.endswith(end) or uri.endswith(end)))


def _only(name: str, ids: tuple[str, ...]) -> str:
    if len(ids) > 1:
        raise CatalogError(
            f"{name!r} stands for {len(ids)} tracks, such as {ids[0]!r} and {ids[1]!r}",
            fix="let the labels name the tracks by their ids",
        )
    return ids[0]


def _add(found: dict[str, LabelledTrack], track_id: str, track: LabelledTrack) -> None:
    first = found.setdefault(track_id, track)
    if (first.label, first.group, first.fold) != (track.label, track.group, track.fold):
        raise CatalogError(
            f"{first.name!r} and {track.name!r} are both {track_id!r}, "
            "and their labels, groups or folds differ",
            fix="keep one of them",
        )


def _cohort(task: Task, found: Mapping[str, LabelledTrack]) -> Cohort:
    ids = tuple(sorted(found))
    tracks = [found[track_id] for track_id in ids]
    number = {name: index for index, name in enumerate(task.classes)}
    groups = tuple(track.group for track in tracks)
    return Cohort(
        task=task.name,
        classes=tuple(task.classes),
        track_ids=ids,
        y=np.array([number[track.label] for track in tracks], dtype=np.int64),
        groups=groups if any(groups) else (),
        folds=_folds(tracks),
    )


def _folds(tracks: Iterable[LabelledTrack]) -> tuple[int, ...]:
    by_name = {track.name: track.fold for track in tracks}
    without = [name for name, fold in by_name.items() if fold < 0]
    if len(without) == len(by_name):
        return ()
    if without:
        raise CatalogError(
            f"{without[0]!r} has no fold, others have", fix="give all tracks a fold, or none"
        )
    return tuple(by_name.values())
