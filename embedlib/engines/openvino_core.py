"""OpenVINO itself: imported without telemetry, with one core for the whole process."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from embedlib.engines.signal_stack import lay_signal_stack
from embedlib.errors import EngineError


def import_openvino() -> Any:
    """Import OpenVINO.

    Returns
    -------
    openvino : module
        Without its telemetry thread, which looks for the network at import; nothing here may
        depend on that.

    Raises
    ------
    EngineError
        If it is not installed.
    """
    os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
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
