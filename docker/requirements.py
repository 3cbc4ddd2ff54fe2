"""What embedlib needs at run time, read from pyproject.toml, one requirement per line.

Run: python docker/requirements.py s3 onnx > requirements.txt

The lock names the tools of developers too, so images take it as constraints, and this as the list.
Python's own library is enough to run this.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, *, extras: list[str]) -> list[str]:
    """List the dependencies of a project and of some of its extras.

    Raises
    ------
    KeyError
        If the project has no such extra.
    """
    project = tomllib.loads(pyproject)["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


if __name__ == "__main__":
    print("\n".join(requirements(Path("pyproject.toml").read_text(), extras=sys.argv[1:])))
