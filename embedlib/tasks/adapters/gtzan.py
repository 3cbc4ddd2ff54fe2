"""GTZAN: ``genres/<genre>/<genre>.000NN.wav``, less the tracks that are known to be faulty."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.layouts import track_names
from embedlib.tasks.task import Task

CORRUPT: Final = frozenset({"jazz.00054"})
"""Cannot be decoded in the copies that circulate; the published lists keep it.

Whether it has an embedding is up to the copy: where it has none, it is a labelled track without
one, as any other.
"""

_GENRES = "blues|classical|country|disco|hiphop|jazz|metal|pop|reggae|rock"
_NAME = re.compile(rf"(?:.*/)?((?:{_GENRES})\.\d{{5}})\.(?:wav|au|mp3)")
_FAULTS = Path(__file__).parents[1] / "data" / "gtzan_faults.csv"


def read_labels(request: LabelRequest) -> LabelSet:
    """Read the genres from the names of the files.

    Parameters
    ----------
    request : LabelRequest
        Its root is any folder above the files, which may also lie flat; None: the names are the
        ids of the catalogue. Option ``faults``: ``exclude`` (default) or ``keep`` the 70 tracks
        that are in none of the fault-filtered lists of [1]_.

    Returns
    -------
    labels : LabelSet
        Without groups: the files do not tell who plays.

    Raises
    ------
    CatalogError
        If there is no such file, or a track is there twice.
    ConfigError
        If the option is neither.

    References
    ----------
    .. [1] C. Kereliuk, B. L. Sturm, J. Larsen: Deep learning and music adversaries. IEEE
       Transactions on Multimedia 17 (11), 2015.
    """
    skips = _skips_faults(request.task)
    names = track_names(request)
    tracks = _by_track(names, task=request.task)
    excluded = faults() & tracks.keys() if skips else frozenset()
    kept = [
        LabelledTrack(name, track.partition(".")[0])
        for track, name in tracks.items()
        if track not in excluded
    ]
    counts = (
        ("tracks", len(tracks)),
        ("other files", len(names) - len(tracks)),
        ("excluded as faulty", len(excluded)),
        ("kept, but corrupt in common copies", len(CORRUPT & tracks.keys())),
    )
    return label_set(request.task, kept, counts=counts)


@cache
def faults() -> frozenset[str]:
    """Give the tracks that the lists of Kereliuk, Sturm and Larsen leave out.

    Returns
    -------
    tracks : frozenset of str
        70 of 1,000, as ``jazz.00033``.
    """
    lines = _FAULTS.read_text(encoding="utf-8").splitlines()
    return frozenset(row["track"] for row in csv.DictReader(x for x in lines if x[0] != "#"))


def _skips_faults(task: Task) -> bool:
    choice = task.options.get("faults", "exclude")
    if choice not in ("exclude", "keep"):
        raise ConfigError(
            f"task {task.name}: options.faults={choice!r} is unknown", fix="write exclude or keep"
        )
    return bool(choice == "exclude")


def _by_track(names: Iterable[str], *, task: Task) -> Mapping[str, str]:
    tracks: dict[str, str] = {}
    for track, name in _tracks(names):
        if (first := tracks.setdefault(track, name)) != name:
            raise CatalogError(
                f"task {task.name}: {track} is there twice, as {first!r} and {name!r}",
                fix="name the folder of one copy",
            )
    if not tracks:
        raise CatalogError(
            f"task {task.name}: no file is named as those of GTZAN, such as blues.00000.wav",
            fix="name the folder that holds `genres`",
        )
    return tracks


def _tracks(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if match := _NAME.fullmatch(name):
            yield match[1], name
