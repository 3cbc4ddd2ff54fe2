"""Patterns of file names, one meaning for local folders and for stores.

``*``, ``?`` and ``[...]`` stay within one component of a path, ``**`` stands for any number of
components, none included. Python's own ``glob`` is not used because it walks into loops of links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from embedlib.catalog.formats import extension, is_audio_name

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A source, cut in front of its first wildcard.

    Attributes
    ----------
    root : str
        The part without wildcards: a folder.
    parts : tuple of str
        The components after it; empty for a source without wildcards.
    """

    root: str
    parts: tuple[str, ...]

    @property
    def max_depth(self) -> int | None:
        """Deepest level below the root at which a file can match; None when there is no limit."""
        return None if not self.parts or "**" in self.parts else len(self.parts)

    def takes(self, name: str) -> bool:
        """Tell whether the source means this file.

        A pattern that ends in an extension of its own (``*.sph``) is taken at its word; any other
        one, and a folder, means audio files only.

        Parameters
        ----------
        name : str
            Path relative to the root, with ``/`` separators.

        Returns
        -------
        taken : bool
            Whether the file belongs to the source.
        """
        if not self.parts:
            return is_audio_name(name)
        ending = extension(self.parts[-1])
        named = bool(ending) and not has_wildcard(ending)
        return (named or is_audio_name(name)) and matches(name.split("/"), self.parts)


def has_wildcard(text: str) -> bool:
    """Tell whether the text holds ``*``, ``?`` or ``[``.

    Parameters
    ----------
    text : str
        A path or one component of it.

    Returns
    -------
    has_wildcard : bool
        Whether it is a pattern.
    """
    return _WILDCARD.search(text) is not None


def split_pattern(path: str, *, exists: Callable[[str], bool] = lambda path: False) -> Pattern:
    """Cut a path in front of its first component that is a pattern.

    Parameters
    ----------
    path : str
        Path with ``/`` separators.
    exists : callable, optional
        Tells whether a path is there by that very name: ``a[1]`` may be a real folder.

    Returns
    -------
    pattern : Pattern
        Root and the components after it.

    Examples
    --------
    >>> split_pattern("/music/**/*.flac")
    Pattern(root='/music', parts=('**', '*.flac'))
    """
    components = path.split("/")
    for n_leading, component in enumerate(components):
        if has_wildcard(component) and not exists("/".join(components[: n_leading + 1])):
            root = "/".join(components[:n_leading])
            return Pattern(root or "/", tuple(components[n_leading:]))
    return Pattern(path, ())


def matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Tell whether the components of a path match those of a pattern.

    Parameters
    ----------
    names : sequence of str
        Components of a path.
    parts : sequence of str
        Components of a pattern; ``**`` matches any number of names.

    Returns
    -------
    matched : bool
        Whether all of the path matches all of the pattern; case counts.

    Examples
    --------
    >>> matches(["x", "y", "a.wav"], ["**", "*.wav"]), matches(["x", "a.wav"], ["*.wav"])
    (True, False)
    """
    if not parts:
        return not names
    if parts[0] == "**":
        return any(matches(names[skipped:], parts[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], parts[0]) and matches(names[1:], parts[1:])
