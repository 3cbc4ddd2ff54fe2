"""Catalogues of audio in, tables of deep embeddings out.

The public names are here; everything else may move. They are loaded when they are first used,
so that ``import embedlib`` and the command line's help cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedlib.errors import (
        AudioError,
        CatalogError,
        ConfigError,
        EmbedlibError,
        EngineError,
        FingerprintError,
        ModelError,
        OutputError,
        RunError,
    )
    from embedlib.run.extract import RunSummary, extract
    from embedlib.run.single import embed
    from embedlib.tables.diff import diff
    from embedlib.tables.reader import Output
    from embedlib.tables.reader import open_output as open
    from embedlib.tables.verify import verify

__version__ = "0.1.0"

_HOMES = {
    "AudioError": ("embedlib.errors", "AudioError"),
    "CatalogError": ("embedlib.errors", "CatalogError"),
    "ConfigError": ("embedlib.errors", "ConfigError"),
    "EmbedlibError": ("embedlib.errors", "EmbedlibError"),
    "EngineError": ("embedlib.errors", "EngineError"),
    "FingerprintError": ("embedlib.errors", "FingerprintError"),
    "ModelError": ("embedlib.errors", "ModelError"),
    "Output": ("embedlib.tables.reader", "Output"),
    "OutputError": ("embedlib.errors", "OutputError"),
    "RunError": ("embedlib.errors", "RunError"),
    "RunSummary": ("embedlib.run.extract", "RunSummary"),
    "diff": ("embedlib.tables.diff", "diff"),
    "embed": ("embedlib.run.single", "embed"),
    "extract": ("embedlib.run.extract", "extract"),
    "open": ("embedlib.tables.reader", "open_output"),
    "verify": ("embedlib.tables.verify", "verify"),
}

__all__ = [
    "AudioError",
    "CatalogError",
    "ConfigError",
    "EmbedlibError",
    "EngineError",
    "FingerprintError",
    "ModelError",
    "Output",
    "OutputError",
    "RunError",
    "RunSummary",
    "__version__",
    "diff",
    "embed",
    "extract",
    "open",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'embedlib' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
