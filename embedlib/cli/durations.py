"""Durations on the command line: ``7d``, ``12h``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from embedlib.errors import ConfigError

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM: Final = re.compile(r"(\d{1,6})([smhdw])")


def duration(text: str, *, option: str) -> timedelta:
    """Read a duration.

    Parameters
    ----------
    text : str
        A number and a unit.
    option : str
        What it is for, for the error.

    Returns
    -------
    duration : datetime.timedelta
        Not negative.

    Raises
    ------
    ConfigError
        If it is not written so.

    Examples
    --------
    >>> duration("36h", option="--keep")
    datetime.timedelta(days=1, seconds=43200)
    """
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise ConfigError(
            f"{option} {text} is no duration",
            fix=f"give a number and one of {', '.join(_UNITS)}, such as 7d",
        )
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})
