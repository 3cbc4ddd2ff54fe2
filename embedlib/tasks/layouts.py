"""What the readers of published data sets share: where their files are, and how they are called."""

from __future__ import annotations

import os
from pathlib import Path

from embedlib.catalog.files import local_files
from embedlib.catalog.formats import is_audio_name
from embedlib.errors import CatalogError, ConfigError
from embedlib.tasks.labels import LabelRequest


def required_root(request: LabelRequest) -> Path:
    """Give the folder that labels are to be read from.

    Parameters
    ----------
    request : LabelRequest
        What an adapter is asked.

    Returns
    -------
    root : Path
        Absolute; whether it is there is not looked at.

    Raises
    ------
    ConfigError
        If the request names none.
    """
    if request.root is None:
        raise ConfigError(
            f"the labels of task {request.task.name} lie in the files of its data set",
            fix="name its folder",
        )
    return Path(os.path.abspath(request.root))


def file_names(folder: Path) -> tuple[str, ...]:
    """List the files of a folder and of those below it.

    Parameters
    ----------
    folder : Path
        Local; hidden files in it are left out.

    Returns
    -------
    names : tuple of str
        Relative to the folder, with ``/``.

    Raises
    ------
    CatalogError
        If the folder is missing or cannot be read.
    """
    return tuple(file.name for file in local_files(os.path.abspath(folder)))


def track_names(request: LabelRequest) -> tuple[str, ...]:
    """List the tracks that a data set may hold: those on disk, else those of the catalogue.

    Parameters
    ----------
    request : LabelRequest
        What an adapter is asked.

    Returns
    -------
    names : tuple of str
        Of audio files relative to the root; where it has none, or is None, ids of the catalogue.

    Raises
    ------
    CatalogError
        If there is neither, or the root cannot be read.
    """
    on_disk = () if request.root is None else file_names(request.root)
    names = tuple(filter(is_audio_name, on_disk)) or request.track_ids
    if not names:
        raise CatalogError(
            f"task {request.task.name}: no audio in {request.root or 'the catalogue'}",
            fix="name the folder that holds the data set",
        )
    return names
