"""UrbanSound8K: ``metadata/UrbanSound8K.csv`` and ``audio/fold<N>/<slice_file_name>``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from embedlib.catalog.manifest_rows import Columns, Line, read_lines
from embedlib.errors import CatalogError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet
from embedlib.tasks.layouts import required_root

METADATA: Final = "metadata/UrbanSound8K.csv"
"""Relative to the root of the data set."""

_COLUMNS = Columns(required=("slice_file_name", "fsID", "fold", "class"), optional=())
_FOLDS = {str(number): number - 1 for number in range(1, 11)}


def read_labels(request: LabelRequest) -> LabelSet:
    """Read classes, published folds and recordings from the metadata.

    Parameters
    ----------
    request : LabelRequest
        Its root is the folder of the data set, or the one above it.

    Returns
    -------
    labels : LabelSet
        Groups are Freesound recordings, which several slices are cut from; the published folds 1
        to 10 are 0 to 9.

    Raises
    ------
    CatalogError
        If the metadata are missing, empty, lack a column or tell of a fold that is none.
    ConfigError
        If the request names no root, or a class is none of the task.
    """
    metadata = _metadata(required_root(request))
    found = [_labelled(line) for line in read_lines(str(metadata), columns=_COLUMNS)]
    if not found:
        raise CatalogError(f"{metadata} holds no rows", fix="unpack the data set again")
    recordings = {track.group for track in found}
    counts = (("slices", len(found)), ("recordings", len(recordings)))
    return label_set(request.task, found, counts=counts)


def _metadata(root: Path) -> Path:
    above = root / "UrbanSound8K" / METADATA
    return above if above.exists() else root / METADATA


def _labelled(line: Line) -> LabelledTrack:
    name, fold = line.text("slice_file_name"), line.text("fold")
    if fold not in _FOLDS:
        raise line.error(f"fold={fold!r} is none", fix="write one of 1 to 10")
    return LabelledTrack(
        f"audio/fold{fold}/{name}", line.text("class"), line.text("fsID"), _FOLDS[fold]
    )
