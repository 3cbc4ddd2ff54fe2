"""Named moments in the life of a shard, at which somebody who tests a run may stop a process.

Nothing in embedlib installs a hook, and no variable or option does: without one, to reach a point
is to compare a name with None. The kill matrix (``jobs/kill_matrix.py``) brings its own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Point(StrEnum):
    """The moments between which a run can die differently, in the order of a shard's life."""

    BEFORE_DECODE = "before decode"
    BETWEEN_CHUNKS = "between chunks"
    AFTER_INFERENCE = "after inference"
    PART_WRITTEN = "part written"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


Hook = Callable[[Point, str, str], None]
"""Called with the point, the shard, and the model table, which is empty while a shard decodes."""

_hook: Hook | None = None


def install(hook: Hook | None) -> None:
    """Have a hook called at each point that this process reaches from now on.

    Parameters
    ----------
    hook : callable or None
        What to call; None takes the last one back.

    Examples
    --------
    >>> install(lambda point, shard_id, model: print(point, shard_id, model))
    >>> reach(Point.BEFORE_COMMIT, "0f3a", "msd-musicnn-1")
    before commit 0f3a msd-musicnn-1
    >>> install(None)
    >>> reach(Point.AFTER_COMMIT, "0f3a", "msd-musicnn-1")
    """
    global _hook
    _hook = hook


def reach(point: Point, shard_id: str, model: str = "") -> None:
    """Say that this process has come to a point; nothing happens unless a hook is installed.

    Parameters
    ----------
    point : Point
        Where it is.
    shard_id : str
        With which shard; at a commit the first of its batch.
    model : str
        For which model table, where it is for one.
    """
    if _hook is not None:
        _hook(point, shard_id, model)
