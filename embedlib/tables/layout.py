"""Where things lie in an output folder, and which folders of it are model tables."""

from __future__ import annotations

import os
import re
from typing import TypeAlias

from embedlib.catalog.places import place
from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import ConfigError, OutputError

CATALOG_FOLDER = "catalog"
RUNS_FOLDER = "runs"
RESERVED_FOLDERS = (CATALOG_FOLDER, RUNS_FOLDER, "probes", "search", "report", "explore")
MANIFEST_FILE = "model.json"

# deltalake 1.6.6 creates a table in "50%20off" and then looks for it in "50 off".
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

OutLike: TypeAlias = str | os.PathLike[str] | StorePath
"""What names an output: a local path, a URL of an object store, or the place itself."""


def output_root(out: OutLike) -> Place:
    """Give the folder that `out` names, which need not exist.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder: a local path, where ``~`` is expanded, or the URL of a store.

    Returns
    -------
    root : Path or StorePath
        The folder.

    Raises
    ------
    ConfigError
        If `out` is a URL that no table can have, or its path holds what looks like one (``%20``).

    Examples
    --------
    >>> output_root("runs/first").name
    'first'
    """
    found = out if isinstance(out, StorePath) else place(os.fspath(out))
    if isinstance(found, StorePath):
        return found
    root = found.expanduser()
    if escape := _ESCAPE.search(str(root.absolute())):
        raise ConfigError(
            f"the path of the output {root} holds {escape[0]!r}, which Delta tables cannot have",
            fix="choose a path without '%'",
        )
    return root


def model_folder(out: OutLike, model: str) -> Place:
    """Give the folder of one model table, which need not exist.

    Parameters
    ----------
    out : str or path-like
        An output folder.
    model : str
        Name of the model table.

    Returns
    -------
    folder : Path or StorePath
        ``OUT/<model>``.

    Raises
    ------
    ConfigError
        If `out` cannot be an output, or `model` is no plain name.

    Examples
    --------
    >>> model_folder("out", "msd-musicnn-1").parts
    ('out', 'msd-musicnn-1')
    """
    if not _MODEL_NAME.fullmatch(model) or model in RESERVED_FOLDERS:
        raise ConfigError(
            f"{model!r} cannot name a model table",
            fix="use letters, digits, '.', '_' and '-', and another name than "
            f"{', '.join(RESERVED_FOLDERS)}",
        )
    return output_root(out) / model


def existing_root(out: OutLike) -> Place:
    """Give the folder of an output that a run has begun.

    Parameters
    ----------
    out : str or path-like
        An output folder.

    Returns
    -------
    root : Path or StorePath
        A folder that holds a catalogue or at least one model table.

    Raises
    ------
    ConfigError
        If `out` cannot be an output.
    OutputError
        If nothing is there, or something else.
    """
    root = output_root(out)
    if not root.is_dir():
        raise OutputError(f"{root} is not a folder", fix="give the folder that a run wrote")
    if not (root / CATALOG_FOLDER).is_dir() and not model_names(root):
        raise OutputError(
            f"{root} is not an output of embedlib: it holds {_listing(root)}",
            fix=f"give the folder that contains {CATALOG_FOLDER}/ and the model tables",
        )
    return root


def model_names(root: Place) -> tuple[str, ...]:
    """List the models that have a folder with a manifest in an output.

    Parameters
    ----------
    root : Path or StorePath
        The output folder; it must be there.

    Returns
    -------
    names : tuple of str
        Sorted.
    """
    return tuple(sorted(each.name for each in root.iterdir() if (each / MANIFEST_FILE).is_file()))


def _listing(folder: Place, *, limit: int = 5) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    more = [f"and {len(names) - limit} more"] if len(names) > limit else []
    return ", ".join(names[:limit] + more) or "nothing"
