"""From a matplotlib figure to SVG that can stand inside a page, the same bytes every time.

Many drawings share one page, where an id must be unique, so that drawings have none: they are made
of lines, areas and texts alone, without what refers to an id (clip paths, markers, gradients). Nor
have they style attributes, which the policy of the page forbids: each property is an attribute.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.figure import Figure

STYLE: Final = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar in the name of a class is a dollar
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#4a5361",
    "xtick.color": "#4a5361",
    "ytick.color": "#4a5361",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    # Tick marks are markers.
    "xtick.bottom": False,
    "ytick.left": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
"""On top of matplotlib's defaults, whatever the user's own settings."""

_PROLOGUE: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_UNSEEN: Final = re.compile(
    r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL
)
_TAG: Final = re.compile(r"<[^<>]+>")
_IN_TAG: Final = (
    (re.compile(r"\s*\n\s*"), " "),
    (re.compile(r" id=\"[^\"]*\"| transform=\"rotate\(-0 [^\"]*\"| font-family: [^;\"]*;"), ""),
    (re.compile(r"(\d\.\d)\d+"), r"\1"),
)
_STYLE_ATTRIBUTE: Final = re.compile(r" style=\"([^\"]*)\"")
_BETWEEN_TAGS: Final = re.compile(r">\s+<")


@contextmanager
def styled() -> Iterator[None]:
    """Draw and write figures in our style, whatever the user's own settings are."""
    with style.context(["default", STYLE]), warnings.catch_warnings():
        # The browser draws the text, and it has other fonts than those that measure it here.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg_text(figure: Figure, *, label: str) -> Markup:
    """Write a figure as an element for a page.

    Parameters
    ----------
    figure : Figure
        Made within `styled`, without clipping and without markers.
    label : str
        What it shows, for those who do not see it; not escaped.

    Returns
    -------
    svg : Markup
        One element ``svg``, without ids, whose text takes the font of the page.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    element = _UNSEEN.sub("", _PROLOGUE.sub("", text.getvalue()))
    element = _BETWEEN_TAGS.sub("><", _TAG.sub(lambda tag: _slim(tag[0]), element)).strip()
    return Markup(element.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))


def _slim(tag: str) -> str:
    """Put a tag on one line, numbers to a tenth of a point, without what says nothing."""
    for pattern, replacement in _IN_TAG:
        tag = pattern.sub(replacement, tag)
    return _STYLE_ATTRIBUTE.sub(lambda style: _presentation(style[1]), tag)


def _presentation(style: str) -> str:
    """Write each property of a style as the attribute of the same name (SVG 2, section 6.6)."""
    properties = [each.partition(":") for each in style.split(";") if each.strip()]
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in properties)
