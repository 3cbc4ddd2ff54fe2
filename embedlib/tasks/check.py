"""What is missing, what does not fit, what is there twice: before any score is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embedlib.catalog.files import local_files
from embedlib.catalog.formats import is_audio_name
from embedlib.errors import ConfigError
from embedlib.tasks.duplicates import NEAR, Duplicate, Tracks, duplicates
from embedlib.tasks.embedded import any_model, read_embedded
from embedlib.tasks.labelling import class_counts
from embedlib.tasks.labels import LabelSet
from embedlib.tasks.loaders import Validation, validate
from embedlib.tasks.match import candidates, catalogue_tracks, match_any
from embedlib.tasks.sources import read_external_source, read_source
from embedlib.tasks.task import Task

_Listed = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SetCheck:
    """What was found of one set of labelled tracks.

    Attributes
    ----------
    n_labelled : int
        Labelled tracks.
    counts : tuple of (str, int)
        What the adapter did on the way.
    classes : tuple of (str, int)
        Labelled tracks of each class.
    n_groups : int
        Groups that are named; 0 where none is.
    n_folds : int
        Published folds; 0 where there are none.
    no_file : tuple of str
        Names without an audio file in the folder; empty where there is no folder, or no audio at
        all in it.
    absent : tuple of str
        Names without a track in the catalogue; empty where no output is given.
    no_embedding : tuple of str
        Ids of tracks without an embedding; empty where no output is given.
    """

    n_labelled: int
    counts: tuple[tuple[str, int], ...]
    classes: tuple[tuple[str, int], ...]
    n_groups: int
    n_folds: int
    no_file: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    no_embedding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """What was found of a task.

    Attributes
    ----------
    task : Task
        Which one.
    model : str
        Table whose embeddings were looked at; empty where no output is given.
    training : SetCheck
        Its own tracks.
    external : SetCheck or None
        Those of the external set, where one is given.
    duplicates : tuple of Duplicate
        Tracks that are there twice.
    n_duplicates : int
        All of them, if more were found than are listed.
    validation : Validation or None
        What the loader of the data set says; None where there is none to ask.
    """

    task: Task
    model: str
    training: SetCheck
    external: SetCheck | None
    duplicates: tuple[Duplicate, ...]
    n_duplicates: int
    validation: Validation | None


def check(
    task: Task,
    *,
    root: str | None,
    out: str | None = None,
    external: str | None = None,
    external_out: str | None = None,
    model: str | None = None,
    near: float = NEAR,
) -> TaskCheck:
    """Hold the labels of a task against its files, against a catalogue, and against themselves.

    Parameters
    ----------
    task : Task
        The task.
    root : str or None
        Folder of the data set, where the audio that labels name is looked for too; or a label
        manifest; None where the labels are in the names of a catalogue.
    out : str, optional
        Output that holds the tracks; without it, embeddings and duplicates are not looked at.
    external : str, optional
        Labels of an external set: a CSV file, or the folder with the tags.
    external_out : str, optional
        Output that holds the external tracks; by default `out`.
    model : str, optional
        Model table to look at; by default the first by name.
    near : float > 0, < 1, optional
        Cosine of embeddings from which on two tracks count as one recording.

    Returns
    -------
    found : TaskCheck
        All that there is to say; nothing is changed.

    Raises
    ------
    ConfigError
        If neither folder nor output is given, or something does not suit the task.
    CatalogError
        If labels or files cannot be read, or labels contradict each other.
    OutputError
        If an output or the model table is not there, or is damaged.
    """
    if root is None and out is None:
        raise ConfigError("there is nothing to check", fix="give a folder, an output, or both")
    place = _place(out, model)
    folder = _folder(root)
    files = _audio_files(folder) if folder else ()
    labels = read_source(task, root, track_ids=_ids(place.listed if place else files))
    training, tracks = _check_set(task, labels, place, files=files)
    others, external_tracks = None, None
    if external is not None:
        place = _place(external_out, place.model if place else model) or place
        labels = read_external_source(task, external, track_ids=_ids(place.listed if place else ()))
        others, external_tracks = _check_set(task, labels, place)
    pairs, n_pairs = ((), 0) if tracks is None else duplicates(tracks, external_tracks, near=near)
    return TaskCheck(
        task=task,
        model=place.model if place else "",
        training=training,
        external=others,
        duplicates=pairs,
        n_duplicates=n_pairs,
        validation=validate(task, folder) if folder else None,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """An output, its tracks, and the model table to look at."""

    out: str
    listed: _Listed
    model: str


def _place(out: str | None, model: str | None) -> _Place | None:
    return None if out is None else _Place(out, catalogue_tracks(out), model or any_model(out))


def _audio_files(folder: Path) -> _Listed:
    listed = local_files(str(folder))
    return tuple((file.name, file.uri) for file in listed if is_audio_name(file.name))


def _folder(root: str | None) -> Path | None:
    """Give the folder of a data set; the one that a manifest lies in may hold anything."""
    path = None if root is None else Path(root).expanduser().absolute()
    return path if path is not None and path.is_dir() else None


def _ids(listed: _Listed) -> tuple[str, ...]:
    return tuple(sorted(track_id for track_id, _ in listed))


def _check_set(
    task: Task, labels: LabelSet, place: _Place | None, *, files: _Listed = ()
) -> tuple[SetCheck, Tracks | None]:
    found = SetCheck(
        n_labelled=len(labels.tracks),
        counts=labels.counts,
        classes=class_counts(task, labels.tracks),
        n_groups=len({track.group for track in labels.tracks} - {""}),
        n_folds=len({track.fold for track in labels.tracks} - {-1}),
        no_file=_without_file(labels, files) if files else (),
    )
    if place is None:
        return found, None
    matched = match_any(task, labels, tracks=place.listed)
    tracks, no_embedding = read_embedded(place.out, place.model, matched.cohort)
    return replace(found, absent=matched.absent, no_embedding=no_embedding), tracks


def _without_file(labels: LabelSet, files: _Listed) -> tuple[str, ...]:
    names = [track.name for track in labels.tracks]
    there = candidates(names, files)
    return tuple(name for name in names if name not in there)
