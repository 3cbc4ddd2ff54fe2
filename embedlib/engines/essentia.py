"""The reference engine: Essentia's TensorflowPredict on our patches.

It runs the file as it is, in the TensorFlow that Essentia bundles, f32 only. TensorFlow feeds and
reads inner tensors by itself.
"""

from __future__ import annotations

import numpy as np

from embedlib.audio.essentia_loader import essentia_standard
from embedlib.engines.engine import GraphSpec
from embedlib.engines.memory import memory_errors
from embedlib.errors import ConfigError, ModelError
from embedlib.models.cut import cut, fix_batch, flags
from embedlib.models.graph import parse_graph
from embedlib.models.locks import read_weights
from embedlib.models.nodes import known_shapes, tensor_shape
from embedlib.records import Float32

# A Pool of Essentia holds tensors of four axes.
_POOL_AXES = 4


class EssentiaEngine:
    """A graph in one TensorFlow session.

    Parameters
    ----------
    spec : GraphSpec
        The graph and what to read from it.

    Raises
    ------
    ConfigError
        If another precision than ``f32`` is asked for, or patches have more than three axes, or
        fewer and one of length 1.
    EngineError
        If Essentia is not installed.
    WeightsMissingError
        If there is no such file.
    ModelError
        If the file is no harmless graph, or TensorFlow cannot load it.
    """

    name = "essentia"

    def __init__(self, spec: GraphSpec) -> None:
        _require_possible(spec)
        standard = essentia_standard()
        from essentia import Pool

        self._spec = spec
        self._pool = Pool
        flag, self._ranks = _inspect(spec)
        # Missing axes are the channels, which TensorflowPredict squeezes away.
        missing = _POOL_AXES - 1 - len(spec.patch_shape)
        self._shape = (spec.batch_size, *(1,) * missing, *spec.patch_shape)
        try:
            self._predict = standard.TensorflowPredict(
                graphFilename=str(spec.path),
                inputs=[spec.input_node],
                outputs=list(spec.output_nodes),
                isTrainingName=flag,
                squeeze=missing > 0,
            )
        except RuntimeError as exc:
            raise _refused(spec, exc) from exc

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
            If TensorFlow finds no memory for a batch.
        ModelError
            If it cannot run the graph.
        """
        pool = self._pool()
        pool.set(self._spec.input_node, np.ascontiguousarray(batch).reshape(self._shape))
        try:
            with memory_errors(self._spec, RuntimeError):
                results = self._predict(pool)
        except RuntimeError as exc:
            raise _refused(self._spec, exc) from exc
        outputs = zip(self._spec.output_nodes, self._ranks, strict=True)
        return tuple(_natural(results[node], rank=rank) for node, rank in outputs)


def _require_possible(spec: GraphSpec) -> None:
    if spec.precision != "f32":
        raise ConfigError(
            f"precision={spec.precision!r} is not possible with the essentia engine",
            fix="use f32, or --engine openvino",
        )
    # TensorflowPredict squeezes all axes of length 1 of shorter patches, and crashed on what then
    # came out with fewer axes than the graph says.
    shape = spec.patch_shape
    if len(shape) >= _POOL_AXES or (len(shape) < _POOL_AXES - 1 and 1 in shape):
        raise ConfigError(
            f"patches of the shape {shape} are not possible with the essentia engine",
            fix="use --engine openvino",
        )


def _inspect(spec: GraphSpec) -> tuple[str, tuple[int | None, ...]]:
    """Find the flag that must be fed beside the patches, and the ranks of the outputs.

    A rank is None where it follows only from running the graph, or on a further port.
    """
    graph = parse_graph(read_weights(spec.path, expected=spec.sha256), origin=str(spec.path))
    flag = next(iter(flags(graph)), "")
    graph = cut(
        graph,
        input_node=spec.input_node,
        outputs=spec.output_nodes,
        patch_shape=spec.patch_shape,
    )
    fix_batch(graph, batch_size=spec.batch_size)
    known = known_shapes(graph)
    shapes = (tensor_shape(known, output) for output in spec.output_nodes)
    return flag, tuple(None if shape is None else len(shape) for shape in shapes)


def _natural(pooled: Float32, *, rank: int | None) -> Float32:
    """Undo the four axes of a Pool, which puts the missing ones behind the batch axis."""
    if rank is None:
        rank = _POOL_AXES
        while rank > 2 and pooled.shape[1 + _POOL_AXES - rank] == 1:
            rank -= 1
    return np.array(pooled, np.float32).reshape(
        pooled.shape[0], *pooled.shape[_POOL_AXES - rank + 1 :]
    )


def _refused(spec: GraphSpec, exc: RuntimeError) -> ModelError:
    return ModelError(
        f"Essentia cannot use {spec.path.name}: {' '.join(str(exc).split())}",
        fix="list its nodes with `embedlib models nodes`",
    )
