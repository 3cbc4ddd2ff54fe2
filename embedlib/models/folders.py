"""Where embedlib keeps what it can fetch or make again; workers know it without the store."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "EMBEDLIB_CACHE"


def cache_folder() -> Path:
    """Give the folder in which embedlib keeps what it can fetch or make again.

    Returns
    -------
    folder : Path
        Of ``EMBEDLIB_CACHE``, else ``~/.cache/embedlib``; it may not exist yet.
    """
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder).expanduser() if folder else Path.home() / ".cache" / "embedlib"
