"""Cells of the kill matrix side by side: one lane for each store, on a stage of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kill_cells import Cell, Verdict
from kill_play import play
from kill_stage import Stage


@contextmanager
def playing(cells: Sequence[Cell], folder: Path) -> Iterator[dict[Cell, Future[Verdict]]]:
    """Play cells, those of one store one after the other.

    Two lanes are what two cores carry: most of a cell is processes that start one by one.

    Parameters
    ----------
    cells : sequence of Cell
        Which, in this order.
    folder : Path
        For all that they leave; the caller deletes it.

    Yields
    ------
    plays : dict of Cell to Future of Verdict
        What will become of each. Those that have not begun at the end of the context never do.
    """
    plays: dict[Cell, Future[Verdict]] = {}
    with ExitStack() as stack:
        for store in sorted({cell.store for cell in cells}):
            stage = stack.enter_context(Stage(store, folder / store))
            lane = ThreadPoolExecutor(max_workers=1)
            stack.callback(lane.shutdown, cancel_futures=True)
            own = [cell for cell in cells if cell.store is store]
            plays.update((cell, lane.submit(play, cell, stage)) for cell in own)
        yield plays
