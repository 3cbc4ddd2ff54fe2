"""The plots of one cell: confusion matrices and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedlib.probes.records import Float64, Int
from embedlib.probes.score_records import Cell
from embedlib.report.panels import LETTER_IN, shortened, sized_axes
from embedlib.report.svg import svg_text

MAX_POINTS = 100
"""Of a learning curve: more cannot be told apart at its width."""

TRAIN_COLOUR: Final = "#e08214"
VALIDATION_COLOUR: Final = "#2166ac"
_MAX_COUNTED_CLASSES: Final = 16
"""Larger matrices have no room for numbers."""


def confusion_svg(
    confusion: Sequence[Sequence[int]], *, classes: Sequence[str], label: str
) -> Markup:
    """Draw a confusion matrix.

    Parameters
    ----------
    confusion : sequence of sequence of int
        Tracks by class (rows) and prediction (columns).
    classes : sequence of str
        Names of the classes.
    label : str
        What it shows, in words.

    Returns
    -------
    svg : Markup
        Shades are shares of the row, numbers are tracks.
    """
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _square_axes(classes)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, clip_on=False)
    if len(classes) <= _MAX_COUNTED_CLASSES:
        _write_counts(axes, counts, shares)
    return svg_text(figure, label=label)


def curves_svg(cell: Cell, *, label: str) -> Markup:
    """Draw the learning curves of the chosen probe of each fold.

    Parameters
    ----------
    cell : Cell
        One model on one task.
    label : str
        What they show, in words.

    Returns
    -------
    svg : Markup
        Training and validation loss over epochs, at most `MAX_POINTS` of each.
    """
    figure, axes = sized_axes(
        width_in=2.3, height_in=1.5, left_in=0.38, bottom_in=0.36, top_in=0.06
    )
    for curves, colour in ((cell.train_curves, TRAIN_COLOUR), (cell.curves, VALIDATION_COLOUR)):
        for curve in curves:
            epochs = thinned(len(curve))
            values = np.asarray(curve, dtype=np.float64)[epochs]
            axes.plot(epochs + 1, values, color=colour, linewidth=0.8, alpha=0.8, clip_on=False)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch", labelpad=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return svg_text(figure, label=label)


def thinned(n_epochs: int) -> Int:
    """Choose the epochs of a curve that are drawn.

    Parameters
    ----------
    n_epochs : int >= 0
        Of the curve.

    Returns
    -------
    epochs : np.ndarray [shape=(n_points,), int64]
        At most `MAX_POINTS`, from 0, evenly spaced, with the first and the last.

    Examples
    --------
    >>> thinned(3), len(thinned(1000))
    (array([0, 1, 2]), 100)
    """
    n_points = min(n_epochs, MAX_POINTS)
    return np.linspace(0, max(n_epochs - 1, 0), n_points).round().astype(np.int64)


def _square_axes(classes: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes for a matrix, truth from top to bottom, as tables are read."""
    names = [shortened(name) for name in classes]
    side_in = len(names) * min(max(2.6 / len(names), 0.1), 0.26)
    margin_in = LETTER_IN * max(map(len, names)) + 0.1
    figure, axes = sized_axes(
        width_in=side_in, height_in=side_in, left_in=margin_in, bottom_in=margin_in
    )
    middles = np.arange(len(names)) + 0.5
    # Anchored at the axis: the browser's font may be narrower than the one that is measured here.
    axes.set_xticks(middles, names, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.set_yticks(middles, names)
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(names), 0)
    return figure, axes


def _write_counts(axes: Axes, counts: Int, shares: Float64) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "#ffffff" if shares[row, column] > 0.55 else "#22303f"
            size = 6.5 if count < 1000 else 5
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{count}",
                ha="center",
                va="center",
                color=colour,
                fontsize=size,
            )
