"""Music Audio Benchmark Data Set (Dortmund): ``<genre>/<artist>-<title>.mp3``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from embedlib.errors import CatalogError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.layouts import track_names

_GENRES = "alternative|blues|electronic|folkcountry|funksoulrnb|jazz|pop|raphiphop|rock"
# Artist and title hold letters, digits and underscores alone, so that the hyphen is the border.
_NAME = re.compile(rf"(?:.*/)?({_GENRES})/([^/-]+)-[^/]*\.\w+")


def read_labels(request: LabelRequest) -> LabelSet:
    """Read the genres from the folders of the files.

    Parameters
    ----------
    request : LabelRequest
        Its root holds the folders of the nine genres; None: they are in the ids of the catalogue.

    Returns
    -------
    labels : LabelSet
        With artists as groups, as the names of the files tell them.

    Raises
    ------
    CatalogError
        If there is no such file.
    """
    names = track_names(request)
    found = list(_labelled(names))
    if not found:
        raise CatalogError(
            f"task {request.task.name}: no file is named as jazz/Artist-Title.mp3",
            fix="name the folder that holds those of the nine genres",
        )
    counts = (("tracks", len(found)), ("other files", len(names) - len(found)))
    return label_set(request.task, found, counts=counts)


def _labelled(names: tuple[str, ...]) -> Iterator[LabelledTrack]:
    for name in names:
        if match := _NAME.fullmatch(name):
            yield LabelledTrack(name, match[1], group=match[2])
