"""The page to explore: one HTML file, whose script loads the data that lies beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from embedlib.report.explore_chart import Chart
from embedlib.report.explore_colours import MAX_CLASSES, PALETTES, SCALES, Classes
from embedlib.report.explore_files import IDS_PER_FILE, TRACKS_PER_FILE
from embedlib.report.explore_layout import Layout
from embedlib.report.templating import environment, sealed, template_text

SCRIPTS: Final = (
    "explore_data.js",
    "explore_grid.js",
    "explore_draw.js",
    "explore_map.js",
    "explore_colours.js",
    "explore_track.js",
    "explore_search.js",
    "explore.js",
)
"""Parts of the script, in this order."""

_MEDIA: Final = ("file:", "http:", "https:")


def explore_page_text(chart: Chart, *, paths: Mapping[str, str]) -> str:
    """Write the page.

    Parameters
    ----------
    chart : Chart
        The map.
    paths : mapping of str to str
        Where its data lies, by name, relative to the page.

    Returns
    -------
    text : str
        HTML, `sealed` but for the scripts of its data, which its own script loads, and for audio
        from the kinds of addresses that the tracks have.
    """
    script = "\n".join(map(template_text, SCRIPTS))
    return (
        environment()
        .get_template("explore.html.j2")
        .render(
            sealed(
                script=script,
                style=template_text("explore.css"),
                loads_scripts=True,
                media=_media(chart.population.audio),
            ),
            chart=chart,
            layout=_layout_sentence(chart.layout),
            facts=_facts(chart, paths),
        )
    )


def _facts(chart: Chart, paths: Mapping[str, str]) -> dict[str, object]:
    """Tell the script what it must know before it loads anything."""
    return {
        "n": len(chart.population.ids),
        "k": chart.neighbours.k,
        "idsPerFile": IDS_PER_FILE,
        "tracksPerFile": TRACKS_PER_FILE,
        "factNames": [fact.name for fact in chart.population.facts],
        "columns": [
            {"name": column.name, "isClasses": isinstance(column, Classes)}
            for column in chart.columns
        ],
        "maxClasses": MAX_CLASSES,
        "palettes": PALETTES,
        "scales": SCALES,
        "paths": list(paths.items()),
    }


def _media(audio: Sequence[str]) -> list[str]:
    """List the schemes that audio comes from."""
    return [scheme for scheme in _MEDIA if any(url.startswith(scheme) for url in audio)]


def _layout_sentence(layout: Layout) -> str:
    if not layout.shares:
        return "UMAP by cosine distance"
    return f"two principal axes, which show {sum(layout.shares):.0%} of the variance"
