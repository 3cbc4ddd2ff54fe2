"""From labels as a data set writes them to the classes of a task, each track once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.labels import LabelledTrack, LabelSet
from embedlib.tasks.task import Task


def label_set(
    task: Task, found: Iterable[LabelledTrack], *, counts: Iterable[tuple[str, int]] = ()
) -> LabelSet:
    """Give labelled tracks their classes.

    Parameters
    ----------
    task : Task
        Its `labels` say which class a label is; one that is not named there is its own class.
    found : iterable of LabelledTrack
        With labels as the data set writes them, in any order.
    counts : iterable of (str, int), optional
        What happened before.

    Returns
    -------
    labels : LabelSet
        By name. A track that is named again with the same label, group and fold counts once, and
        that is added to the counts.

    Raises
    ------
    ConfigError
        If a label is no class of the task.
    CatalogError
        If a track is named twice with different labels, groups or folds.

    Examples
    --------
    >>> task = Task(name="mood", classes=["glad", "sad"], labels={"happy": "glad"})
    >>> label_set(task, [LabelledTrack("b", "sad"), LabelledTrack("a", "happy")]).tracks[0].label
    'glad'
    """
    by_name: dict[str, LabelledTrack] = {}
    n_again = 0
    for track in found:
        track = replace(track, label=_class_of(task, track))
        first = by_name.setdefault(track.name, track)
        if first != track:
            raise _contradiction(task, first, track)
        n_again += first is not track
    again = [("named again with the same label", n_again)] if n_again else []
    tracks = tuple(by_name[name] for name in sorted(by_name))
    return LabelSet(tracks, (*counts, *again))


def class_counts(task: Task, tracks: Iterable[LabelledTrack]) -> tuple[tuple[str, int], ...]:
    """Count the labelled tracks of each class.

    Parameters
    ----------
    task : Task
        Whose classes.
    tracks : iterable of LabelledTrack
        With classes of the task as labels.

    Returns
    -------
    counts : tuple of (str, int)
        In the order of the classes, those without tracks too.
    """
    n_of = Counter(track.label for track in tracks)
    return tuple((name, n_of[name]) for name in task.classes)


def _class_of(task: Task, track: LabelledTrack) -> str:
    name = task.labels.get(track.label, track.label)
    if name not in task.classes:
        raise ConfigError(
            f"task {task.name}: label {track.label!r} of {track.name!r} is none of its classes",
            fix=f"map it to one of {', '.join(task.classes)} under `labels`, {_other_way(task)}",
        )
    return name


def _other_way(task: Task) -> str:
    if task.adapter == "by-name":
        return "or let `pattern` find only the labels you want"
    return "or correct it"


def _contradiction(task: Task, first: LabelledTrack, second: LabelledTrack) -> CatalogError:
    what, one, other = next(
        (name, before, after)
        for name in ("label", "group", "fold")
        if (before := getattr(first, name)) != (after := getattr(second, name))
    )
    return CatalogError(
        f"task {task.name}: {first.name!r} is labelled twice, with {what} {one!r} and {other!r}",
        fix="remove one of them",
    )
