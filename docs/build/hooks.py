"""What MkDocs calls while it builds: pages that are made, links, the colours of code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from commands import commands_page
from links import relinked
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pages import GENERATED, site_address
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[2]
STYLE = "friendly"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the style sheet of code.

    Parameters
    ----------
    files : Files
        Those of docs/.
    config : MkDocsConfig
        Of the site.

    Returns
    -------
    files : Files
        The same, with more.
    """
    made = {
        address: (ROOT / source).read_text(encoding="utf-8")
        for source, address in GENERATED.items()
    }
    made["reference/commands.md"] = commands_page()
    made["highlight.css"] = HtmlFormatter(style=STYLE).get_style_defs(".codehilite")
    for address, content in made.items():
        files.append(File.generated(config, address, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Let links that are right in the repository be right on the site.

    Parameters
    ----------
    markdown : str
        Of the page.
    page : Page
        Where it is on the site.
    **_ : Any
        What else MkDocs gives.

    Returns
    -------
    markdown : str
        With the links of the site.
    """
    address = page.file.src_uri
    sources = {made: source for source, made in GENERATED.items()}
    return relinked(markdown, source=sources.get(address, f"docs/{address}"), resolve=site_address)
