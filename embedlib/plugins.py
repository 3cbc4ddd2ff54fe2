"""What installed packages offer by entry points, and how they are named when it cannot be taken."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint

from embedlib.errors import ConfigError


def in_order(plugins: Iterable[EntryPoint]) -> list[EntryPoint]:
    """Sort entry points, so that the same packages always give the same.

    Parameters
    ----------
    plugins : iterable of EntryPoint
        Of one group.

    Returns
    -------
    plugins : list of EntryPoint
        By distribution, then by name.
    """
    return sorted(plugins, key=lambda plugin: (_distribution(plugin), plugin.name))


def loaded(plugin: EntryPoint) -> object:
    """Load what an entry point names.

    Parameters
    ----------
    plugin : EntryPoint
        It names an object of a module.

    Returns
    -------
    value : object
        Whatever it is.

    Raises
    ------
    ConfigError
        If its module cannot be imported, or has no such object.
    """
    try:
        value: object = plugin.load()
    # TypeError: a record that was written for other fields than ours; ValueError: its values.
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as exc:
        reason = " ".join(str(exc).split())
        raise refused(plugin, f"cannot be loaded ({type(exc).__name__}: {reason})") from exc
    return value


def refused(plugin: EntryPoint, what: str) -> ConfigError:
    """Make the error for an entry point that gives something else than it should.

    Parameters
    ----------
    plugin : EntryPoint
        The one at fault.
    what : str
        What is wrong with it, as a clause that it is the subject of.

    Returns
    -------
    error : ConfigError
        It names the entry point and its distribution.

    Examples
    --------
    >>> point = EntryPoint("mine", "package:TASK", "embedlib.tasks")
    >>> print(refused(point, "gives nothing").args[0])
    the entry point 'mine' = 'package:TASK' of an unknown distribution gives nothing
    """
    distribution = _distribution(plugin)
    return ConfigError(
        f"the entry point {plugin.name!r} = {plugin.value!r} of {distribution} {what}",
        fix=f"update or uninstall {distribution}",
    )


def _distribution(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist is not None else "an unknown distribution"
