"""The reference engine: Essentia's TensorflowPredict on our patches.

It runs the graph in the TensorFlow that Essentia bundles, f32 only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedlib.audio.essentia_loader import essentia_standard
from embedlib.engines.engine import GraphSpec
from embedlib.errors import ConfigError, ModelError
from embedlib.records import Float32


class EssentiaEngine:
    """A graph in one TensorFlow session.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it.

    Raises
    ------
    ConfigError
        If another precision than ``f32`` is asked for.
    EngineError
        If Essentia is not installed.
    ModelError
        If TensorFlow cannot load the graph or finds no such node.
    """

    name = "essentia"

    def __init__(self, spec: GraphSpec) -> None:
        if spec.precision != "f32":
            raise ConfigError(
                f"precision={spec.precision!r} is not possible with the essentia engine",
                fix="use f32, or --engine openvino",
            )
        standard = essentia_standard()
        from essentia import Pool

        self._spec = spec
        self._pool = Pool
        # TensorflowPredict takes four axes and squeezes the axis of channels away.
        self._shape = (spec.batch_size, *(1,) * (3 - len(spec.patch_shape)), *spec.patch_shape)
        try:
            self._predict = standard.TensorflowPredict(
                graphFilename=str(spec.path),
                inputs=[spec.input_node],
                outputs=list(spec.output_nodes),
                squeeze=len(spec.patch_shape) < 3,
            )
        except RuntimeError as exc:
            raise ModelError(
                f"Essentia cannot use {spec.path.name}: {' '.join(str(exc).split())}",
                fix="list its nodes with `embedlib models nodes`",
            ) from exc

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
        pool = self._pool()
        pool.set(self._spec.input_node, np.ascontiguousarray(batch).reshape(self._shape))
        results = self._predict(pool)
        return tuple(self._read(results, node) for node in self._spec.output_nodes)

    def _read(self, results: Any, node: str) -> Float32:
        """Undo the four axes of a Pool, which puts the missing ones behind the batch axis."""
        output = np.array(results[node], dtype=np.float32)
        while output.ndim > 2 and output.shape[1] == 1:
            output = output[:, 0]
        return output
