"""The default engine on a CPU: OpenVINO on the same frozen graph, cut at the wanted nodes.

Dead filters are folded away (`embedlib.models.dead`), and what comes out is kept in the cache, so
that the next load of the same graph takes a fraction of the time and the memory.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from embedlib.engines.engine import GraphSpec
from embedlib.engines.ir_cache import read_or_convert
from embedlib.engines.memory import memory_errors
from embedlib.engines.openvino_core import import_openvino, openvino_core
from embedlib.errors import ModelError
from embedlib.models.tensors import tensor_name
from embedlib.records import Float32

# Lines of OpenVINO 2026.4 that say where it found out, not what is wrong.
_PLACES = re.compile(
    r"Check '|Exception from |FrontEnd API failed|Model wasn't fully converted|While validating "
    r"|-- .* with a message:$|Summary:$"
)


class OpenVinoEngine:
    """A graph compiled for one CPU thread and one batch shape, without its dead filters.

    Equal patches give bit-equal results, whatever their neighbours in the batch.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it.

    Raises
    ------
    EngineError
        If OpenVINO is not installed, or there is no room for a temporary file.
    BatchMemoryError
        If there is no memory for a batch, which OpenVINO takes when it compiles.
    WeightsMissingError
        If there is no such file.
    ModelError
        If the file is no harmless graph, or OpenVINO cannot read or compile it.
    """

    name = "openvino"

    def __init__(self, spec: GraphSpec) -> None:
        ov = import_openvino()
        errors = _load_errors()
        try:
            with memory_errors(spec, *errors):
                self._load(ov, spec)
        except errors as exc:
            raise ModelError(
                f"OpenVINO cannot use {spec.path.name}: {_reason(exc)}",
                fix="look at the file with `embedlib models nodes`, or take --engine essentia",
            ) from exc

    def _load(self, ov: Any, spec: GraphSpec) -> None:
        core = openvino_core()
        model = read_or_convert(core, spec, convert=_convert)
        compiled = core.compile_model(model, "CPU", _properties(spec))
        # OpenVINO wants memory it may write to, and arrays that come out of Ray are read-only.
        self._input = np.zeros((spec.batch_size, *spec.patch_shape), np.float32)
        self._tensor = ov.Tensor(self._input, shared_memory=True)
        self._request = compiled.create_infer_request()
        # By name, so that nothing hangs on the order in which a kept model lists its outputs.
        self._outputs = [self._request.get_tensor(tensor_name(n)) for n in spec.output_nodes]
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
        """
        np.copyto(self._input, batch.reshape(self._input.shape))
        with memory_errors(self._spec, RuntimeError):
            self._request.infer([self._tensor])
            return tuple(np.array(output.data, dtype=np.float32) for output in self._outputs)


def _load_errors() -> tuple[type[Exception], ...]:
    """Give what OpenVINO raises when it reads, converts or compiles; they share no class."""
    from openvino import frontend

    return (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    )


def _reason(exc: Exception) -> str:
    """Give the first line of an error of OpenVINO that says what is wrong."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    telling = (line for line in lines if not _PLACES.match(line))
    return next(telling, lines[-1] if lines else type(exc).__name__)


def _convert(spec: GraphSpec) -> Any:
    # Whoever finds a kept model needs nothing that reads a GraphDef: 0.2 s and 30 MiB.
    from embedlib.engines.ir_convert import convert

    return convert(spec)


def _properties(spec: GraphSpec) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": spec.precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # The affinity of the process is the scheduler's business, not the runtime's.
        "ENABLE_CPU_PINNING": False,
    }
