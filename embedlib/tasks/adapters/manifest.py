"""Labels from a label manifest: a table with ``track_id``, ``label``, and ``group``, ``fold``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from embedlib.catalog.manifest_rows import Columns, Line, is_manifest, read_lines
from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.labelling import label_set
from embedlib.tasks.labels import LabelledTrack, LabelRequest, LabelSet

DEFAULT_FILE: Final = "labels.csv"
"""The manifest of a folder."""

COLUMNS: Final = Columns(required=("track_id", "label"), optional=("group", "fold"))
"""Of a label manifest; others are left alone."""


def read_labels(request: LabelRequest) -> LabelSet:
    """Read a label manifest.

    Parameters
    ----------
    request : LabelRequest
        Its root is a CSV, TSV, JSON lines or Parquet file, or a folder that holds ``labels.csv``.

    Returns
    -------
    labels : LabelSet
        A track is called as the manifest writes its ``track_id``, which may be a path.

    Raises
    ------
    ConfigError
        If there is no manifest, or a label is no class of the task.
    CatalogError
        If the manifest is missing, empty, lacks a column, contradicts itself, or has a row without
        sense; the message names the line.
    """
    path = _manifest(request)
    lines = read_lines(str(path.absolute()), columns=COLUMNS)
    labels = label_set(request.task, map(_labelled, lines))
    if not labels.tracks:
        raise CatalogError(f"{path} holds no rows", fix="add one per track")
    return labels


def _manifest(request: LabelRequest) -> Path:
    if request.root is None:
        raise ConfigError(
            f"the labels of {request.task.name} are in a manifest, and none is given",
            fix="give a CSV file with the columns track_id,label[,group][,fold]",
        )
    path = request.root / DEFAULT_FILE if request.root.is_dir() else request.root
    if not is_manifest(str(path)):
        raise ConfigError(
            f"{path} is no label manifest", fix="give a .csv, .tsv, .jsonl or .parquet file"
        )
    return path


def _labelled(line: Line) -> LabelledTrack:
    cells = {name: line.text(name).strip() for name in (*COLUMNS.required, *COLUMNS.optional)}
    for name in COLUMNS.required:
        if not cells[name]:
            raise line.error(f"{name} is empty", fix="fill it, or delete the row")
    return LabelledTrack(cells["track_id"], cells["label"], cells["group"], _fold(line, cells))


def _fold(line: Line, cells: dict[str, str]) -> int:
    text = cells["fold"]
    if text and not (text.isascii() and text.isdigit()):
        raise line.error(f"fold={text!r} is no number", fix="count folds from 0, or leave it empty")
    return int(text) if text else -1
