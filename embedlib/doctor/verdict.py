"""What is said of one thing: how it is, what was found, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        Of the thing.
    verdict : Verdict
        A fault keeps a run from working, or from being safe; a warning makes it slower, or may
        become a fault.
    found : str
        In one line.
    fix : str
        A command that mends it; empty only where nothing has to be mended.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def fine(name: str, found: str) -> Check:
    """Say that a thing is as it should be.

    Parameters
    ----------
    name, found : str
        As for `Check`.

    Returns
    -------
    check : Check
        Without a fix.
    """
    return Check(name, Verdict.OK, found)


def warning(name: str, found: str, *, fix: str) -> Check:
    """Say that a thing works, and could be better.

    Parameters
    ----------
    name, found, fix : str
        As for `Check`.

    Returns
    -------
    check : Check
        Which does not change the exit code.
    """
    return Check(name, Verdict.WARNING, found, fix)


def fault(name: str, found: str, *, fix: str) -> Check:
    """Say that a thing has to be mended.

    Parameters
    ----------
    name, found, fix : str
        As for `Check`.

    Returns
    -------
    check : Check
        Which makes the exit code 1.
    """
    return Check(name, Verdict.FAULT, found, fix)
