"""Tasks and label adapters by name: those of embedlib, then those of installed packages.

Adding a task is a YAML file, here in ``data/`` or anywhere else by its path; adding an adapter is a
module in ``adapters/``. A package of its own offers tasks through the entry point group
``embedlib.tasks`` (each gives a `Task`, its fields as a dict, the path of a YAML file, or a list of
these), and adapters through ``embedlib.label_adapters`` (each gives a function, and its name is the
adapter's).
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from embedlib.config import checked, read_config
from embedlib.errors import ConfigError
from embedlib.plugins import in_order, loaded, refused
from embedlib.tasks import adapters
from embedlib.tasks.labels import Adapter
from embedlib.tasks.task import Task

TASK_GROUP: Final = "embedlib.tasks"
ADAPTER_GROUP: Final = "embedlib.label_adapters"

_DATA = Path(__file__).parent / "data"
_YAML = (".yaml", ".yml")


def task_names() -> tuple[str, ...]:
    """Name all tasks.

    Returns
    -------
    names : tuple of str
        Those of the paper sorted by name, then those of installed packages.

    Raises
    ------
    ConfigError
        If an installed package offers tasks that cannot be taken.
    """
    return tuple(_tasks())


def task(name: str) -> Task:
    """Find a task.

    Parameters
    ----------
    name : str
        Name of a task, or path of a YAML file.

    Returns
    -------
    task : Task
        What is known of it.

    Raises
    ------
    ConfigError
        If there is no such task, naming those with a similar name; if a key of the file is unknown,
        missing or wrong; if it has the name of another task, with other classes; or if an installed
        package offers tasks that cannot be taken.
    """
    if name.endswith(_YAML):
        return _unlike_none(read_task(Path(name).expanduser()), origin=name)
    tasks = _tasks()
    if name not in tasks:
        raise _unknown("task", name, known=tasks, other="give the path of a YAML file")
    return tasks[name]


def adapter(name: str) -> Adapter:
    """Find who reads the labels of a layout.

    Parameters
    ----------
    name : str
        As in the file of a task.

    Returns
    -------
    read_labels : Adapter
        It reads the labels of one layout.

    Raises
    ------
    ConfigError
        If there is none of that name, or an installed package offers one that cannot be taken.

    Examples
    --------
    >>> adapter("by-name").__module__
    'embedlib.tasks.adapters.by_name'
    """
    known = _adapters()
    if name not in known:
        raise _unknown("label adapter", name, known=known, other="install the package that has it")
    return known[name]


def read_task(path: Path) -> Task:
    """Read the file of a task.

    Parameters
    ----------
    path : Path
        A YAML file with the fields of `Task`.

    Returns
    -------
    task : Task
        Checked.

    Raises
    ------
    ConfigError
        If it cannot be read, or a key is unknown, missing or wrong.
    """
    return checked(Task, read_config(path), origin=str(path))


def collect_tasks(plugins: Iterable[EntryPoint]) -> dict[str, Task]:
    """Collect the tasks of embedlib and those that entry points offer.

    Parameters
    ----------
    plugins : iterable of EntryPoint
        Of the group ``embedlib.tasks``.

    Returns
    -------
    tasks : dict
        By name, in the order of `task_names`.

    Raises
    ------
    ConfigError
        If an entry point cannot be loaded, gives what is no task, or a name that is taken. The
        message names the entry point and its distribution.
    """
    tasks = {path.stem: read_task(path) for path in sorted(_DATA.glob("*.yaml"))}
    for plugin in in_order(plugins):
        for offered in _offered_tasks(plugin):
            if offered.name in tasks:
                raise refused(plugin, f"gives a task {offered.name!r}, a name that is taken")
            tasks[offered.name] = offered
    return tasks


def collect_adapters(plugins: Iterable[EntryPoint]) -> dict[str, Adapter]:
    """Collect the adapters of embedlib and those that entry points offer.

    Parameters
    ----------
    plugins : iterable of EntryPoint
        Of the group ``embedlib.label_adapters``.

    Returns
    -------
    adapters : dict
        By name; underscores of a module's name are written as hyphens.

    Raises
    ------
    ConfigError
        If an entry point cannot be loaded, gives no function, or has a name that is taken. The
        message names the entry point and its distribution.
    """
    modules = sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))
    found: dict[str, Adapter] = {
        name.replace("_", "-"): import_module(f"{adapters.__name__}.{name}").read_labels
        for name in modules
    }
    for plugin in in_order(plugins):
        value = loaded(plugin)
        if not callable(value):
            raise refused(plugin, f"gives a {type(value).__name__}, not a function")
        if plugin.name in found:
            raise refused(plugin, "has the name of an adapter that is there already")
        found[plugin.name] = value
    return found


@cache
def _tasks() -> Mapping[str, Task]:
    return collect_tasks(entry_points(group=TASK_GROUP))


@cache
def _adapters() -> Mapping[str, Adapter]:
    return collect_adapters(entry_points(group=ADAPTER_GROUP))


def _offered_tasks(plugin: EntryPoint) -> list[Task]:
    value = loaded(plugin)
    offered = value if isinstance(value, list | tuple) else [value]
    try:
        return [_task_of(each) for each in offered]
    except ConfigError as exc:
        raise refused(plugin, f"gives no task: {exc.args[0]}") from exc


def _unlike_none(own: Task, *, origin: str) -> Task:
    """Let a file read the labels of a known task in its own way, but not be another of its name."""
    known = _tasks().get(own.name)
    if known is not None and known.classes != own.classes:
        raise ConfigError(
            f"{origin} gives a task {own.name!r} with other classes than the task of that name",
            fix="give it another name",
        )
    return own


def _task_of(value: object) -> Task:
    match value:
        case Task():
            return value
        case dict():
            return checked(Task, value, origin="its fields")
        case str() | os.PathLike():
            return read_task(Path(value))
    raise ConfigError(f"a {type(value).__name__} is neither a Task, its fields, nor a path")


def _unknown(what: str, name: str, *, known: Iterable[str], other: str) -> ConfigError:
    names = list(known)
    close = get_close_matches(name, names, cutoff=0.5) or names
    listed = " or ".join(close)
    fix = f"did you mean {listed}? Else {other}" if listed else other
    return ConfigError(f"unknown {what} {name!r}", fix=fix)
