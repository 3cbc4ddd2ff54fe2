"""Embeddings in the forms that other tools take, one row per track or per patch."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from embedlib.catalog.stores import Place, StorePath
from embedlib.errors import ConfigError
from embedlib.search.export_hf import write_hf
from embedlib.search.export_lance import write_lance
from embedlib.search.export_npy import write_npy
from embedlib.search.export_projector import write_projector
from embedlib.search.exported import WHATS, Exported, open_exported
from embedlib.tables.durable import refusals
from embedlib.tables.layout import OutLike
from embedlib.tables.reader import Output, open_output

FORMATS: Final[Mapping[str, Callable[[Exported, Path], None]]] = {
    "lance": write_lance,
    "hf": write_hf,
    "npy": write_npy,
    "projector": write_projector,
}
"""By name, what writes a format into an empty folder."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was exported.

    Attributes
    ----------
    model : str
        Name of the model table.
    version : int
        Of the model table.
    what : {'tracks', 'patches'}
        What a row is.
    n_rows : int
        Rows written.
    n_without : int
        Tracks without embedding, which are left out.
    files : tuple of str
        Paths of what was written, below the folder of the export; of a Lance table, its folder.
    """

    model: str
    version: int
    what: str
    n_rows: int
    n_without: int
    files: tuple[str, ...]


def export(
    out: OutLike, dest: Place, *, to: str, model: str | None = None, what: str = "tracks"
) -> Summary:
    """Write the embeddings of a model in a form that other tools take.

    Rows are streamed; memory does not grow with the table. The folder is there when all of it is.

    Parameters
    ----------
    out : str, path-like or StorePath
        An output folder, ``OUT@3`` for an earlier state.
    dest : Path
        Folder to make, on a local disk; it must not be there, or be empty.
    to : {'lance', 'hf', 'npy', 'projector'}
        The form.
    model : str, optional
        Name of the model table; only where there are several.
    what : {'tracks', 'patches'}, optional
        What a row is.

    Returns
    -------
    summary : Summary
        What was written.

    Raises
    ------
    ConfigError
        If an argument is wrong, or the folder is not empty.
    OutputError
        If the table is missing or damaged, or the disk is full.
    """
    _require(to, FORMATS, "format")
    _require(what, WHATS, "kind of row")
    output = open_output(out)
    exported = open_exported(output, _only_model(output, model), what=what)
    with _new_folder(dest) as folder:
        FORMATS[to](exported, folder)
        files = tuple(sorted(_files(folder)))
    return Summary(
        model=exported.manifest.model,
        version=exported.version,
        what=what,
        n_rows=exported.n_rows,
        n_without=exported.n_without,
        files=files,
    )


def _require(name: str, known: Mapping[str, object], kind: str) -> None:
    if name not in known:
        raise ConfigError(f"{name!r} is no {kind}", fix=f"choose one of {', '.join(known)}")


def _only_model(output: Output, model: str | None) -> str:
    if model is not None:
        return model
    if len(output.models) != 1:
        raise ConfigError(
            f"{output.root} holds {', '.join(output.models) or 'no model'}",
            fix="name one by --model",
        )
    return output.models[0]


@contextmanager
def _new_folder(dest: Place) -> Iterator[Path]:
    """Let the caller fill a folder beside the wanted one, which then gets its name."""
    if isinstance(dest, StorePath):
        raise ConfigError(
            f"exports are written to a local disk, not to {dest}",
            fix="give a local folder, and copy it from there",
        )
    with refusals(dest.parent):
        if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
            raise ConfigError(f"{dest} is there already", fix="give a folder that is not")
        temporary = dest.absolute().with_name(f".{dest.absolute().name}.{uuid.uuid4().hex}.tmp")
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if dest.is_dir():
                dest.rmdir()
            temporary.rename(dest)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _files(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.is_dir() and path.suffix != ".lance":
            yield from (f"{path.name}/{name}" for name in _files(path))
        else:
            yield path.name
