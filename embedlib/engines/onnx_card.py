"""One session of onnxruntime whose input has its one place in the memory of a card.

`InferenceSession.run` takes new memory for its input at each call. Here a batch is copied once,
over pinned memory where onnxruntime gives such, which the card reads without the processor's help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embedlib.engines.onnx_providers import CUDA
from embedlib.records import Float32


class CardSession:
    """A session with bound input and outputs.

    Parameters
    ----------
    ort : module
        The runtime.
    session : onnxruntime.InferenceSession
        What runs the graph.
    input_name : str
        Of its one input.
    output_names : sequence of str
        Of the outputs that are read, each once.
    shape : tuple of int
        Of every batch.
    device : str
        In onnxruntime's words; what works on ``cuda`` works on ``cpu``, which is how it is tested.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        *,
        input_name: str,
        output_names: Sequence[str],
        shape: tuple[int, ...],
        device: str = "cuda",
    ) -> None:
        self._session = session
        self._input = ort.OrtValue.ortvalue_from_shape_and_type([*shape], np.float32, device, 0)
        self._pinned = _pinned(ort, shape)
        self._staged = np.empty(shape, np.float32) if self._pinned is None else self._pinned.numpy()
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(input_name, self._input)
        for name in output_names:
            self._binding.bind_output(name, device)

    def run(self, batch: Float32) -> list[Float32]:
        """Run one batch.

        Parameters
        ----------
        batch : np.ndarray [shape=shape, float32]
            Not written to, and free again when this returns.

        Returns
        -------
        outputs : list of np.ndarray
            In the order of `output_names`, owned by the caller.
        """
        np.copyto(self._staged, batch)
        self._input.update_inplace(self._staged)
        self._session.run_with_iobinding(self._binding)
        outputs: list[Float32] = self._binding.copy_outputs_to_cpu()
        return outputs


def _pinned(ort: Any, shape: tuple[int, ...]) -> Any:
    """Give memory of this machine that a card reads by itself; None where there is none."""
    if not hasattr(ort, "get_ep_devices"):  # before onnxruntime 1.23
        return None
    kind = ort.OrtDeviceMemoryType.HOST_ACCESSIBLE
    infos = [each.memory_info(kind) for each in ort.get_ep_devices() if each.ep_name == CUDA]
    if not infos or infos[0] is None:
        return None
    return ort.OrtValue.ortvalue_from_shape_and_type([*shape], np.float32, memory_info=infos[0])
