"""What an error of Ray means to a run: a machine that failed, or the code that ran on it."""

from __future__ import annotations

from ray import exceptions as rx

INFRASTRUCTURE = (
    rx.RayActorError,
    rx.WorkerCrashedError,
    rx.OutOfMemoryError,
    rx.NodeDiedError,
    rx.ObjectLostError,
    rx.LocalRayletDiedError,
    rx.ActorUnschedulableError,
    rx.RaySystemError,
)
"""What Ray raises when a machine or a process failed, not the code in it."""

UNANSWERED = (rx.RayTaskError, *INFRASTRUCTURE)
"""What comes in place of the answer of a node that was asked something."""

LOOK = "look at memory and at Ray's logs, then run the same command"


def cause(exc: rx.RayTaskError) -> Exception:
    """Give what the code in the worker raised, without Ray's wrapping.

    Parameters
    ----------
    exc : RayTaskError
        As it arrived.

    Returns
    -------
    cause : Exception
        With its own class, or `exc` where that did not survive the way.
    """
    found = exc.cause
    return found if isinstance(found, Exception) else exc


def line(exc: BaseException) -> str:
    """Say what an error says, in one line.

    Parameters
    ----------
    exc : BaseException
        Any error.

    Returns
    -------
    text : str
        Its class and its first line.
    """
    first = str(exc).strip().splitlines() or [""]
    return f"{type(exc).__name__}: {first[0]}"
