"""Channels through ops that move, join, pool, pad or flatten axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from embedlib.models.dead.facts import Border, Facts, Ints
from embedlib.models.dead.step import LostError, Step
from embedlib.models.known import Shape

Rule = Callable[[Step], Facts]


def pool(step: Step) -> Facts:
    """Keep the bound: neither a maximum nor a mean leaves it, and edges do not count as zeros."""
    tensor = step.tensor()
    sizes = list(step.attribute("ksize").list.i)
    if step.attribute("data_format").s not in (b"", b"NHWC"):
        raise LostError
    if tensor.axis is not None and sizes[tensor.axis] != 1:
        raise LostError
    return replace(tensor.without_border(), shape=step.shape)


def reduce(step: Step) -> Facts:
    """Leave other axes out; a sum counts them."""
    tensor = step.tensor().without_border()
    gone = {int(axis) % tensor.rank for axis in np.ravel(step.constant(1))}
    if tensor.axis in gone:
        raise LostError
    n_terms = _n_terms(tensor.shape, gone) if step.node.op == "Sum" else 1
    axis = tensor.axis
    if axis is not None and not step.attribute("keep_dims").b:
        axis -= sum(other < axis for other in gone)
    value, radius = tensor.value * n_terms, tensor.radius * n_terms
    return replace(tensor, shape=step.shape, axis=axis, value=value, radius=radius)


def transpose(step: Step) -> Facts:
    """Follow the axis to its new place."""
    order = np.ravel(step.constant(1)).tolist()
    return _moved(step, [order.index(axis) for axis in range(len(order))])


def expand_dims(step: Step) -> Facts:
    """Follow the axis past a new one."""
    rank = step.tensor().rank
    at = int(step.constant(1).item()) % (rank + 1)
    return _moved(step, [axis + (axis >= at) for axis in range(rank)])


def squeeze(step: Step) -> Facts:
    """Follow the axis past those that go."""
    shape = step.tensor().shape or ()
    listed = {axis % len(shape) for axis in step.attribute("squeeze_dims").list.i}
    gone = listed or {axis for axis, length in enumerate(shape) if length == 1}
    if step.tensor().axis in gone:
        raise LostError
    return _moved(step, [axis - sum(x < axis for x in gone) for axis in range(len(shape))])


def pad(step: Step) -> Facts:
    """Note zeros around the values, or count another filling among them."""
    tensor = step.tensor()
    paddings = tuple((int(before), int(after)) for before, after in step.constant(1))
    if tensor.axis is not None and any(paddings[tensor.axis]):
        raise LostError
    if step.node.op == "MirrorPad":
        return replace(tensor.without_border(), shape=step.shape)
    if step.node.op == "PadV2" and np.any(step.constant(2) != 0):
        tensor, filling = tensor.without_border(), float(step.constant(2).item())
        reach = np.maximum(tensor.radius, np.abs(tensor.value - filling))
        return replace(tensor, shape=step.shape, radius=reach)
    return replace(tensor, shape=step.shape, border=_around(tensor.border, paddings))


def concat(step: Step) -> Facts:
    """Put channels side by side, or join tensors along another axis."""
    tensors = [step.tensor(index).without_border() for index in range(len(step.inputs) - 1)]
    at = int(step.constant(len(tensors)).item()) % tensors[0].rank
    if all(tensor.axis in (None, at) for tensor in tensors):
        return _side_by_side(step, tensors, at)
    return replace(_joined(step, tensors), shape=step.shape)


def pack(step: Step) -> Facts:
    """Join tensors along a new axis."""
    tensors = [step.tensor(index).without_border() for index in range(len(step.inputs))]
    joined = _joined(step, tensors)
    at = step.attribute("axis").i % (tensors[0].rank + 1)
    axis = None if joined.axis is None else joined.axis + (joined.axis >= at)
    return replace(joined, shape=step.shape, axis=axis)


def reshape(step: Step) -> Facts:
    """Follow channels to where they are among the axes of another shape."""
    tensor = step.tensor().without_border()
    if tensor.axis is None:
        return replace(tensor, shape=step.shape)
    if not can_settle(step.shape):
        raise LostError
    axis, places = _places(tensor, step.shape or ())
    return Facts(step.shape, axis, tensor.ids[places], tensor.value[places], tensor.radius[places])


def split(step: Step) -> Facts:
    """Give the tensor itself, where it is split into one part, as converters do."""
    if step.attribute("num_split").i != 1:
        raise LostError
    return step.tensor(1)


def can_settle(shape: Shape) -> bool:
    """Tell whether a reshape can be written with a constant target.

    Parameters
    ----------
    shape : tuple of (int or None), or None
        Of its result.

    Returns
    -------
    can_settle : bool
        Whether at most the batch is not known.
    """
    return shape is not None and shape.count(None) <= 1


def _places(tensor: Facts, shape: Sequence[int | None]) -> tuple[int, Ints]:
    """Give the axis of the new shape along which channels lie, and their order there."""
    old = tensor.shape or ()
    at = tensor.axis or 0
    if at == len(old) - 1 and shape[-1] == old[-1]:
        return len(shape) - 1, np.arange(len(tensor.ids))
    before, after = _known(old[1:]), _known(shape[1:])
    if prod(before) != prod(after):
        raise LostError
    lengths = [1] * len(before)
    lengths[at - 1] = len(tensor.ids)
    channels = np.broadcast_to(np.arange(len(tensor.ids)).reshape(lengths), before)
    laid_out = channels.reshape(after)
    for axis in range(laid_out.ndim):
        rows = np.moveaxis(laid_out, axis, -1).reshape(-1, laid_out.shape[axis])
        if (rows == rows[0]).all():
            return axis + 1, rows[0]
    raise LostError


def _moved(step: Step, places: Sequence[int]) -> Facts:
    """Put the axes of a tensor elsewhere; places[i] is where axis i is now."""
    tensor = step.tensor().without_border()
    axis = None if tensor.axis is None else places[tensor.axis]
    return replace(tensor, shape=step.shape, axis=axis)


def _around(border: Border | None, paddings: Border) -> Border | None:
    inner = border or ((0, 0),) * len(paddings)
    sums = tuple((a + c, b + d) for (a, b), (c, d) in zip(inner, paddings, strict=True))
    return sums if any(map(any, sums)) else None


def _side_by_side(step: Step, tensors: Sequence[Facts], at: int) -> Facts:
    parts = [_as_channels(step, tensor, at) for tensor in tensors]
    ids, value, radius = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("ids", "value", "radius")
    )
    return Facts(step.shape, at, ids, value, radius)


def _as_channels(step: Step, tensor: Facts, at: int) -> Facts:
    """Give an axis to a tensor that has none; nothing of it can go."""
    if tensor.axis is not None:
        return tensor
    length = (tensor.shape or ())[at]
    if length is None:
        raise LostError
    wide = Facts(
        tensor.shape,
        at,
        step.groups.new(length),
        np.repeat(tensor.value, length),
        np.repeat(tensor.radius, length),
    )
    step.groups.hold(wide, "it is an input")
    return wide


def _joined(step: Step, tensors: Sequence[Facts]) -> Facts:
    """Give one bound for the channels of tensors that are joined along another axis."""
    first, *others = tensors
    low, high = first.value - first.radius, first.value + first.radius
    for other in others:
        if other.axis != first.axis or len(other.ids) != len(first.ids):
            raise LostError
        low = np.minimum(low, other.value - other.radius)
        high = np.maximum(high, other.value + other.radius)
    value = np.mean([tensor.value for tensor in tensors], axis=0)
    ids, radius = step.groups.tie(*tensors), np.maximum(high - value, value - low)
    return replace(first, ids=ids, value=value, radius=radius)


def _n_terms(shape: Shape, gone: set[int]) -> int:
    return prod(_known([(shape or ())[axis] for axis in gone]))


def _known(lengths: Sequence[int | None]) -> list[int]:
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        raise LostError
    return known


AXIS_RULES: dict[str, Rule] = {
    "AvgPool": pool,
    "ConcatV2": concat,
    "ExpandDims": expand_dims,
    "Max": reduce,
    "MaxPool": pool,
    "Mean": reduce,
    "MirrorPad": pad,
    "Pack": pack,
    "Pad": pad,
    "PadV2": pad,
    "Reshape": reshape,
    "Split": split,
    "Squeeze": squeeze,
    "Sum": reduce,
    "Transpose": transpose,
}
