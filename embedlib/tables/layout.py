"""Where things lie in an output folder, and which folders of it are model tables."""

from __future__ import annotations

import os
import re
from pathlib import Path

from embedlib.errors import ConfigError, OutputError

CATALOG_FOLDER = "catalog"
RESERVED_FOLDERS = (CATALOG_FOLDER, "runs", "probes")
MANIFEST_FILE = "model.json"

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
# deltalake 1.6.6 creates a table in "50%20off" and then looks for it in "50 off".
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def output_root(out: str | os.PathLike[str]) -> Path:
    """Give the local folder that `out` names, which need not exist.

    Parameters
    ----------
    out : str or path-like
        An output folder; ``~`` is expanded.

    Returns
    -------
    root : Path
        The folder.

    Raises
    ------
    ConfigError
        If `out` is a URL, or its path holds what looks like one (``%20``).

    Examples
    --------
    >>> output_root("runs/first").name
    'first'
    """
    text = os.fspath(out)
    if url := _URL.match(text):
        raise ConfigError(
            f"the output is a {url[1]}:// URL, tables are written to a local folder",
            fix="give the path of a folder; audio may still be read from URLs",
        )
    root = Path(text).expanduser()
    if escape := _ESCAPE.search(str(root.absolute())):
        raise ConfigError(
            f"the path of the output {root} holds {escape[0]!r}, which Delta tables cannot have",
            fix="choose a path without '%'",
        )
    return root


def model_folder(out: str | os.PathLike[str], model: str) -> Path:
    """Give the folder of one model table, which need not exist.

    Parameters
    ----------
    out : str or path-like
        An output folder.
    model : str
        Name of the model table.

    Returns
    -------
    folder : Path
        ``OUT/<model>``.

    Raises
    ------
    ConfigError
        If `out` is a URL, or `model` is no plain name.

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


def existing_root(out: str | os.PathLike[str]) -> Path:
    """Give the folder of an output that a run has begun.

    Parameters
    ----------
    out : str or path-like
        An output folder.

    Returns
    -------
    root : Path
        A folder that holds a catalogue or at least one model table.

    Raises
    ------
    ConfigError
        If `out` is a URL.
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


def model_names(root: Path) -> tuple[str, ...]:
    """List the models that have a folder with a manifest in an output.

    Parameters
    ----------
    root : Path
        The output folder.

    Returns
    -------
    names : tuple of str
        Sorted.
    """
    return tuple(sorted(manifest.parent.name for manifest in root.glob(f"*/{MANIFEST_FILE}")))


def _listing(folder: Path, *, limit: int = 5) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    more = [f"and {len(names) - limit} more"] if len(names) > limit else []
    return ", ".join(names[:limit] + more) or "nothing"
