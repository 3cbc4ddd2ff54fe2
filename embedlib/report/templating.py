"""Templates of pages: what is not written by us is escaped, what is not given is an error.

The policy of every page is made here. Should a name ever get through as markup, the browser still
runs no script, loads nothing and sends nothing: only what is written by us has its hash in it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def template_text(name: str) -> str:
    """Read a file of the folder ``templates``.

    Parameters
    ----------
    name : str
        Of the file.

    Returns
    -------
    text : str
        All of it.
    """
    return files("embedlib.report").joinpath("templates", name).read_text(encoding="utf-8")


def environment() -> Environment:
    """Make an environment that finds our templates.

    Returns
    -------
    environment : Environment
        Without filters of its own.
    """
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(template_text),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def sealed(
    *, script: str, style: str, loads_scripts: bool = False, media: Sequence[str] = ()
) -> dict[str, Markup]:
    """Give what every page has: its script, its style, and the policy that lets in nothing else.

    Parameters
    ----------
    script, style : str
        Ours, without any text from outside.
    loads_scripts : bool, optional
        Whether the script may load others.
    media : sequence of str, optional
        Where audio may come from: schemes, or origins.

    Returns
    -------
    values : dict of str to Markup
        The names ``script``, ``style`` and ``policy`` of templates. The policy stands in an
        attribute, in double quotes.

    References
    ----------
    W3C, Content Security Policy Level 3. Style attributes have no hash, and pages have none;
    what a script does to the style of an element is free.
    """
    scripts = [policy_hash(script), *(["'strict-dynamic'"] if loads_scripts else [])]
    directives = {
        "default-src": ["'none'"],
        "script-src": scripts,
        "style-src": [policy_hash(style)],
        "img-src": ["data:"],
        "media-src": media or ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    policy = "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())
    return {"script": Markup(script), "style": Markup(style), "policy": Markup(policy)}


def policy_hash(text: str) -> str:
    """Hash a script or a style as a content security policy names it.

    Parameters
    ----------
    text : str
        What stands between the tags, to the letter.

    Returns
    -------
    hash : str
        Of SHA-256, within its quotes.

    Examples
    --------
    >>> policy_hash("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
