"""The TensorFlow ops that a graph may hold, and the shape that each gives.

`SHAPE_RULES` is the allow-list: an op without a rule is refused. All of them are pure functions
of their inputs (`RandomUniform` of inactive dropout apart); none reads or writes a file, runs
code or loops. They are the ops of the Essentia models that were looked at (MusiCNN, VGG-I,
Tempo-CNN, VGGish); a new family adds its own here.

Shapes are tuples in which None is a length known at run time only, or None where not even the
rank is known. `Known` carries beside the shape the value of small integer tensors, because
``Reshape`` and its like take their shape from one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a tensor without running the graph.

    Attributes
    ----------
    shape : tuple of (int or None), or None
        Its shape.
    value : np.ndarray of object, or None
        Its integers, None for those known at run time only.
    """

    shape: Shape = None
    value: NDArray[np.object_] | None = None


UNKNOWN = Known()

Node = Any  # a NodeDef; protobuf messages have no types here
Rule = Callable[[Node, Sequence[Known]], Known]


def _as_input(node: Node, inputs: Sequence[Known]) -> Known:
    return inputs[0]


def _unknown(node: Node, inputs: Sequence[Known]) -> Known:
    return UNKNOWN


def _placeholder(node: Node, inputs: Sequence[Known]) -> Known:
    shape = node.attr["shape"].shape
    if "shape" not in node.attr or shape.unknown_rank:
        return UNKNOWN
    return Known(tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim))


def _broadcast(node: Node, inputs: Sequence[Known]) -> Known:
    one, other = (known.shape for known in inputs)
    if one is None or other is None:
        return UNKNOWN
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    return Known(tuple(b if a == 1 else a if b in (1, None) else b for a, b in pairs))


def _expand_dims(node: Node, inputs: Sequence[Known]) -> Known:
    tensor, axis = inputs
    if tensor.shape is None or axis.value is None:
        return UNKNOWN
    at = int(axis.value.item())
    at += len(tensor.shape) + 1 if at < 0 else 0
    return Known((*tensor.shape[:at], 1, *tensor.shape[at:]))


def _squeeze(node: Node, inputs: Sequence[Known]) -> Known:
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    axes = {axis % len(shape) for axis in node.attr["squeeze_dims"].list.i}
    if not axes and None in shape:
        return UNKNOWN
    gone = axes or {axis for axis, length in enumerate(shape) if length == 1}
    return Known(tuple(length for axis, length in enumerate(shape) if axis not in gone))


def _pad(node: Node, inputs: Sequence[Known]) -> Known:
    tensor, paddings = inputs[:2]
    if tensor.shape is None or paddings.value is None:
        return UNKNOWN
    added = paddings.value.sum(axis=1)
    return Known(
        tuple(
            None if length is None else length + extra
            for length, extra in zip(tensor.shape, added, strict=True)
        )
    )


def _window(length: int | None, *, kernel: int, stride: int, padding: bytes) -> int | None:
    if length is None:
        return None
    covered = length if padding == b"SAME" else length - kernel + 1
    return -(-covered // stride)


def _conv2d(node: Node, inputs: Sequence[Known]) -> Known:
    image, kernel = (known.shape for known in inputs)
    if image is None or kernel is None or node.attr["data_format"].s not in (b"", b"NHWC"):
        return UNKNOWN
    rows, columns = (_slide(node, image, axis, kernel[axis - 1]) for axis in (1, 2))
    return Known((image[0], rows, columns, kernel[3]))


def _slide(node: Node, image: tuple[int | None, ...], axis: int, kernel: int | None) -> int | None:
    if kernel is None:
        return None
    dilations = node.attr["dilations"].list.i or (1, 1, 1, 1)
    return _window(
        image[axis],
        kernel=(kernel - 1) * dilations[axis] + 1,
        stride=node.attr["strides"].list.i[axis],
        padding=node.attr["padding"].s,
    )


def _max_pool(node: Node, inputs: Sequence[Known]) -> Known:
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    lengths = zip(shape, node.attr["ksize"].list.i, node.attr["strides"].list.i, strict=True)
    padding = node.attr["padding"].s
    return Known(
        tuple(
            _window(length, kernel=kernel, stride=stride, padding=padding)
            for length, kernel, stride in lengths
        )
    )


def _concat(node: Node, inputs: Sequence[Known]) -> Known:
    *tensors, axis = inputs
    shapes = [tensor.shape for tensor in tensors if tensor.shape is not None]
    if axis.value is None or len(shapes) < len(tensors):
        return UNKNOWN
    at = int(axis.value.item()) % len(shapes[0])
    lengths = [shape[at] for shape in shapes if shape[at] is not None]
    total = sum(filter(None, lengths)) if len(lengths) == len(shapes) else None
    return Known((*shapes[0][:at], total, *shapes[0][at + 1 :]))


def _transpose(node: Node, inputs: Sequence[Known]) -> Known:
    tensor, order = inputs
    if tensor.shape is None or order.value is None:
        return UNKNOWN
    return Known(tuple(tensor.shape[axis] for axis in order.value))


def _reduce(node: Node, inputs: Sequence[Known]) -> Known:
    tensor, axes = inputs
    if tensor.shape is None or axes.value is None:
        return UNKNOWN
    gone = {int(axis) % len(tensor.shape) for axis in axes.value.ravel()}
    if node.attr["keep_dims"].b:
        return Known(tuple(1 if i in gone else n for i, n in enumerate(tensor.shape)))
    return Known(tuple(n for i, n in enumerate(tensor.shape) if i not in gone))


def _shape(node: Node, inputs: Sequence[Known]) -> Known:
    shape = inputs[0].shape
    return UNKNOWN if shape is None else Known((len(shape),), np.array(shape, object))


def _strided_slice(node: Node, inputs: Sequence[Known]) -> Known:
    tensor, begin, end, stride = (known.value for known in inputs)
    flags = [node.attr[f"{name}_mask"].i for name in ("begin", "end", "ellipsis", "new_axis")]
    if tensor is None or begin is None or end is None or stride is None or any(flags):
        return UNKNOWN
    if tensor.ndim != 1 or len(begin) != 1:
        return UNKNOWN
    part = tensor[begin.item() : end.item() : stride.item()]
    value = np.array(part[0], object) if node.attr["shrink_axis_mask"].i else part
    return Known(value.shape, value)


def _pack(node: Node, inputs: Sequence[Known]) -> Known:
    values = [known.value for known in inputs]
    shape = inputs[0].shape
    if any(value is None for value in values) or node.attr["axis"].i != 0:
        return UNKNOWN if shape is None else Known((len(inputs), *shape))
    value = np.array([known.item() for known in values if known is not None], object)
    return Known(value.shape, value)


def _reshape(node: Node, inputs: Sequence[Known]) -> Known:
    tensor, target = inputs
    if target.value is None:
        return UNKNOWN
    lengths = [None if length is None else int(length) for length in target.value]
    if -1 in lengths:
        lengths[lengths.index(-1)] = _rest(tensor.shape, lengths)
    return Known(tuple(lengths))


def _rest(shape: Shape, lengths: list[int | None]) -> int | None:
    """Solve for the -1 of a reshape; an unknown length on both sides is the batch."""
    if shape is None or shape.count(None) > 1 or shape.count(None) != lengths.count(None):
        return None
    have = prod(length for length in shape if length is not None)
    taken = prod(length for length in lengths if length is not None and length != -1)
    return have // taken if taken else None


def _mat_mul(node: Node, inputs: Sequence[Known]) -> Known:
    one, other = (known.shape for known in inputs)
    if one is None or other is None:
        return UNKNOWN
    return Known((one[node.attr["transpose_a"].b], other[1 - node.attr["transpose_b"].b]))


def _split(node: Node, inputs: Sequence[Known]) -> Known:
    axis, tensor = inputs
    if tensor.shape is None or axis.value is None:
        return UNKNOWN
    at = int(axis.value.item()) % len(tensor.shape)
    length = tensor.shape[at]
    part = None if length is None else length // node.attr["num_split"].i
    return Known((*tensor.shape[:at], part, *tensor.shape[at + 1 :]))


def _random(node: Node, inputs: Sequence[Known]) -> Known:
    value = inputs[0].value
    return UNKNOWN if value is None else Known(tuple(value))


SHAPE_RULES: dict[str, Rule] = {
    "Add": _broadcast,
    "AddV2": _broadcast,
    "BiasAdd": _as_input,
    "Cast": _as_input,
    "ConcatV2": _concat,
    "Const": _unknown,  # its tensor is in the graph; `graph.list_nodes` reads it
    "Conv2D": _conv2d,
    "Elu": _as_input,
    "Equal": _broadcast,
    "ExpandDims": _expand_dims,
    "Floor": _as_input,
    "FusedBatchNorm": _as_input,
    "FusedBatchNormV2": _as_input,
    "FusedBatchNormV3": _as_input,
    "GatherV2": _unknown,
    "Identity": _as_input,
    "MatMul": _mat_mul,
    "Max": _reduce,
    "MaxPool": _max_pool,
    "Mean": _reduce,
    "Merge": _as_input,
    "Mul": _broadcast,
    "Pack": _pack,
    "Pad": _pad,
    "Placeholder": _placeholder,
    "RandomUniform": _random,
    "Range": _unknown,
    "RealDiv": _broadcast,
    "Relu": _as_input,
    "Reshape": _reshape,
    "Rsqrt": _as_input,
    "Shape": _shape,
    "Sigmoid": _as_input,
    "Softmax": _as_input,
    "SparseToDense": _unknown,
    "Split": _split,
    "SplitV": _unknown,
    "SquaredDifference": _broadcast,
    "Squeeze": _squeeze,
    "StopGradient": _as_input,
    "StridedSlice": _strided_slice,
    "Sub": _broadcast,
    "Switch": _as_input,
    "Transpose": _transpose,
    "Where": _unknown,
}
