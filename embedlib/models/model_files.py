"""Models from single Python files that a user names, written like those of `families`.

Naming a file runs its code, with all that this user may do. No other file is ever run.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from zlib import crc32

from embedlib.errors import ConfigError
from embedlib.models.spec import ModelSpec

FILES_VARIABLE = "EMBEDLIB_MODEL_FILES"
"""Names Python files, separated as in ``PATH``."""


def named_files(value: str) -> tuple[Path, ...]:
    """Read the value of the variable that names files of models.

    Parameters
    ----------
    value : str
        Paths, separated as in ``PATH``; empty ones do not count.

    Returns
    -------
    paths : tuple of Path
        In the order of the value.

    Examples
    --------
    >>> [path.name for path in named_files(os.pathsep.join(["models/a.py", "", "b.py"]))]
    ['a.py', 'b.py']
    """
    return tuple(Path(text).expanduser() for text in value.split(os.pathsep) if text)


def specs_of_file(path: Path) -> tuple[ModelSpec, ...]:
    """Run a file and give its models.

    Parameters
    ----------
    path : Path
        A Python file with a tuple ``SPECS``.

    Returns
    -------
    specs : tuple of ModelSpec
        In its order.

    Raises
    ------
    ConfigError
        If the file is not there, cannot be run, or has no ``SPECS`` of this kind.
    """
    specs = getattr(_run(path), "SPECS", None)
    if not isinstance(specs, tuple) or not all(isinstance(each, ModelSpec) for each in specs):
        raise ConfigError(
            f"the model file {path} has no SPECS", fix="let SPECS be a tuple of ModelSpec"
        )
    return specs


def _run(path: Path) -> ModuleType:
    # Two files may have one name in two folders.
    name = f"embedlib_model_{crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(
            f"there is no model file {path}", fix=f"let {FILES_VARIABLE} name files that end in .py"
        )
    if name in sys.modules:
        raise ConfigError(
            f"the model file {path} asks for models while it is read",
            fix="import what it is made of from embedlib.models.families",
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    # As in `embedlib.plugins`; NameError beside, for here people write their first draft.
    except (ImportError, AttributeError, NameError, SyntaxError, TypeError, ValueError) as exc:
        reason = " ".join(str(exc).split())
        raise ConfigError(
            f"the model file {path} cannot be run ({type(exc).__name__}: {reason})",
            fix=f"correct it, or take it out of {FILES_VARIABLE}",
        ) from exc
    finally:
        del sys.modules[name]
    return module
