"""What onnxruntime runs a graph with: the CPU, CUDA, or TensorRT in front of CUDA."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import redirect_stdout
from typing import Any

from embedlib.errors import EngineError
from embedlib.models.folders import cache_folder

_LOG = logging.getLogger("embedlib")

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# onnxruntime's documentation, "CUDA Execution Provider". TF32 keeps 10 bits of a float32 and is on
# by default. The default search for algorithms times them, so that two loads may differ.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

# NVIDIA's cuBLAS documentation: 0 forbids TF32 to all libraries of a process. TensorRT's provider
# has no option of its own for it.
_TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"

_INSTALL_GPU = "pip install 'embedlib[gpu]', in place of onnxruntime without a GPU"

Providers = list[tuple[str, dict[str, str]]]


def providers(ort: Any, *, device: str, with_tensorrt: bool = False) -> Providers:
    """Say what a session is to run with, the best first.

    Parameters
    ----------
    ort : module
        The runtime.
    device : {'cpu', 'cuda'}
        Where the graph runs.
    with_tensorrt : bool
        Whether TensorRT is wanted in front of CUDA. Where this onnxruntime lacks it, a line of the
        log says so, and CUDA runs all of the graph.

    Returns
    -------
    providers : list of (str, dict of str to str)
        Names and options, as `onnxruntime.InferenceSession` takes them.

    Raises
    ------
    EngineError
        If the card is wanted and this onnxruntime knows none.
    """
    if device == "cpu":
        return [(CPU, {})]
    if hasattr(ort, "preload_dlls"):
        # CUDA's libraries may come from PyPI, where no loader looks. It talks on stdout.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    known = ort.get_available_providers()
    if CUDA not in known:
        raise EngineError(f"this onnxruntime {ort.__version__} knows no GPU", fix=_INSTALL_GPU)
    tensorrt: Providers = [(TENSORRT, _tensorrt_options())] if with_tensorrt else []
    if with_tensorrt and TENSORRT not in known:
        _LOG.warning("this onnxruntime %s knows no TensorRT: CUDA alone", ort.__version__)
        tensorrt = []
    return [*tensorrt, (CUDA, CUDA_OPTIONS)]


def require_used(session: Any, wanted: Providers) -> None:
    """See that a session runs with what it was to run with.

    A provider that cannot be loaded, for want of a driver say, is left out by onnxruntime with a
    line of its own log only.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        As it was made.
    wanted : list of (str, dict of str to str)
        From `providers`.

    Raises
    ------
    EngineError
        If the card cannot be used. TensorRT that cannot be is one line of the log.
    """
    used = session.get_providers()
    names = [name for name, _ in wanted]
    if names[-1] not in used:
        raise EngineError(
            "onnxruntime cannot use the GPU of this machine",
            fix="check the driver and CUDA's libraries, or use --device cpu",
        )
    if names[0] not in used:
        _LOG.warning("TensorRT cannot be loaded: CUDA alone")


def _tensorrt_options() -> dict[str, str]:
    """Give options by which TensorRT computes in float32 and builds a graph once per machine."""
    os.environ.setdefault(_TF32_VARIABLE, "0")
    folder = cache_folder() / "tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
