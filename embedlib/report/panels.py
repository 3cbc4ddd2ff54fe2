"""What the plots of a report share: axes of a size, and names that fit."""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAX_LETTERS: Final = 18
"""Of the name of a class in a plot."""

LETTER_IN: Final = 0.062
"""Width of a letter of a label, in inches: browsers have fonts of their own, so that no measure is
exact."""


def sized_axes(
    *,
    width_in: float,
    height_in: float,
    left_in: float,
    bottom_in: float,
    top_in: float = 0.03,
    right_in: float = 0.08,
) -> tuple[Figure, Axes]:
    """Make axes of a size, in a figure that is larger by the margins: no layout to search.

    Parameters
    ----------
    width_in, height_in : float > 0
        Of the axes, in inches.
    left_in, bottom_in, top_in, right_in : float >= 0
        Margins, in inches.

    Returns
    -------
    figure : Figure
        Without state elsewhere.
    axes : Axes
        The only ones of the figure.
    """
    size_in = (left_in + width_in + right_in, bottom_in + height_in + top_in)
    figure = Figure(figsize=size_in)
    axes = figure.add_axes(
        (
            left_in / size_in[0],
            bottom_in / size_in[1],
            width_in / size_in[0],
            height_in / size_in[1],
        )
    )
    return figure, axes


def shortened(name: str, *, n_letters: int = MAX_LETTERS) -> str:
    """Cut a name for a plot.

    Parameters
    ----------
    name : str
        From data.
    n_letters : int > 0
        At most.

    Returns
    -------
    name : str
        Printable, on one line.

    Examples
    --------
    >>> shortened("an unusually long name"), shortened("rock")
    ('an unusually long…', 'rock')
    """
    line = "".join(letter if letter.isprintable() else " " for letter in name)
    return line if len(line) <= n_letters else f"{line[: n_letters - 1]}…"
