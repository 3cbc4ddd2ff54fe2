"""Data sets that mirdata or soundata know: whether the files are those that were published."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from embedlib.errors import ConfigError
from embedlib.tasks.task import Task

PACKAGES: Final = ("mirdata", "soundata")
"""Where loaders may come from; both have the same functions."""

OPTION: Final = "loader"
"""Option of a task that names its loader: ``mirdata:gtzan_genre``."""

Found = Mapping[str, Mapping[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Validation:
    """What a loader says of a folder.

    Attributes
    ----------
    loader : str
        Which one.
    absent : tuple of str
        Files of its index that are not there, annotations among them.
    altered : tuple of str
        Files that are not the published ones.
    obstacle : str
        Why it could not be asked, with the way out; empty where it could.
    """

    loader: str
    absent: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    obstacle: str = ""


def validate(task: Task, folder: str | os.PathLike[str]) -> Validation | None:
    """Compare the files of a data set with the checksums that its loader has; no network is used.

    Parameters
    ----------
    task : Task
        Its option ``loader`` names the loader.
    folder : str or path-like
        Where the data set lies.

    Returns
    -------
    validation : Validation or None
        None where the task names no loader.

    Raises
    ------
    ConfigError
        If the task names a loader that there is not.
    """
    loader = task.options.get(OPTION)
    if loader is None:
        return None
    package, _, name = str(loader).partition(":")
    if package not in PACKAGES or not name:
        raise ConfigError(
            f"task {task.name}: {OPTION}={loader!r} is no loader",
            fix="write mirdata:NAME or soundata:NAME",
        )
    try:
        datasets = importlib.import_module(package)
    except ImportError:
        obstacle = f"{package} is not installed; pip install 'embedlib[datasets]'"
        return Validation(str(loader), obstacle=obstacle)
    if name not in datasets.DATASETS:
        raise ConfigError(
            f"task {task.name}: {package} has no loader {name!r}", fix=f"update {package}"
        )
    try:
        absent, altered = datasets.initialize(name, data_home=os.fspath(folder)).validate(
            verbose=False
        )
    except FileNotFoundError:  # of the index, which comes apart from the package
        fetch = f"{package}.initialize({name!r}).download(['index'])"
        obstacle = f"its index is not here; where there is a network, run {fetch} in Python"
        return Validation(str(loader), obstacle=obstacle)
    return Validation(str(loader), _files(absent), _files(altered))


def _files(found: Found) -> tuple[str, ...]:
    return tuple(
        sorted(path for part in found.values() for paths in part.values() for path in paths)
    )
