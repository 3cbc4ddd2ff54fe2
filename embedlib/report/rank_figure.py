"""The critical-difference diagram of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from embedlib.probes.score_records import Ranks
from embedlib.report.panels import LETTER_IN, shortened, sized_axes
from embedlib.report.svg import svg_text

DOT_COLOUR: Final = "#2166ac"
BAR_COLOUR: Final = "#b2182b"

_AXES_IN: Final = 2.2
_RANK_IN: Final = 0.4
"""Room for the rank of the last model, beyond the end of the axis."""
_BAR_STEP_IN: Final = 0.12


def ranks_svg(ranks: Ranks, *, label: str) -> Markup:
    """Draw a critical-difference diagram: models one below the other, the best on top.

    Parameters
    ----------
    ranks : Ranks
        Of one protocol and split.
    label : str
        What it shows, in words.

    Returns
    -------
    svg : Markup
        A dot at the mean rank of each model; bars join models that do not differ.

    References
    ----------
    .. [1] J. Demšar: Statistical comparisons of classifiers over multiple data sets. JMLR 7, 2006.
    """
    names = [shortened(name, n_letters=32) for name in ranks.models]
    groups = joined(ranks.mean_ranks, critical_difference=ranks.critical_difference)
    figure, axes = sized_axes(
        width_in=_AXES_IN,
        height_in=0.24 * len(names) + 0.3,
        left_in=LETTER_IN * max(map(len, names)) + 0.15,
        bottom_in=0.36,
        right_in=_RANK_IN + _BAR_STEP_IN * len(groups) + 0.05,
    )
    _draw_ranks(axes, ranks, names)
    _draw_bars(axes, groups)
    return svg_text(figure, label=label)


def joined(
    mean_ranks: Sequence[float], *, critical_difference: float
) -> tuple[tuple[int, int], ...]:
    """Find the groups of models whose mean ranks do not differ.

    Parameters
    ----------
    mean_ranks : sequence of float
        Ascending.
    critical_difference : float
        Ranks closer than this do not differ.

    Returns
    -------
    groups : tuple of (int, int)
        First and last model of each group of at least two that is not part of another.

    Examples
    --------
    >>> joined((1.0, 1.5, 2.4, 4.0), critical_difference=1.0)
    ((0, 1), (1, 2))
    """
    ranks = np.asarray(mean_ranks)
    lasts = [int(np.flatnonzero(ranks - rank < critical_difference)[-1]) for rank in ranks]
    return tuple(
        (first, last)
        for first, last in enumerate(lasts)
        if last > first and (first == 0 or lasts[first - 1] < last)
    )


def _draw_ranks(axes: Axes, ranks: Ranks, names: Sequence[str]) -> None:
    rows = range(len(names))
    axes.hlines(rows, 1, ranks.mean_ranks, color="#c9d1da", lw=1, clip_on=False)
    for row, rank in zip(rows, ranks.mean_ranks, strict=True):
        # A line of no length with round ends is a dot, and needs no marker to refer to.
        axes.plot(
            [rank, rank], [row, row], color=DOT_COLOUR, lw=6, solid_capstyle="round", clip_on=False
        )
        axes.annotate(
            f"{rank:.2f}", (rank, row), (6, 0), textcoords="offset points", va="center", fontsize=7
        )
    axes.set_yticks(rows, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(1, len(names))
    axes.set_xlabel("mean rank", labelpad=2)


def _draw_bars(axes: Axes, groups: Sequence[tuple[int, int]]) -> None:
    """Draw a bar for each group beside the ranks, at a distance that no number of models changes.

    What lies outside of the figure is lost without a word.
    """
    for number, (first, last) in enumerate(groups):
        x = 1 + (_RANK_IN + _BAR_STEP_IN * (number + 0.5)) / _AXES_IN
        axes.plot(
            [x, x],
            [first - 0.3, last + 0.3],
            color=BAR_COLOUR,
            lw=3,
            clip_on=False,
            transform=axes.get_yaxis_transform(),
        )
