"""Which engine runs a model: the one that was asked for, or the best one here."""

from __future__ import annotations

from importlib.util import find_spec

from embedlib.engines.engine import DEVICES, Engine, GraphSpec
from embedlib.errors import ConfigError, EngineError

ENGINES = ("auto", "openvino", "essentia", "onnxruntime", "tensorrt")

READ_ONNX = ("onnxruntime", "tensorrt")
"""Those that run published ONNX files."""

# In the order of preference.
_ON_CPU = ("openvino", "essentia", "onnxruntime")
_ON_CUDA = ("onnxruntime",)

_PACKAGES = {
    "openvino": "openvino",
    "essentia": "essentia-tensorflow==2.1b6.dev1389 (Linux on x86-64 only), or take openvino",
    "onnxruntime": "'embedlib[onnx]'",
}
# TensorRT is a part of onnxruntime that is loaded where NVIDIA's libraries for it are.
_MODULES = {"tensorrt": "onnxruntime"}
_CUDA_PACKAGE = "'embedlib[gpu]'"

# TensorFlow's installation guide, "Tested build configurations": 2.5 goes with CUDA 11.2.
_NO_CUDA = {
    "openvino": "OpenVINO knows no NVIDIA card",
    "essentia": "the TensorFlow 2.5 in Essentia knows no card newer than CUDA 11",
}


def resolve_engine(name: str, *, device: str = "cpu") -> str:
    """Say which engine `name` means on a slot of this machine.

    Parameters
    ----------
    name : str
        ``auto``, ``openvino``, ``essentia``, ``onnxruntime``, or ``tensorrt``: onnxruntime with
        TensorRT for what that can run.
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    engine : str
        For ``auto`` on a CPU the first that is installed of ``openvino``, ``essentia`` and
        ``onnxruntime``; on a GPU ``onnxruntime``.

    Raises
    ------
    ConfigError
        If there is no such engine or device, or the engine does not run on the device.
    EngineError
        If its runtime is not installed.

    Examples
    --------
    >>> resolve_engine("openvino", device="cuda")
    Traceback (most recent call last):
    ...
    embedlib.errors.ConfigError: engine='openvino' is not possible with device='cuda': OpenVINO \
knows no NVIDIA card; use --engine onnxruntime
    """
    if name not in ENGINES:
        raise ConfigError(f"engine={name!r} is unknown", fix=f"use one of {', '.join(ENGINES)}")
    if device not in DEVICES:
        raise ConfigError(f"device={device!r} is unknown", fix=f"use one of {', '.join(DEVICES)}")
    if device == "cuda" and name in _NO_CUDA:
        raise ConfigError(
            f"engine={name!r} is not possible with device='cuda': {_NO_CUDA[name]}",
            fix="use --engine onnxruntime",
        )
    if device == "cpu" and name == "tensorrt":
        raise ConfigError(
            "engine='tensorrt' is not possible with device='cpu'", fix="use --device cuda"
        )
    return _installed(name, device=device)


def load_engine(name: str, spec: GraphSpec) -> Engine:
    """Load a graph into an engine.

    Parameters
    ----------
    name : str
        As for `resolve_engine`.
    spec : GraphSpec
        The graph and what to read from it.

    Returns
    -------
    engine : Engine
        Ready for batches.
    """
    engine = resolve_engine(name, device=spec.device)
    if engine == "essentia":
        from embedlib.engines.essentia import EssentiaEngine

        return EssentiaEngine(spec)
    if engine in READ_ONNX:
        from embedlib.engines.onnx import OnnxEngine

        return OnnxEngine(spec, with_tensorrt=engine == "tensorrt")
    from embedlib.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(spec)


def _installed(name: str, *, device: str) -> str:
    possible = _ON_CUDA if device == "cuda" else _ON_CPU
    wanted = possible if name == "auto" else (name,)
    for engine in wanted:
        if find_spec(_MODULES.get(engine, engine)):
            return engine
    package = _CUDA_PACKAGE if device == "cuda" else _PACKAGES[wanted[0]]
    raise EngineError(f"{wanted[0]} is not installed", fix=f"pip install {package}")
