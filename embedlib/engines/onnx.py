"""The engine that runs anywhere, GPUs included: onnxruntime on our export of the frozen graph.

An export takes a tenth of a second, or two seconds for the 289 MB of VGGish, and is made at each
load: nothing on disk can be stale or damaged, and no worker writes. Published ONNX files run as
they are.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import GraphSpec
from embedlib.engines.memory import memory_errors
from embedlib.errors import ConfigError, EngineError, ModelError
from embedlib.models.cut import cut, fix_batch, node_of
from embedlib.models.fold import fold_dead_filters
from embedlib.models.graph import parse_graph
from embedlib.models.locks import read_weights
from embedlib.records import Float32

if TYPE_CHECKING:
    from embedlib.models.onnx_writer import OnnxModel

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# onnxruntime's documentation, "CUDA Execution Provider". TF32 keeps 10 bits of a float32 and is on
# by default. The default search for algorithms times them, so that two loads may differ.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

_ERRORS_ONLY = 3  # of onnxruntime's log levels

_INSTALL_GPU = "pip install 'embedlib[gpu]', in place of onnxruntime without a GPU"


class OnnxEngine:
    """A graph in one session of onnxruntime, on one CPU thread or one GPU.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it; also an ``.onnx`` file.

    Raises
    ------
    ConfigError
        If another precision than ``f32`` is asked for.
    EngineError
        If onnxruntime is not installed, or cannot use the GPU that is asked for: it never falls
        back to the CPU.
    BatchMemoryError
        If there is no memory to load the graph.
    WeightsMissingError
        If there is no such file.
    ModelError
        If the file is no harmless graph, holds an op that has no export, or onnxruntime cannot
        use it.
    """

    name = "onnxruntime"

    def __init__(self, spec: GraphSpec) -> None:
        if spec.precision != "f32":
            raise ConfigError(
                f"precision={spec.precision!r} is not possible with the onnxruntime engine",
                fix="use f32, or --engine openvino",
            )
        ort = _import_onnxruntime()
        with memory_errors(spec):
            model = _read_model(spec)
            self._session = _session(ort, model.data, spec)
        self._input_name = model.input_name
        self._output_names = model.output_names
        self._shape = (spec.batch_size, *spec.patch_shape)
        self._spec = spec

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        """Run one batch.

        Parameters
        ----------
        batch : np.ndarray [shape=(batch_size, *patch_shape), float32]
            Patches; not written to.

        Returns
        -------
        outputs : tuple of np.ndarray [shape=(batch_size, ...), float32]
            One per output node, owned by the caller.

        Raises
        ------
        BatchMemoryError
            If there is no memory for a batch.
        """
        feed = {self._input_name: np.ascontiguousarray(batch).reshape(self._shape)}
        wanted = list(dict.fromkeys(self._output_names))
        with memory_errors(self._spec, *_errors()):
            outputs = dict(zip(wanted, self._session.run(wanted, feed), strict=True))
        return tuple(outputs[name] for name in self._output_names)


def _import_onnxruntime() -> Any:
    try:
        import onnx  # noqa: F401 - the export needs it
        import onnxruntime
    except ImportError as exc:
        raise EngineError(f"{exc.name} is not installed", fix=f"pip install {exc.name}") from exc
    return onnxruntime


def _read_model(spec: GraphSpec) -> OnnxModel:
    from embedlib.models.onnx_export import export_onnx
    from embedlib.models.onnx_file import is_onnx_file, read_onnx

    if is_onnx_file(spec.path):
        return read_onnx(
            read_weights(spec.path),
            origin=spec.path.name,
            input_node=spec.input_node,
            outputs=spec.output_nodes,
            shape=(spec.batch_size, *spec.patch_shape),
        )
    return export_onnx(_cut_graph(spec), outputs=spec.output_nodes)


def _cut_graph(spec: GraphSpec) -> GraphDef:
    """Read the part of a graph that is run; nothing else of the file stays in memory."""
    graph = cut(
        parse_graph(read_weights(spec.path), origin=str(spec.path)),
        input_node=spec.input_node,
        outputs=spec.output_nodes,
        patch_shape=spec.patch_shape,
    )
    graph = fold_dead_filters(graph, outputs=[node_of(node) for node in spec.output_nodes])
    fix_batch(graph, batch_size=spec.batch_size)
    return graph


def _session(ort: Any, data: bytes, spec: GraphSpec) -> Any:
    provider, options = (_CUDA, _CUDA_OPTIONS) if spec.device == "cuda" else (_CPU, {})
    _require_provider(ort, provider)
    try:
        with memory_errors(spec, *_errors()):
            session = ort.InferenceSession(
                data,
                sess_options=_options(ort),
                providers=[(provider, options)],
                enable_fallback=0,  # else a session that fails on the GPU is made again on the CPU
            )
    except _errors() as exc:
        reason = str(exc).strip().splitlines()[-1]
        raise ModelError(
            f"onnxruntime cannot use {spec.path.name}: {reason}",
            fix="take --engine openvino, on the CPU",
        ) from exc
    # A provider that cannot be loaded, for want of a driver say, is left out with a log line only.
    if session.get_providers()[0] != provider:
        raise EngineError(
            "onnxruntime cannot use the GPU of this machine",
            fix="check the driver and CUDA's libraries, or use --device cpu",
        )
    session.disable_fallback()
    return session


def _require_provider(ort: Any, provider: str) -> None:
    if provider == _CUDA and hasattr(ort, "preload_dlls"):
        # CUDA's libraries may come from PyPI, where no loader looks. It talks on stdout.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    if provider not in ort.get_available_providers():
        raise EngineError(f"this onnxruntime {ort.__version__} knows no GPU", fix=_INSTALL_GPU)


def _options(ort: Any) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    return options


def _errors() -> tuple[type[Exception], ...]:
    """Give what onnxruntime raises for what it cannot use or run; they have no common root."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.EPFail,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )
