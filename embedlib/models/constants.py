"""Compute the nodes of a graph that do not depend on its input.

With the shape of the input fixed, all arithmetic on shapes and on weights is known beforehand. The
ops are those of the graphs that were looked at (MusiCNN, VGG-I, Tempo-CNN, VGGish).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError

Array = NDArray[np.generic]
Fold = Callable[[NodeDef, Sequence[Any]], Array | tuple[Array, ...]]

# DataType in TensorFlow's types.proto.
_CASTS = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}


@np.errstate(all="ignore")  # weights that are not finite stay what they are, without a warning
def fold_constant(node: NodeDef, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Compute a node all of whose inputs are known.

    Parameters
    ----------
    node : NodeDef
        Any but a ``Const``.
    inputs : sequence of np.ndarray
        Its inputs.

    Returns
    -------
    outputs : tuple of np.ndarray
        One per port.

    Raises
    ------
    ModelError
        If the op is not known, or the inputs do not fit it.

    Examples
    --------
    >>> node = NodeDef(name="pooled/shape", op="Pack")
    >>> fold_constant(node, [np.array(4), np.array(-1)])
    (array([ 4, -1]),)
    """
    if node.op not in _FOLDS:
        raise ModelError(
            f"node {node.name!r} computes a constant with the op {node.op!r}, which is not known",
            fix="take --engine openvino",
        )
    try:
        outputs = _FOLDS[node.op](node, inputs)
    except (ValueError, IndexError, TypeError, KeyError) as exc:
        raise ModelError(f"the inputs of node {node.name!r} ({node.op}) do not fit") from exc
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _ufunc(function: Callable[..., Any]) -> Fold:
    return lambda node, inputs: np.asarray(function(*inputs))


def _rsqrt(values: NDArray[np.floating[Any]]) -> Array:
    return (1.0 / np.sqrt(values.astype(np.float64))).astype(values.dtype)


def _cast(node: NodeDef, inputs: Sequence[Any]) -> Array:
    return np.asarray(inputs[0].astype(_CASTS[node.attr["DstT"].type]))


def _concat(node: NodeDef, inputs: Sequence[Any]) -> Array:
    *parts, axis = inputs
    return np.concatenate(parts, axis=int(axis))


def _pack(node: NodeDef, inputs: Sequence[Any]) -> Array:
    return np.asarray(np.stack(inputs, axis=node.attr["axis"].i))


def _split(node: NodeDef, inputs: Sequence[Any]) -> tuple[Array, ...]:
    axis, values = inputs
    return tuple(np.split(values, node.attr["num_split"].i, axis=int(axis)))


def _split_v(node: NodeDef, inputs: Sequence[Any]) -> tuple[Array, ...]:
    values, sizes, axis = inputs
    return tuple(np.split(values, np.cumsum(sizes)[:-1], axis=int(axis)))


def _squeeze(node: NodeDef, inputs: Sequence[Any]) -> Array:
    axes = tuple(node.attr["squeeze_dims"].list.i)
    return np.asarray(np.squeeze(inputs[0], axes or None))


def _gather(node: NodeDef, inputs: Sequence[Any]) -> Array:
    values, indices, axis = inputs
    return np.asarray(np.take(values, indices, axis=int(axis)))


def _sparse_to_dense(node: NodeDef, inputs: Sequence[Any]) -> Array:
    indices, shape, values, default = inputs
    dense = np.full(tuple(shape), default)
    dense[tuple(indices.T)] = values
    return dense


def _strided_slice(node: NodeDef, inputs: Sequence[Any]) -> Array:
    values, *bounds = inputs
    if node.attr["ellipsis_mask"].i or node.attr["new_axis_mask"].i:
        raise ValueError("an ellipsis or a new axis")
    spans = zip(*(bound.tolist() for bound in bounds), strict=True)
    return np.asarray(values[tuple(_span(node, *ends) for ends in enumerate(spans))])


def _span(node: NodeDef, axis: int, bounds: tuple[int, int, int]) -> int | slice:
    begin, end, stride = bounds

    def is_set(mask: str) -> bool:
        return bool(node.attr[mask].i >> axis & 1)

    if is_set("shrink_axis_mask"):
        return begin
    return slice(
        None if is_set("begin_mask") else begin, None if is_set("end_mask") else end, stride
    )


_FOLDS: dict[str, Fold] = {
    "Add": _ufunc(np.add),
    "AddV2": _ufunc(np.add),
    "Cast": _cast,
    "ConcatV2": _concat,
    "Equal": _ufunc(np.equal),
    "ExpandDims": _ufunc(lambda values, axis: np.expand_dims(values, int(axis))),
    "GatherV2": _gather,
    "Identity": _ufunc(np.asarray),
    "Mul": _ufunc(np.multiply),
    "Pack": _pack,
    "Range": _ufunc(np.arange),
    "Reshape": _ufunc(np.reshape),
    "Rsqrt": _ufunc(_rsqrt),
    "Shape": _ufunc(np.shape),
    "SparseToDense": _sparse_to_dense,
    "Split": _split,
    "SplitV": _split_v,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Sub": _ufunc(np.subtract),
    "Transpose": _ufunc(np.transpose),
    "Where": _ufunc(np.argwhere),
}
