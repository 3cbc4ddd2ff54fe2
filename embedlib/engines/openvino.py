"""The default engine on a CPU: OpenVINO reads the same frozen graph, cut at the wanted nodes.

Dead filters are folded away first (`embedlib.models.fold`). The outputs are chosen in the
TensorFlow front end, before conversion: afterwards the names of inner nodes and of Identity nodes
are gone.
"""

from __future__ import annotations

import os
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from embedlib.engines.engine import GraphSpec
from embedlib.errors import EngineError, ModelError
from embedlib.models.fold import fold_dead_filters
from embedlib.models.graph import parse_graph
from embedlib.models.locks import read_weights
from embedlib.records import Float32


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
    WeightsMissingError
        If there is no such file.
    ModelError
        If the file is no harmless graph, or OpenVINO cannot read or compile it.
    """

    name = "openvino"

    def __init__(self, spec: GraphSpec) -> None:
        ov = _import_openvino()
        try:
            model = _read_cut(spec)
            compiled = ov.Core().compile_model(model, "CPU", _properties(spec))
        except RuntimeError as exc:
            reason = str(exc).strip().splitlines()[-1]
            raise ModelError(
                f"OpenVINO cannot use {spec.path.name}: {reason}",
                fix="look at the file with `embedlib models nodes`, or take --engine essentia",
            ) from exc
        # OpenVINO wants memory it may write to, and arrays that come out of Ray are read-only.
        self._input = np.zeros((spec.batch_size, *spec.patch_shape), np.float32)
        self._tensor = ov.Tensor(self._input, shared_memory=True)
        self._request = compiled.create_infer_request()
        self._n_outputs = len(spec.output_nodes)

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
        self._request.infer([self._tensor])
        return tuple(
            np.array(self._request.get_output_tensor(index).data, dtype=np.float32)
            for index in range(self._n_outputs)
        )


def _import_openvino() -> Any:
    # Its telemetry thread looks for the network at import; nothing here may depend on that.
    os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
    try:
        import openvino
    except ImportError as exc:
        raise EngineError(
            "openvino is not installed", fix="pip install openvino, or take --engine essentia"
        ) from exc
    return openvino


def _read_cut(spec: GraphSpec) -> Any:
    """Convert the graph from its input up to the wanted nodes, with a static batch."""
    from openvino.frontend import FrontEndManager

    front_end = FrontEndManager().load_by_framework("tf")
    graph = _load(front_end, spec)
    graph.override_all_outputs(
        [graph.get_place_by_tensor_name(f"{node}:0") for node in spec.output_nodes]
    )
    model = front_end.convert(graph)
    _drop_unused_parameters(model)
    names = {parameter.get_any_name(): parameter for parameter in model.inputs}
    if f"{spec.input_node}:0" not in names or len(names) != 1:
        raise ModelError(
            f"{spec.path.name} wants the inputs {', '.join(sorted(names))}, "
            f"but {spec.input_node!r} alone is fed",
            fix="choose another node with --node",
        )
    model.reshape({names[f"{spec.input_node}:0"]: [spec.batch_size, *spec.patch_shape]})
    return model


def _load(front_end: Any, spec: GraphSpec) -> Any:
    """Load the graph without its dead filters, or the file as it is where it has none."""
    folded = _folded(spec)
    if folded is None:
        return front_end.load(str(spec.path))
    try:
        # OpenVINO 2026.4 takes no TensorFlow graph from memory.
        with NamedTemporaryFile(suffix=".pb") as file:
            file.write(folded)
            file.flush()
            return front_end.load(file.name)
    except OSError as exc:
        raise EngineError(
            f"{spec.path.name} without its dead filters cannot be written: {exc.strerror}",
            fix="set TMPDIR to a folder with room that you may write to",
        ) from exc


def _folded(spec: GraphSpec) -> bytes | None:
    graph = parse_graph(read_weights(spec.path), origin=str(spec.path))
    folded = fold_dead_filters(graph, outputs=spec.output_nodes)
    return None if folded is graph else bytes(folded.SerializeToString(deterministic=True))


def _drop_unused_parameters(model: Any) -> None:
    """Leave out placeholders that no wanted node needs, such as labels."""
    for parameter in list(model.get_parameters()):
        if not parameter.output(0).get_target_inputs():
            model.remove_parameter(parameter)


def _properties(spec: GraphSpec) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": spec.precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # The affinity of the process is the scheduler's business, not the runtime's.
        "ENABLE_CPU_PINNING": False,
    }
