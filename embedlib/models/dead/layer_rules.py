"""Layers whose filters may be dead: convolutions and dense layers with constant weights.

Such a layer makes new channels, its filters. It can do without channels of its input that are
constants: what it makes of them is a constant too, one per filter, or where zeros are padded one
per filter and place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embedlib.models.dead.facts import Array, Bool, Facts, Float64, merged
from embedlib.models.dead.step import LostError, Step

Rule = Callable[[Step], Facts]

# What is taken of a layer at once: 512 KiB of float64, which stay in the cache of a core.
_BLOCK_VALUES = 2**16


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a layer, and where it meets the channels of its input.

    Attributes
    ----------
    values : np.ndarray [shape=(rows, columns, n_in, n_filters) or (n_in, n_filters)]
        As they are in the graph, or a view.
    axis : int
        The axis of `values` along which the channels of the input lie.
    tells_apart : bool
        Whether that is so; if not, the layer needs all channels.
    """

    values: Array
    axis: int
    tells_apart: bool


def layer(step: Step) -> Facts:
    """Bound the filters of a layer, which does not need channels that are constants.

    Parameters
    ----------
    step : Step
        A convolution or a product of matrices.

    Returns
    -------
    facts : Facts
        Of its output, with new ids.
    """
    tensor, weights = step.tensor(), layer_weights(step)
    if weights.tells_apart:
        step.groups.read(tensor)
    else:
        step.groups.hold(tensor, f"{step.node.name} reads across channels")
        tensor = merged(tensor)
    value, radius = _through(weights, tensor.value, _reach(step, tensor))
    return Facts(step.shape, len(step.shape or ()) - 1, step.groups.new(len(value)), value, radius)


def layer_weights(step: Step) -> Weights:
    """Give the weights of a layer.

    Parameters
    ----------
    step : Step
        A convolution or a product of matrices.

    Returns
    -------
    weights : Weights
        Its last axis is that of the filters.

    Raises
    ------
    LostError
        If they are no constant, or the layer is of another kind.
    """
    return _of_conv2d(step) if step.node.op == "Conv2D" else _of_mat_mul(step)


def absorbed(step: Step, *, gone: Bool) -> Float64:
    """Compute what a layer makes of constant channels.

    Parameters
    ----------
    step : Step
        The layer.
    gone : np.ndarray [shape=(n_channels,), bool]
        The channels of its input that go.

    Returns
    -------
    terms : np.ndarray [shape=(n_filters,) or (1, rows, columns, n_filters), float64]
        What is to be added to its output; with length 1 where all rows, or columns, are equal.
    """
    tensor, weights = step.tensor(), layer_weights(step)
    rows = np.moveaxis(weights.values, weights.axis, 0)[gone].astype(np.float64)
    taps: Float64 = np.tensordot(tensor.value[gone], rows, axes=1)
    if step.node.op != "Conv2D":
        return taps
    if weights.axis != 2:
        taps = np.expand_dims(taps.sum(axis=1), weights.axis)
    inside = [_inside(step, tensor, axis, taps.shape[axis - 1]) for axis in (1, 2)]
    return _narrowed(np.einsum("yk,xl,klo->yxo", *inside, taps))


def _of_conv2d(step: Step) -> Weights:
    tensor, values = step.tensor(), step.constant(1)
    shape = tensor.shape or ()
    if step.attribute("data_format").s not in (b"", b"NHWC") or values.shape[2] != shape[3]:
        raise LostError
    if None in (*shape[1:], *(step.shape or ())[1:]):
        raise LostError
    if tensor.axis in (None, 3):
        return Weights(values, 2, True)
    axis = tensor.axis or 0
    is_covered = _is_covered(step, tensor, axis, n_taps=values.shape[axis - 1])
    return Weights(values, axis - 1, True) if is_covered else Weights(values, 2, False)


def _is_covered(step: Step, tensor: Facts, axis: int, *, n_taps: int) -> bool:
    """Tell whether a kernel covers an axis as a whole, and nothing else."""
    border = tensor.border or ((0, 0),) * tensor.rank
    is_bare = not any((*border[axis], *border[3]))
    is_still = step.attribute("padding").s == b"VALID"
    return axis in (1, 2) and is_bare and is_still and n_taps == len(tensor.ids)


def _of_mat_mul(step: Step) -> Weights:
    tensor, values = step.tensor(), step.constant(1)
    if step.attribute("transpose_a").b or values.ndim != 2 or tensor.rank != 2:
        raise LostError
    values = values.T if step.attribute("transpose_b").b else values
    if (tensor.shape or ())[1] != len(values) or tensor.axis == 0:
        raise LostError
    return Weights(values, 0, True)


def _reach(step: Step, tensor: Facts) -> Float64:
    """Give how far inputs get from their values, where some places may be zeros."""
    meets_zeros = tensor.border is not None or step.attribute("padding").s not in (b"", b"VALID")
    return tensor.reach if meets_zeros else tensor.radius


def _through(weights: Weights, value: Float64, reach: Float64) -> tuple[Float64, Float64]:
    """Give centre and radius of each filter; block by block, for a layer may hold 200 MB."""
    rows = np.moveaxis(weights.values, weights.axis, 0)
    n_rows, n_filters = len(rows), rows.shape[-1]
    values, reaches = (np.broadcast_to(each, n_rows) for each in (value, reach))
    centre, radius = np.zeros(n_filters), np.zeros(n_filters)
    n_at_once = max(1, _BLOCK_VALUES // max(1, rows[0].size))
    for start in range(0, n_rows, n_at_once):
        part = slice(start, start + n_at_once)
        block = rows[part].astype(np.float64)
        centre += values[part] @ _per_channel(block)
        radius += reaches[part] @ _per_channel(np.abs(block, out=block))
    return centre, radius


def _per_channel(block: Float64) -> Float64:
    """Add up all taps of a channel: channels x filters."""
    if block.ndim == 2:
        return block
    sums: Float64 = block.sum(axis=tuple(range(1, block.ndim - 1)))
    return sums


def _inside(step: Step, tensor: Facts, axis: int, n_taps: int) -> Float64:
    """Tell which taps meet a value and not a zero: places x taps, 1 or 0."""
    n_in, n_out = (tensor.shape or ())[axis] or 0, (step.shape or ())[axis] or 0
    stride = step.attribute("strides").list.i[axis]
    dilation = [*step.attribute("dilations").list.i, 1, 1, 1, 1][axis]
    starts = np.arange(n_out) * stride - _n_padded(step, axis, n_in, n_out, n_taps)
    places = starts[:, np.newaxis] + np.arange(n_taps) * dilation
    before, after = (0, 0) if tensor.border is None else tensor.border[axis]
    inside: Float64 = ((places >= before) & (places < n_in - after)).astype(np.float64)
    return inside


def _n_padded(step: Step, axis: int, n_in: int, n_out: int, n_taps: int) -> int:
    """Give the number of zeros that a convolution itself puts before an axis."""
    padding = step.attribute("padding").s
    if padding == b"EXPLICIT":
        return int(step.attribute("explicit_paddings").list.i[2 * axis])
    if padding != b"SAME":
        return 0
    dilation = [*step.attribute("dilations").list.i, 1, 1, 1, 1][axis]
    covered: int = (
        (n_out - 1) * step.attribute("strides").list.i[axis] + (n_taps - 1) * dilation + 1
    )
    return max(covered - n_in, 0) // 2


def _narrowed(terms: Float64) -> Float64:
    """Leave out what is repeated: rows, columns, or both."""
    for axis in (0, 1):
        first = terms.take([0], axis)
        if (terms == first).all():
            terms = first
    return terms[0, 0] if terms.shape[:2] == (1, 1) else terms[np.newaxis]


LAYER_RULES: dict[str, Rule] = {"Conv2D": layer, "MatMul": layer}
