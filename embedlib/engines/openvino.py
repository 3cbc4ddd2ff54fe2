"""The default engine on a CPU: OpenVINO reads the same frozen graph, cut at the wanted nodes.

The outputs are chosen in the TensorFlow front end, before conversion: afterwards the names of
inner nodes and of Identity nodes are gone.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from embedlib.engines.engine import GraphSpec
from embedlib.errors import EngineError, ModelError
from embedlib.records import Float32


class OpenVinoEngine:
    """A graph compiled for one CPU thread and one batch shape.

    Equal patches give bit-equal results, whatever their neighbours in the batch.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it.

    Raises
    ------
    EngineError
        If OpenVINO is not installed.
    ModelError
        If OpenVINO cannot read or compile the graph.
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
    graph = front_end.load(str(spec.path))
    places = [graph.get_place_by_tensor_name(f"{node}:0") for node in spec.output_nodes]
    missing = [node for node, place in zip(spec.output_nodes, places, strict=True) if not place]
    if missing:
        raise ModelError(
            f"{spec.path.name} has no node {missing[0]!r}",
            fix="list its nodes with `embedlib models nodes`",
        )
    graph.override_all_outputs(places)
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
