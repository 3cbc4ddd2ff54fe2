"""Links from the places of the repository to those of the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def relinked(markdown: str, *, source: str, resolve: Callable[[str], str | None]) -> str:
    """Rewrite the links of a page.

    A link to a file that is no page of the site becomes its text, with the path where the text does
    not name it.

    Parameters
    ----------
    markdown : str
        The page.
    source : str
        Its path in the repository.
    resolve : callable
        Gives the place on the site of a path of the repository, or None.

    Returns
    -------
    markdown : str
        The page, its code blocks as they were.

    Examples
    --------
    >>> places = {"README.md": "project/readme.md", "docs/probes.md": "probes.md"}
    >>> relinked("[b](bench.py), [r](../README.md#x)", source="docs/probes.md", resolve=places.get)
    'b (`docs/bench.py`), [r](project/readme.md#x)'
    """
    here = posixpath.dirname(resolve(source) or "")

    def link(found: re.Match[str]) -> str:
        text, target = found["text"], found["target"]
        path, hash_sign, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        there = resolve(file)
        if there is None:
            return text if file in text else f"{text} (`{file}`)"
        return f"[{text}]({posixpath.relpath(there, here or '.')}{hash_sign}{anchor})"

    return _outside_code(_LINK, link, markdown)


def _outside_code(
    pattern: re.Pattern[str], change: Callable[[re.Match[str]], str], markdown: str
) -> str:
    pieces, end = [], 0
    for block in _FENCED.finditer(markdown):
        pieces += [pattern.sub(change, markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*pieces, pattern.sub(change, markdown[end:])])
