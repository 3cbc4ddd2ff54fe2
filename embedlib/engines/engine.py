"""What an engine is: a frozen graph and its node names, as a callable on batches.

Engines differ in the runtime behind them, not in what they are given: a graph file, the name of
its input, the names of the wanted nodes, a fixed batch shape and a device. Where memory is lacking,
at load or in a call, all raise `BatchMemoryError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from embedlib.errors import ConfigError
from embedlib.records import Float32

PRECISIONS = ("f32", "bf16")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """Which graph to load and what to read from it.

    Attributes
    ----------
    path : Path
        A frozen TensorFlow GraphDef, or for onnxruntime also an ``.onnx`` file. Engines read
        none that holds an op outside the allow-list.
    input_node : str
        Tensor that takes the patches: a placeholder or any other node, with the port where that
        is not the first (``split:1``).
    output_nodes : tuple of str
        Tensors to read, likewise.
    patch_shape : tuple of int
        Shape of one patch as the graph wants it, of any rank, without the batch axis.
    batch_size : int > 0
        Patches per call; every call has exactly as many.
    precision : str
        ``f32`` or ``bf16``.
    device : str
        ``cpu``, or ``cuda`` for an NVIDIA card.
    sha256 : str, optional
        Hex digest that the file must have, compared by who reads it; any will do where it is None.
    """

    path: Path
    input_node: str
    output_nodes: tuple[str, ...]
    patch_shape: tuple[int, ...]
    batch_size: int = 1
    precision: str = "f32"
    device: str = "cpu"
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size} must be positive")
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision={self.precision!r} is unknown",
                fix=f"use one of {', '.join(PRECISIONS)}",
            )
        if self.device not in DEVICES:
            raise ConfigError(
                f"device={self.device!r} is unknown", fix=f"use one of {', '.join(DEVICES)}"
            )


class Engine(Protocol):
    """A loaded graph."""

    name: str

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        """Run one batch.

        Parameters
        ----------
        batch : np.ndarray [shape=(batch_size, *patch_shape), float32]
            Patches; not written to.

        Returns
        -------
        outputs : tuple of np.ndarray [shape=(batch_size, ...), float32]
            One per output node, in its natural shape with no axis dropped, owned by the caller.

        Raises
        ------
        BatchMemoryError
            If there is no memory for a batch.
        """
        ...
