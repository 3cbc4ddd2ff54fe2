"""OpenVINO itself: imported without telemetry, with one core for the whole process."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from embedlib.engines.signal_stack import lay_signal_stack
from embedlib.errors import EngineError


def import_openvino() -> Any:
    """Import OpenVINO.

    Returns
    -------
    openvino : module
        Without its telemetry: release 2026.4 reports each import to Google Analytics, from a
        fork of this process, and writes an identity to the user's home. No variable turns that
        off; it is left out where its package cannot be imported.

    Raises
    ------
    EngineError
        If it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as exc:
        raise EngineError(
            "openvino is not installed", fix="pip install openvino, or take --engine essentia"
        ) from exc
    return openvino


@cache
def openvino_core() -> Any:
    """Give the one core of this process, which is never let go.

    With its CPU plugin comes a small stack for signals, and when a core goes, it puts back the one
    before, whether that still exists or not: after two cores had gone in the order of their making,
    a SIGINT ended the process by SIGSEGV.

    Returns
    -------
    core : openvino.Core
        With the CPU plugin loaded.

    Raises
    ------
    EngineError
        If OpenVINO is not installed.
    """
    core = import_openvino().Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    lay_signal_stack()
    return core
