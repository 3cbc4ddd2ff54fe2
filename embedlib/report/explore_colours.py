"""Colours of a map: which columns give some, and the palettes by day and by night.

Palettes hold against both grounds by contrast and for the three kinds of colour blindness by
distance; the tests measure it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from embedlib.records import Float32
from embedlib.report.explore_facts import Fact, Value

MAX_CLASSES: Final = 8
"""Classes with a colour of their own; more than eight are not told apart, whatever the palette."""

OTHERS: Final = MAX_CLASSES
"""Code of all further classes."""

NO_CLASS: Final = MAX_CLASSES + 1
"""Code of tracks without a value."""

PALETTES: Final = {
    "light": (
        *("#0072b2", "#d55e00", "#a500ff", "#1e0087"),
        *("#c3785a", "#960000", "#4b0f4b", "#5a001e"),
    ),
    "dark": (
        *("#56b4e9", "#e69f00", "#b400ff", "#b4ff78"),
        *("#d22d00", "#00ffb4", "#ffff00", "#ff6969"),
    ),
}
"""Blue and orange of Okabe and Ito (Color Universal Design, 2008), then what a search found to be
farthest from them, from each other and from the grey of all other classes."""

SCALES: Final = {
    theme: tuple(to_hex(colormaps["plasma"](float(x))) for x in np.linspace(*ends, 24))
    for theme, ends in {"light": (0.0, 0.6), "dark": (0.42, 1.0)}.items()
}
"""Low to high. matplotlib's plasma, whose lightness grows evenly, where it stands out."""

_TAILS: Final = (0.01, 0.99)
"""Values beyond these quantiles have the colour of the end, so that one odd value costs little."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """A column as classes.

    Attributes
    ----------
    name : str
        Of the column.
    labels : tuple of str
        The `MAX_CLASSES` largest; numbers in their own order, texts by their counts.
    counts : tuple of int
        Tracks of each, then those of all others, then those without a value.
    n_others : int
        Number of further classes.
    codes : np.ndarray [shape=(n_tracks,), uint8]
        Index of the label, or `OTHERS`, or `NO_CLASS`.
    """

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    n_others: int
    codes: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column as numbers.

    Attributes
    ----------
    name : str
        Of the column.
    low, high : float
        Where the scale begins and ends.
    least, greatest : float
        Of all values.
    values : np.ndarray [shape=(n_tracks,), float32]
        NaN where there is none.
    """

    name: str
    low: float
    high: float
    least: float
    greatest: float
    values: Float32


ColourColumn: TypeAlias = Classes | Numbers


def colour_columns(facts: Iterable[Fact]) -> tuple[ColourColumn, ...]:
    """Make a column of colours of each column that gives one.

    Parameters
    ----------
    facts : iterable of Fact
        What is known of the tracks.

    Returns
    -------
    columns : tuple of (Classes or Numbers)
        In the order of `facts`.
    """
    found = map(colour_column, facts)
    return tuple(column for column in found if column is not None)


def colour_column(fact: Fact) -> ColourColumn | None:
    """Make a column of colours.

    Parameters
    ----------
    fact : Fact
        Any column.

    Returns
    -------
    column : Classes or Numbers or None
        Numbers, also those written as text, where there are more than `MAX_CLASSES`; nothing for
        columns without a value, and for texts that are nearly all different, such as file names.

    Examples
    --------
    >>> column = colour_column(Fact("genre", ("rock", "jazz", "rock", None)))
    >>> column.labels, column.counts, column.codes
    (('rock', 'jazz'), (2, 1, 0, 1), array([0, 1, 0, 9], dtype=uint8))
    """
    values = [_value(value) for value in fact.values]
    present: Counter[Value] = Counter(value for value in values if value is not None)
    if not present:
        return None
    if len(present) > MAX_CLASSES:
        numbers = [_number(value) for value in values]
        if all((a is None) == (b is None) for a, b in zip(values, numbers, strict=True)):
            return _numbers(fact.name, numbers)
        if 2 * len(present) > sum(present.values()):
            return None
    return _classes(fact.name, values, present)


def _value(value: Value) -> Value:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value == "" or value != value else value


def _number(value: Value) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _numbers(name: str, numbers: list[float | None]) -> Numbers:
    values = np.array([math.nan if number is None else number for number in numbers])
    low, high = np.nanquantile(values, _TAILS)
    least, greatest = np.nanmin(values), np.nanmax(values)
    return Numbers(
        name, float(low), float(high), float(least), float(greatest), values.astype(np.float32)
    )


def _classes(name: str, values: list[Value], present: Counter[Value]) -> Classes:
    largest = sorted(present, key=lambda value: (-present[value], str(value)))[:MAX_CLASSES]
    if not any(isinstance(value, str) for value in largest):
        largest.sort(key=lambda value: float(value or 0))
    code = {value: number for number, value in enumerate(largest)} | {None: NO_CLASS}
    codes = np.array([code.get(value, OTHERS) for value in values], np.uint8)
    counts = np.bincount(codes, minlength=NO_CLASS + 1)
    return Classes(
        name,
        tuple(str(value) for value in largest),
        tuple(int(n) for n in (*counts[: len(largest)], counts[OTHERS], counts[NO_CLASS])),
        max(0, len(present) - MAX_CLASSES),
        codes,
    )
