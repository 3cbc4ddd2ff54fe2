"""Templates of pages: what is not written by us is escaped, what is not given is an error."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined


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


def policy_hash(text: str) -> str:
    """Hash a script as a content security policy names it.

    Parameters
    ----------
    text : str
        What stands between the tags, to the letter.

    Returns
    -------
    hash : str
        Of SHA-256, for ``'sha256-...'``.

    Examples
    --------
    >>> policy_hash("")
    '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
