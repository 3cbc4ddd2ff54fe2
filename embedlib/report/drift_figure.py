"""The plot of a drift report: how long tracks are, before and after."""

from __future__ import annotations

from typing import Final

import numpy as np
from markupsafe import Markup

from embedlib.probes.records import Float64
from embedlib.report.drift_records import Durations
from embedlib.report.drift_text import duration_text
from embedlib.report.panels import sized_axes
from embedlib.report.svg import svg_text

BEFORE_COLOUR: Final = "#9db4cc"
AFTER_COLOUR: Final = "#b35806"

_TICKS_S: Final = np.array(
    (0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600, 7200, 18000)
)
_MAX_TICKS: Final = 6


def durations_svg(durations: Durations, *, label: str) -> Markup:
    """Draw the durations of both states.

    Parameters
    ----------
    durations : Durations
        At least one state has a track.
    label : str
        What it shows, in words.

    Returns
    -------
    svg : Markup
        Shares of the tracks of each state: areas before, a line after.
    """
    figure, axes = sized_axes(
        width_in=3.6, height_in=1.6, left_in=0.42, bottom_in=0.36, top_in=0.08, right_in=0.2
    )
    edges = np.log10(durations.edges_s)
    percent = [100 * np.array(each) for each in (durations.shares_first, durations.shares_second)]
    axes.stairs(percent[0], edges, fill=True, color=BEFORE_COLOUR, clip_on=False)
    axes.stairs(percent[1], edges, color=AFTER_COLOUR, linewidth=1.4, clip_on=False)
    ticks_s = _ticks_s(durations)
    axes.set_xticks(np.log10(ticks_s), [duration_text(each) for each in ticks_s])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("duration", labelpad=2)
    axes.set_ylabel("% of tracks", labelpad=2)
    return svg_text(figure, label=label)


def _ticks_s(durations: Durations) -> Float64:
    """Choose round durations within the range; the middle of it where there is none."""
    low_s, high_s = durations.edges_s[0], durations.edges_s[-1]
    inside = _TICKS_S[(low_s <= _TICKS_S) & (high_s >= _TICKS_S)]
    if not inside.size:
        return np.array([np.sqrt(low_s * high_s)])
    return inside[:: -(-len(inside) // _MAX_TICKS)]
