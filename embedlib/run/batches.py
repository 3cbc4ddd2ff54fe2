"""How many patches a card takes at once: doubled until that gains nothing, or nothing more fits."""

from __future__ import annotations

from collections.abc import Callable

from embedlib.errors import BatchMemoryError, ModelError

MOST_PATCHES = 1024
"""Where doubling ends: the patches of a batch lie in the memory of their worker too."""

MIN_GAIN = 0.1
"""A larger batch must be faster by this share, for each track waits until its batch is full."""


def best_batch_size(patch_s: Callable[[int], float], *, first: int) -> int:
    """Find the batch size from which on a card gets no faster.

    Parameters
    ----------
    patch_s : callable
        Seconds per patch in batches of a size; raises `BatchMemoryError` where one does not fit, or
        `ModelError` where the graph takes no such batch.
    first : int > 0
        The size to begin with, which must do.

    Returns
    -------
    size : int
        `first`, doubled as often as that was worth it.

    Raises
    ------
    BatchMemoryError
        If not even `first` fits.

    Examples
    --------
    >>> best_batch_size(lambda size: 1.0 / min(size, 48), first=1)
    64
    """
    size, took_s = first, patch_s(first)
    while 2 * size <= MOST_PATCHES:
        try:
            next_s = patch_s(2 * size)
        except (BatchMemoryError, ModelError):
            break
        if next_s > (1 - MIN_GAIN) * took_s:
            break
        size, took_s = 2 * size, next_s
    return size
