"""Shapes that follow for ops on arrays: arithmetic, axes, slices, joins."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from embedlib.models.known import UNKNOWN, Known, Node, Rule, Shape


def as_input(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the first input, its value included."""
    return inputs[0]


def same_shape(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the shape of the first input."""
    return Known(inputs[0].shape)


def unknown(node: Node, inputs: Sequence[Known]) -> Known:
    """Give nothing: the shape depends on values, or nobody has asked for it."""
    return UNKNOWN


def placeholder(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the shape that the graph states."""
    shape = node.attr["shape"].shape
    if "shape" not in node.attr or shape.unknown_rank:
        return UNKNOWN
    return Known(tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim))


def broadcast(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the common shape of two inputs."""
    return Known(_broadcast(inputs[0].shape, inputs[1].shape))


def _broadcast(one: Shape, other: Shape) -> Shape:
    if one is None or other is None:
        return None
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    return tuple(b if a == 1 else a if b in (1, None) else b for a, b in pairs)


def arithmetic(function: Callable[[Any, Any], Any]) -> Rule:
    """Make the rule of a sum or its like, which carries small integers along.

    Parameters
    ----------
    function : callable
        Of two integers.

    Returns
    -------
    rule : callable
        As `broadcast`, with the value where both are known.
    """
    unless_none = np.frompyfunc(
        lambda a, b: None if a is None or b is None else function(a, b), 2, 1
    )

    def rule(node: Node, inputs: Sequence[Known]) -> Known:
        shape = _broadcast(inputs[0].shape, inputs[1].shape)
        one, other = inputs[0].value, inputs[1].value
        if one is None or other is None:
            return Known(shape)
        return Known(shape, np.asarray(unless_none(one, other), object))

    return rule


ADD, SUB, MUL, FLOOR_DIV, FLOOR_MOD = map(
    arithmetic, (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)
)


def expand_dims(node: Node, inputs: Sequence[Known]) -> Known:
    """Add an axis of length 1."""
    tensor, axis = inputs
    if tensor.shape is None or axis.value is None:
        return UNKNOWN
    at = int(axis.value.item())
    at += len(tensor.shape) + 1 if at < 0 else 0
    return Known((*tensor.shape[:at], 1, *tensor.shape[at:]))


def squeeze(node: Node, inputs: Sequence[Known]) -> Known:
    """Leave axes of length 1 out."""
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    axes = {axis % len(shape) for axis in node.attr["squeeze_dims"].list.i}
    if not axes and None in shape:
        return UNKNOWN
    gone = axes or {axis for axis, length in enumerate(shape) if length == 1}
    return Known(tuple(length for axis, length in enumerate(shape) if axis not in gone))


def pad(node: Node, inputs: Sequence[Known]) -> Known:
    """Add paddings to each length."""
    tensor, paddings = inputs[:2]
    if tensor.shape is None or paddings.value is None:
        return UNKNOWN
    around = zip(tensor.shape, paddings.value, strict=True)
    return Known(
        tuple(
            None if length is None or None in extra else length + sum(extra)
            for length, extra in around
        )
    )


def concat(node: Node, inputs: Sequence[Known]) -> Known:
    """Join tensors along an axis; small integers too."""
    *tensors, axis = inputs
    shapes = [tensor.shape for tensor in tensors if tensor.shape is not None]
    if axis.value is None or len(shapes) < len(tensors):
        return UNKNOWN
    at = int(axis.value.item()) % len(shapes[0])
    lengths = [shape[at] for shape in shapes if shape[at] is not None]
    total = sum(filter(None, lengths)) if len(lengths) == len(shapes) else None
    values = [tensor.value for tensor in tensors if tensor.value is not None]
    value = np.concatenate(values, axis=at) if len(values) == len(tensors) else None
    return Known((*shapes[0][:at], total, *shapes[0][at + 1 :]), value)


def transpose(node: Node, inputs: Sequence[Known]) -> Known:
    """Put the axes into another order."""
    tensor, order = inputs
    if tensor.shape is None or order.value is None:
        return UNKNOWN
    return Known(tuple(tensor.shape[axis] for axis in order.value))


def reduce(node: Node, inputs: Sequence[Known]) -> Known:
    """Leave the reduced axes out, or keep them with length 1."""
    tensor, axes = inputs
    if tensor.shape is None or axes.value is None:
        return UNKNOWN
    gone = {int(axis) % len(tensor.shape) for axis in axes.value.ravel()}
    if node.attr["keep_dims"].b:
        return Known(tuple(1 if i in gone else n for i, n in enumerate(tensor.shape)))
    return Known(tuple(n for i, n in enumerate(tensor.shape) if i not in gone))


def shape_of(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the shape of the input as a value."""
    shape = inputs[0].shape
    return UNKNOWN if shape is None else Known((len(shape),), np.array(shape, object))


def strided_slice(node: Node, inputs: Sequence[Known]) -> Known:
    """Cut axes from the front on; of small integers, their values."""
    tensor, *bounds = inputs
    begin, end, stride = (bound.value for bound in bounds)
    flags = [node.attr[f"{name}_mask"].i for name in ("ellipsis", "new_axis")]
    if tensor.shape is None or begin is None or end is None or stride is None or any(flags):
        return UNKNOWN
    index = _index(node, begin, end, stride)
    if tensor.value is not None and None not in (*begin, *end, *stride):
        value = np.asarray(tensor.value[index], object)
        return Known(value.shape, value)
    n_whole = len(tensor.shape) - len(index)
    parts = zip(tensor.shape, (*index, *[slice(None)] * n_whole), strict=True)
    return Known(tuple(_cut(length, part) for length, part in parts if isinstance(part, slice)))


def _index(node: Node, begin: Any, end: Any, stride: Any) -> tuple[int | slice, ...]:
    """Give the index of each axis; `_SOMETHING` where it is known at run time only."""
    masks = {name: node.attr[f"{name}_mask"].i for name in ("begin", "end", "shrink_axis")}
    index: list[int | slice] = []
    for axis, (start, stop, step) in enumerate(zip(begin, end, stride, strict=True)):
        open_start, open_stop, is_point = (bool(mask >> axis & 1) for mask in masks.values())
        if is_point:
            index.append(0 if start is None else start)
        elif (start is None and not open_start) or (stop is None and not open_stop):
            index.append(_SOMETHING)
        else:
            index.append(slice(None if open_start else start, None if open_stop else stop, step))
    return tuple(index)


_SOMETHING = slice(0, 0, 0)


def _cut(length: int | None, part: slice) -> int | None:
    if part in (slice(None), slice(None, None, 1)):
        return length
    if length is None or part == _SOMETHING:
        return None
    return len(range(*part.indices(length)))


def pack(node: Node, inputs: Sequence[Known]) -> Known:
    """Join tensors along a new axis; small integers too."""
    shape, axis = inputs[0].shape, node.attr["axis"].i
    if shape is None:
        return UNKNOWN
    at = axis % (len(shape) + 1)
    values = [known.value for known in inputs if known.value is not None]
    value = np.stack(values, axis=at) if len(values) == len(inputs) else None
    return Known((*shape[:at], len(inputs), *shape[at:]), value)


def reshape(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the shape that is wanted, and the length that it leaves open."""
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


def split(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the shape of one of the equal parts."""
    axis, tensor = inputs
    if tensor.shape is None or axis.value is None:
        return UNKNOWN
    at = int(axis.value.item()) % len(tensor.shape)
    length = tensor.shape[at]
    part = None if length is None else length // node.attr["num_split"].i
    return Known((*tensor.shape[:at], part, *tensor.shape[at + 1 :]))


def unpack(node: Node, inputs: Sequence[Known]) -> Known:
    """Leave the axis out that is taken apart."""
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    at = node.attr["axis"].i % len(shape)
    return Known((*shape[:at], *shape[at + 1 :]))


def gather(node: Node, inputs: Sequence[Known]) -> Known:
    """Put the axes of the indices where the axis that they index was."""
    tensor, indices, axis = inputs
    if tensor.shape is None or indices.shape is None or axis.value is None:
        return UNKNOWN
    if node.attr["batch_dims"].i:
        return UNKNOWN
    at = int(axis.value.item()) % len(tensor.shape)
    return Known((*tensor.shape[:at], *indices.shape, *tensor.shape[at + 1 :]))


def of_shape(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the shape that the first input is."""
    value = inputs[0].value
    return UNKNOWN if value is None else Known(tuple(value))


def vector(node: Node, inputs: Sequence[Known]) -> Known:
    """Give a vector whose length nobody has asked for."""
    return Known((None,))
