"""What one part of `audit.py` found, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CLEAN, FOUND, UNCHECKED = 0, 1, 3
"""Exit codes; what was found goes before what was not looked at."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an audit.

    Attributes
    ----------
    name : str
        Of what was looked for.
    n_checked : int
        How many distributions or files were looked at.
    columns : tuple of str
        Titles of the table.
    rows : tuple of tuple of str
        Its cells.
    findings : tuple of str
        A line for each thing that somebody must change.
    unchecked : tuple of str
        A line for each thing that could not be looked at, and why.
    """

    name: str
    n_checked: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    findings: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """`FOUND`, `UNCHECKED` or `CLEAN`."""
        if self.findings:
            return FOUND
        return UNCHECKED if self.unchecked else CLEAN

    @property
    def verdict(self) -> str:
        """All of it in one line."""
        end = f"(exit code {self.exit_code})"
        if self.unchecked and not self.n_checked:
            return f"{self.name}: NOT CHECKED {end}"
        found = f"{len(self.findings)} to change" if self.findings else "nothing to change"
        rest = ", and not all was checked" if self.unchecked else ""
        return f"{self.name}: {self.n_checked} checked, {found}{rest} {end}"


def exit_code(parts: Iterable[Part]) -> int:
    """Give the exit code of several parts.

    Parameters
    ----------
    parts : iterable of Part
        All of them.

    Returns
    -------
    code : int
        `FOUND` if anything was found; else `UNCHECKED` if anything was not looked at.

    Examples
    --------
    >>> blind = Part("a", 0, (), unchecked=("no network",))
    >>> exit_code([blind]), exit_code([blind, Part("b", 1, (), findings=("x",))])
    (3, 1)
    """
    codes = {part.exit_code for part in parts}
    return next((code for code in (FOUND, UNCHECKED) if code in codes), CLEAN)
