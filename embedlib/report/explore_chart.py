"""All that a page to explore shows, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedlib.errors import ConfigError
from embedlib.report.explore_colours import Classes, ColourColumn, colour_columns
from embedlib.report.explore_layout import Layout, lay_out, unit_vectors
from embedlib.report.explore_neighbours import Neighbours, nearest
from embedlib.report.explore_options import LayoutName
from embedlib.report.explore_source import Population


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A map of tracks.

    Attributes
    ----------
    population : Population
        The tracks.
    layout : Layout
        Their places.
    neighbours : Neighbours
        Theirs.
    columns : tuple of (Classes or Numbers)
        What they can be coloured by.
    colour : str
        The column that is shown first; empty where there is none.
    """

    population: Population
    layout: Layout
    neighbours: Neighbours
    columns: tuple[ColourColumn, ...]
    colour: str


def make_chart(
    population: Population, *, layout: LayoutName, n_neighbours: int, colour: str | None = None
) -> Chart:
    """Lay out tracks, find their neighbours, and give them colours.

    Parameters
    ----------
    population : Population
        The tracks.
    layout : LayoutName
        How vectors become places.
    n_neighbours : int >= 0
        Neighbours of each track.
    colour : str, optional
        Column that is shown first; by default the first whose values differ.

    Returns
    -------
    chart : Chart
        Equal tracks give equal charts.

    Raises
    ------
    ConfigError
        If the column gives no colours, or the layout needs a package that is not installed.
    """
    columns = colour_columns(population.facts)
    first = _first(columns) if colour is None else _named(columns, colour)
    units = unit_vectors(population.vectors)
    return Chart(
        population, lay_out(units, name=layout), nearest(units, k=n_neighbours), columns, first
    )


def _first(columns: Sequence[ColourColumn]) -> str:
    differ = (c.name for c in columns if not isinstance(c, Classes) or len(c.labels) > 1)
    return next(differ, columns[0].name if columns else "")


def _named(columns: Sequence[ColourColumn], name: str) -> str:
    names = [column.name for column in columns]
    if name in names:
        return name
    raise ConfigError(
        f"the column {name!r} gives no colours", fix=f"choose from {', '.join(names)}"
    )
