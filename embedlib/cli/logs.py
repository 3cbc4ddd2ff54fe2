"""Log lines on stderr, as `EMBEDLIB_LOG_LEVEL` asks for them."""

from __future__ import annotations

import os
from typing import Final

from embedlib.errors import ConfigError

LEVEL_VARIABLE: Final = "EMBEDLIB_LOG_LEVEL"

LEVELS: Final = ("debug", "info", "warning", "error")


def show_logs() -> None:
    """Let the logger ``embedlib`` write to stderr, where the environment names a level.

    A run keeps in its output what is shown, at least the lines of level info. Without the variable
    warnings are shown, as Python does where nobody has configured logging.

    Raises
    ------
    ConfigError
        If it is no level.
    """
    level = os.environ.get(LEVEL_VARIABLE, "").lower()
    if not level:
        return
    if level not in LEVELS:
        raise ConfigError(
            f"{LEVEL_VARIABLE}={level} is no level", fix=f"choose from {', '.join(LEVELS)}"
        )
    import logging

    logger = logging.getLogger("embedlib")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level.upper())
