"""Stacked bars of a result, laid out as a page draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench_show import figure_text

WIDTH: Final = 760
"""Of a drawing; all lengths are in its units."""

ROW_HEIGHT: Final = 30
BAR_HEIGHT: Final = 18
N_COLOURS: Final = 10
"""That the style names; further parts begin again with the first."""

_VALUE_WIDTH: Final = 70
_AXIS_HEIGHT: Final = 40
_LETTER_WIDTH: Final = 6.8
_MAX_LABEL_WIDTH: Final = 260


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar.

    Attributes
    ----------
    name, text : str
        What it is, and how much.
    colour : int
        Number of its colour.
    x, width : float
        Where it lies.
    """

    name: str
    text: str
    colour: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, its label on the left, its total on the right.

    Attributes
    ----------
    label, text : str
        Whose it is, and its total.
    y, after : float
        Its upper edge, and what is right of it and of its limit.
    pieces : tuple of Piece
        From left to right.
    limit : float or None
        Where the tick stands.
    limit_text : str
        The limit.
    """

    label: str
    text: str
    y: float
    after: float
    pieces: tuple[Piece, ...]
    limit: float | None
    limit_text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Bars of one unit over one axis.

    Attributes
    ----------
    title, unit : str
        What they show.
    left, height : float
        Where bars begin, and how high the drawing is with its axis.
    bars : tuple of Bar
        From top to bottom.
    legend : tuple of (str, int)
        Names of the parts, and the numbers of their colours.
    ticks : tuple of (float, str)
        Of the axis.
    has_limits : bool
        Whether a bar has a tick at its limit.
    """

    title: str
    unit: str
    left: float
    height: float
    bars: tuple[Bar, ...]
    legend: tuple[tuple[str, int], ...]
    ticks: tuple[tuple[float, str], ...]
    has_limits: bool


def drawing(bars: Mapping[str, Any]) -> Drawing:
    """Lay out stacked bars.

    Parameters
    ----------
    bars : mapping of str to Any
        ``title``, ``unit``, and for each of ``series`` a ``label``, its ``parts`` as pairs of a
        name and a value that is not negative, and its ``limit``, which may be None.

    Returns
    -------
    drawing : Drawing
        A part has the same colour in all bars.
    """
    series = bars["series"]
    names = dict.fromkeys(name for one in series for name, _ in one["parts"])
    colours = {name: index % N_COLOURS for index, name in enumerate(names)}
    longest = max((len(one["label"]) for one in series), default=0)
    left = min(_MAX_LABEL_WIDTH, 10 + _LETTER_WIDTH * longest)
    most = max((max(_total(one), one.get("limit") or 0.0) for one in series), default=0.0) or 1.0
    scale = (WIDTH - left - _VALUE_WIDTH) / most
    return Drawing(
        title=bars["title"],
        unit=bars["unit"],
        left=left,
        height=ROW_HEIGHT * len(series) + _AXIS_HEIGHT,
        bars=tuple(
            _bar(one, y=ROW_HEIGHT * row, left=left, scale=scale, colours=colours)
            for row, one in enumerate(series)
        ),
        legend=tuple(colours.items()),
        ticks=tuple((left + scale * value, f"{value:g}") for value in nice_ticks(most)),
        has_limits=any(one.get("limit") is not None for one in series),
    )


def nice_ticks(most: float) -> list[float]:
    """Divide an axis that begins at zero by a round number.

    Parameters
    ----------
    most : float > 0
        Its end.

    Returns
    -------
    values : list of float
        Three to six, in steps of 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> nice_ticks(7.3), nice_ticks(130)
    ([0.0, 2.0, 4.0, 6.0], [0.0, 50.0, 100.0])
    """
    power = 10.0 ** math.floor(math.log10(most / 2))
    step = max(factor * power for factor in (1, 2, 5) if 2 * factor * power <= most)
    return [step * number for number in range(int(most / step) + 1)]


def _total(one: Mapping[str, Any]) -> float:
    return float(sum(value for _, value in one["parts"]))


def _bar(
    one: Mapping[str, Any], *, y: float, left: float, scale: float, colours: Mapping[str, int]
) -> Bar:
    total, limit = _total(one), one.get("limit")
    return Bar(
        label=one["label"],
        text=figure_text(total),
        y=y,
        after=left + scale * max(total, limit or 0.0),
        pieces=_pieces(one["parts"], left=left, scale=scale, colours=colours),
        limit=None if limit is None else left + scale * limit,
        limit_text="" if limit is None else figure_text(limit),
    )


def _pieces(
    parts: Sequence[tuple[str, float]], *, left: float, scale: float, colours: Mapping[str, int]
) -> tuple[Piece, ...]:
    pieces, x = [], left
    for name, value in parts:
        pieces.append(Piece(name, figure_text(value), colours[name], x, scale * value))
        x += scale * value
    return tuple(pieces)
