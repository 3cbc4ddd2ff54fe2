"""Which cells the kill matrix has, and what became of them; pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from embedlib.run.points import Point


class Victim(StrEnum):
    """Who is killed while a process waits at the point."""

    DECODER = "decode worker"
    MODEL = "model actor"
    SOLO = "actor of one model"
    DRIVER = "driver"
    RAYLET = "raylet of a worker node"
    HEAD = "head"
    NOBODY = "nobody, two drivers"


class Store(StrEnum):
    """Where the audio and the output lie."""

    FILE = "file"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class Cell:
    """One run that is disturbed once.

    Attributes
    ----------
    victim : Victim
        Who dies.
    point : Point
        Where a process waits meanwhile: the victim itself, if it can come there.
    store : Store
        Where the audio and the output lie.
    """

    victim: Victim
    point: Point
    store: Store

    def __str__(self) -> str:
        return f"{self.victim} / {self.point} / {self.store}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a cell.

    Attributes
    ----------
    cell : Cell
        Which.
    faults : tuple of str
        Why it fails; empty if it passes.
    exit_codes : tuple of int
        Of the disturbed run, of its rival if it had one, and of the run after it.
    n_rows_again : int
        Rows that the run after it wrote.
    wall_s : float
        How long both runs and the comparison took.
    """

    cell: Cell
    faults: tuple[str, ...]
    exit_codes: tuple[int, ...]
    n_rows_again: int
    wall_s: float


ALL = tuple(
    Cell(*each)
    for each in sorted(
        itertools.product(Victim, Point, Store),
        # The head last: the nodes of the cluster serve all cells before.
        key=lambda each: each[0] is Victim.HEAD,
    )
)

SAMPLE = (
    Cell(Victim.DECODER, Point.BETWEEN_CHUNKS, Store.FILE),
    Cell(Victim.DRIVER, Point.AFTER_COMMIT, Store.S3),
    Cell(Victim.MODEL, Point.PART_WRITTEN, Store.FILE),
    Cell(Victim.NOBODY, Point.BEFORE_COMMIT, Store.S3),
    Cell(Victim.RAYLET, Point.AFTER_INFERENCE, Store.FILE),
    Cell(Victim.HEAD, Point.BEFORE_DECODE, Store.S3),
)
"""Every point, every store and every victim once at least; of model actors one kind."""


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Show what became of the cells: victims down, points across, stores in a cell.

    Parameters
    ----------
    verdicts : sequence of Verdict
        Of any cells.

    Returns
    -------
    lines : list of str
        In Markdown; each store stands with ``ok`` or ``FAILED``.

    Examples
    --------
    >>> cell = Cell(Victim.HEAD, Point.AFTER_COMMIT, Store.FILE)
    >>> print(table([Verdict(cell, (), (1, 0), 3, 9.5)])[-1])
    | head | file ok |
    """
    points = [point for point in Point if any(each.cell.point is point for each in verdicts)]
    rows = [["killed", *points], ["---"] * (len(points) + 1)]
    for victim in Victim:
        own = [each for each in verdicts if each.cell.victim is victim]
        if own:
            rows.append([victim, *(_marks(own, point) for point in points)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _marks(verdicts: Sequence[Verdict], point: Point) -> str:
    here = (each for each in verdicts if each.cell.point is point)
    return ", ".join(f"{each.cell.store} {'FAILED' if each.faults else 'ok'}" for each in here)
