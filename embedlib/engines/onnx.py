"""The engine that runs anywhere, GPUs included: onnxruntime on our export of the frozen graph.

An export takes a tenth of a second, or two seconds for the 289 MB of VGGish, and is made at each
load: nothing on disk can be stale or damaged, and no worker writes. Published ONNX files run as
they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.engines.engine import GraphSpec
from embedlib.engines.memory import memory_errors
from embedlib.engines.onnx_card import CardSession
from embedlib.engines.onnx_providers import providers, require_used
from embedlib.errors import ConfigError, EngineError, ModelError
from embedlib.models.cut import cut, fix_batch
from embedlib.models.dead.fold import fold_dead_filters
from embedlib.models.graph import parse_graph
from embedlib.models.locks import read_weights
from embedlib.models.tensors import node_of
from embedlib.records import Float32

if TYPE_CHECKING:
    from embedlib.models.onnx_writer import OnnxModel

_ERRORS_ONLY = 3  # of onnxruntime's log levels


class OnnxEngine:
    """A graph in one session of onnxruntime, on one CPU thread or one GPU.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it; also an ``.onnx`` file.
    with_tensorrt : bool
        Whether TensorRT takes what it can of the graph, and CUDA the rest. It plans a graph for
        minutes at the first load, and keeps the plan in the cache.

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

    def __init__(self, spec: GraphSpec, *, with_tensorrt: bool = False) -> None:
        if spec.precision != "f32":
            raise ConfigError(
                f"precision={spec.precision!r} is not possible with the onnxruntime engine",
                fix="use f32, or --engine openvino",
            )
        ort = _import_onnxruntime()
        with memory_errors(spec):
            model = _read_model(spec)
            session = _session(ort, model.data, spec, with_tensorrt=with_tensorrt)
        self._output_names = model.output_names
        self._wanted = list(dict.fromkeys(model.output_names))
        self._shape = (spec.batch_size, *spec.patch_shape)
        self._spec = spec
        self._run = self._runner(ort, session, model.input_name)

    def _runner(self, ort: Any, session: Any, input_name: str) -> Callable[[Float32], Any]:
        """Give what runs a batch of the right shape; it does not hold on to this engine."""
        wanted = self._wanted
        if self._spec.device == "cpu":
            return lambda batch: session.run(wanted, {input_name: batch})
        with memory_errors(self._spec, *_errors()):
            return CardSession(
                ort,
                session,
                input_name=input_name,
                output_names=self._wanted,
                shape=self._shape,
            ).run

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
        inputs = np.ascontiguousarray(batch).reshape(self._shape)
        with memory_errors(self._spec, *_errors()):
            outputs = dict(zip(self._wanted, self._run(inputs), strict=True))
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
            read_weights(spec.path, expected=spec.sha256),
            origin=spec.path.name,
            input_node=spec.input_node,
            outputs=spec.output_nodes,
            shape=(spec.batch_size, *spec.patch_shape),
        )
    return export_onnx(_cut_graph(spec), outputs=spec.output_nodes)


def _cut_graph(spec: GraphSpec) -> GraphDef:
    """Read the part of a graph that is run; nothing else of the file stays in memory."""
    graph = cut(
        parse_graph(read_weights(spec.path, expected=spec.sha256), origin=str(spec.path)),
        input_node=spec.input_node,
        outputs=spec.output_nodes,
        patch_shape=spec.patch_shape,
    )
    graph = fold_dead_filters(graph, outputs=list(map(node_of, spec.output_nodes))).graph
    fix_batch(graph, batch_size=spec.batch_size)
    return graph


def _session(ort: Any, data: bytes, spec: GraphSpec, *, with_tensorrt: bool) -> Any:
    wanted = providers(ort, device=spec.device, with_tensorrt=with_tensorrt)
    try:
        with memory_errors(spec, *_errors()):
            session = ort.InferenceSession(
                data,
                sess_options=_options(ort),
                providers=wanted,
                enable_fallback=0,  # else a session that fails on the GPU is made again on the CPU
            )
    except _errors() as exc:
        reason = str(exc).strip().splitlines()[-1]
        raise ModelError(
            f"onnxruntime cannot use {spec.path.name}: {reason}",
            fix="take --engine openvino, on the CPU",
        ) from exc
    require_used(session, wanted)
    session.disable_fallback()
    return session


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
