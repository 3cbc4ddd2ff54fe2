"""`sources.json`: which sources an output was made from, so that no other listing mixes into it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from embedlib.catalog.listing import normalised_sources
from embedlib.catalog.stores import Place
from embedlib.errors import ConfigError, OutputError
from embedlib.tables.durable import create_if_absent

SOURCES_FILE: Final = "sources.json"


def claim_sources(folder: Place, sources: Sequence[str]) -> None:
    """Say once and for all what an output is made from, or check what was said before.

    Parameters
    ----------
    folder : Path or StorePath
        Of the catalogue, created if absent.
    sources : sequence of str
        Paths and URLs; their credentials are not written.

    Raises
    ------
    ConfigError
        If the output belongs to other sources.
    OutputError
        If the file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"sources": normalised_sources(sources)}, indent=2, ensure_ascii=False)
    if not create_if_absent(folder / SOURCES_FILE, content.encode()):
        check_sources(folder, sources)


def check_sources(folder: Place, sources: Sequence[str]) -> None:
    """Refuse other sources than those that an output was made from, if it was.

    Parameters
    ----------
    folder : Path or StorePath
        Of the catalogue, which need not exist.
    sources : sequence of str
        Paths and URLs.

    Raises
    ------
    ConfigError
        If the output belongs to other sources.
    OutputError
        If the file is damaged.
    """
    claimed = claimed_sources(folder)
    if claimed is None:
        return
    wanted = normalised_sources(sources)
    if claimed != wanted:
        raise ConfigError(
            f"{folder.parent} was made from {', '.join(claimed)}, not from {', '.join(wanted)}",
            fix="use a new output folder, or the same sources",
        )


def claimed_sources(folder: Place) -> tuple[str, ...] | None:
    """Tell which sources an output was made from.

    Parameters
    ----------
    folder : Path or StorePath
        Of the catalogue, which need not exist.

    Returns
    -------
    sources : tuple of str or None
        Absolute, sorted, without credentials; None where nobody has said so yet.

    Raises
    ------
    OutputError
        If the file is damaged.
    """
    path = folder / SOURCES_FILE
    try:
        return tuple(str(source) for source in json.loads(path.read_bytes())["sources"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        raise OutputError(f"{path} is damaged", fix="restore it from a copy") from exc
