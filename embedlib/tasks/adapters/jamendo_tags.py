"""MTG-Jamendo: tracks with the tags that stand for a class, as a set that nobody trained on.

The files are tab-separated: ``TRACK_ID ARTIST_ID ALBUM_ID PATH DURATION TAGS``, and every further
cell of a row is one more tag.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from embedlib.catalog.uris import unreadable
from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.layouts import required_root
from embedlib.tasks.task import Task

FILES: Final = ("raw_30s_cleantags_50artists.tsv", "autotagging.tsv")
"""Those with all tags, in the root or in its ``data``; the second is a link to the first."""

HEADER: Final = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
"""Of every file of tracks."""


@dataclass(frozen=True, slots=True)
class TaggedTrack:
    """A row of the file.

    Attributes
    ----------
    path : str
        As ``14/214.mp3``.
    artist : str
        As ``artist_000014``.
    tags : frozenset of str
        As ``genre---punkrock``, with their category.
    """

    path: str
    artist: str
    tags: frozenset[str]


def read_labels(request: LabelRequest) -> LabelSet:
    """Label the tracks with tags of exactly one class.

    Parameters
    ----------
    request : LabelRequest
        Its root is the folder of the data set, its ``data``, or one of the files; its task says
        which tags stand for which class. Option ``jamendo_audio``: ``full`` (``14/214.mp3``) or
        ``low`` (``14/214.low.mp3``); by default what the catalogue has.

    Returns
    -------
    labels : LabelSet
        With artists as groups; it may be empty.

    Raises
    ------
    CatalogError
        If the file is missing, or is not laid out so.
    ConfigError
        If the task has no tags, or the option is unknown.
    """
    tags_of = _tags_of(request.task)
    suffix = _suffix(request)
    tracks = list(read_tracks(_file(required_root(request))))
    classes = [_classes(track, tags_of) for track in tracks]
    found = [
        LabelledTrack(track.path.removesuffix(".mp3") + suffix, names[0], group=track.artist)
        for track, names in zip(tracks, classes, strict=True)
        if len(names) == 1
    ]
    return label_set(request.task, found, counts=_counts(tracks, classes, tags_of=tags_of))


def read_tracks(file: Path) -> Iterator[TaggedTrack]:
    """Read a file of tracks.

    Parameters
    ----------
    file : Path
        Tab-separated.

    Yields
    ------
    track : TaggedTrack
        In the order of the file.

    Raises
    ------
    CatalogError
        If the file is missing, has another header, or a row is too short.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(str(file), exc) from exc
    if tuple(lines[:1]) != ("\t".join(HEADER),):
        raise CatalogError(
            f"{file} does not begin with {' '.join(HEADER)}",
            fix=f"name the data folder of MTG-Jamendo, or its {FILES[0]}",
        )
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) < len(HEADER):
            raise CatalogError(
                f"{file}, line {number}: {len(cells)} cells, not {len(HEADER)} or more",
                fix="download the file again",
            )
        yield TaggedTrack(cells[3], cells[1], frozenset(filter(None, cells[5:])))


def _tags_of(task: Task) -> Mapping[str, frozenset[str]]:
    if task.external is None or not task.external.classes:
        raise ConfigError(
            f"task {task.name} does not say which tags stand for its classes",
            fix="write them under `external.classes`, or bring a label manifest",
        )
    return {name: frozenset(tags) for name, tags in task.external.classes.items()}


def _suffix(request: LabelRequest) -> str:
    low = any(name.endswith(".low.mp3") for name in request.track_ids)
    choice = request.task.options.get("jamendo_audio", "low" if low else "full")
    if choice not in ("full", "low"):
        raise ConfigError(
            f"task {request.task.name}: options.jamendo_audio={choice!r} is unknown",
            fix="write full or low",
        )
    return ".low.mp3" if choice == "low" else ".mp3"


def _file(root: Path) -> Path:
    if root.suffix == ".tsv":
        return root
    candidates = [folder / name for name in FILES for folder in (root, root / "data")]
    if found := [file for file in candidates if os.path.isfile(file)]:
        return found[0]
    raise CatalogError(
        f"{root} has none of the files of MTG-Jamendo: {', '.join(FILES)}",
        fix="name the data folder of MTG/mtg-jamendo-dataset",
    )


def _classes(track: TaggedTrack, tags_of: Mapping[str, frozenset[str]]) -> list[str]:
    return [name for name, tags in tags_of.items() if tags & track.tags]


def _counts(
    tracks: Sequence[TaggedTrack],
    classes: Sequence[Sequence[str]],
    *,
    tags_of: Mapping[str, frozenset[str]],
) -> tuple[tuple[str, int], ...]:
    n_with = Counter(min(len(names), 2) for names in classes)
    wanted = {tag for tags in tags_of.values() for tag in tags}
    return (
        ("tracks", len(tracks)),
        ("dropped, tags of several classes", n_with[2]),
        ("dropped, tags of no class", n_with[0]),
        ("tags that no track has", len(wanted.difference(*(track.tags for track in tracks)))),
    )
