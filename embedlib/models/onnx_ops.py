"""TensorFlow ops in ONNX, one function per kind.

They are the ops of the graphs that were looked at: those of the eight models of the paper, real
ones and those that are built here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from embedlib.errors import ModelError
from embedlib.models.onnx_call import Call, Value
from embedlib.models.onnx_images import batch_norm, conv2d, max_pool
from embedlib.models.onnx_writer import Array, OnnxWriter, Tensor, inverse

Emit = Callable[[Call], Value]


def emit_node(call: Call) -> Value:
    """Write a node that depends on the input.

    Parameters
    ----------
    call : Call
        At least one of its inputs is a tensor.

    Returns
    -------
    output : Tensor or np.ndarray
        Of its first port; an array for a shape.

    Raises
    ------
    ModelError
        If the op, or a form of it, is not known; the message names op and node.
    """
    if call.node.op not in _EMITTERS:
        raise call.refusal("which the ONNX export does not know")
    try:
        return _EMITTERS[call.node.op](call)
    except (ValueError, IndexError, TypeError) as exc:
        raise ModelError(
            f"the inputs of node {call.node.name!r} ({call.node.op}) do not fit"
        ) from exc


def _as_input(call: Call) -> Value:
    return call.inputs[0]


def _unary(op: str) -> Emit:
    return lambda call: call.writer.mapped(call.tensor(0), op=op)


def _binary(op: str) -> Callable[[Call], Tensor]:
    def emit(call: Call) -> Tensor:
        one, other = _aligned(call.writer, call.inputs)
        lengths = np.broadcast_shapes(one.lengths, other.lengths)
        name = call.writer.op(op, [one.name, other.name])
        return Tensor(name, lengths, max(one.axes, other.axes, key=len))

    return emit


def _bias_add(call: Call) -> Value:
    call.require_channels_last()
    return _binary("Add")(call)


def _squared_difference(call: Call) -> Tensor:
    difference = _binary("Sub")(call)
    return replace(difference, name=call.writer.op("Mul", [difference.name] * 2))


def _aligned(writer: OnnxWriter, values: Sequence[Value]) -> list[Tensor]:
    """Lay values out alike, so that ONNX may broadcast or join them."""
    layouts = {value.axes for value in values if isinstance(value, Tensor)}
    rank = max(value.rank if isinstance(value, Tensor) else value.ndim for value in values)
    axes = layouts.pop() if len(layouts) == 1 else ()
    if len(axes) < rank:
        axes = tuple(range(rank))
    return [_laid_out(writer, value, axes=axes) for value in values]


def _laid_out(writer: OnnxWriter, value: Value, *, axes: tuple[int, ...]) -> Tensor:
    if isinstance(value, Tensor):
        # ONNX adds missing axes in front, as TensorFlow does.
        return writer.turned(value, axes=axes) if value.rank == len(axes) else writer.plain(value)
    full = value.reshape((1,) * (len(axes) - value.ndim) + value.shape)
    turned = full.transpose(inverse(axes))
    return Tensor(writer.constant(turned), turned.shape, axes)


def _concat(call: Call) -> Tensor:
    tensors = _aligned(call.writer, call.inputs[:-1])
    (axis,) = call.numbers(-1)
    lengths, axes = list(tensors[0].lengths), tensors[0].axes
    lengths[axes[axis]] = sum(tensor.lengths[axes[axis]] for tensor in tensors)
    name = call.writer.op("Concat", [tensor.name for tensor in tensors], axis=axes[axis])
    return Tensor(name, tuple(lengths), axes)


def _mat_mul(call: Call) -> Tensor:
    one, other = (
        _laid_out(call.writer, _flipped(value) if call.node.attr[flag].b else value, axes=(0, 1))
        for value, flag in zip(call.inputs, ("transpose_a", "transpose_b"), strict=True)
    )
    name = call.writer.op("MatMul", [one.name, other.name])
    return Tensor(name, (one.lengths[0], other.lengths[1]), (0, 1))


def _flipped(matrix: Value) -> Value:
    if isinstance(matrix, Tensor):
        return replace(matrix, axes=matrix.axes[::-1])
    return matrix.T


def _reduce(op: str) -> Emit:
    def emit(call: Call) -> Tensor:
        tensor = call.tensor(0)
        axes = sorted({axis % tensor.rank for axis in call.numbers(1)})
        reduced = [tensor.axes[axis] for axis in axes]
        name = call.writer.op(op, [tensor.name], axes=reduced, keepdims=1)
        lengths = (1 if at in reduced else length for at, length in enumerate(tensor.lengths))
        whole = Tensor(name, tuple(lengths), tensor.axes)
        keeps = call.node.attr["keep_dims"].b
        return whole if keeps else call.writer.without(whole, axes=axes)

    return emit


def _softmax(call: Call) -> Tensor:
    tensor = call.tensor(0)
    return call.writer.mapped(tensor, op="Softmax", axis=tensor.axes[-1])


def _expand_dims(call: Call) -> Tensor:
    tensor = call.tensor(0)
    (axis,) = call.numbers(1)
    at = axis % (tensor.rank + 1)
    # Wherever TensorFlow wants the axis, it may be the last one of the ONNX value.
    last = call.writer.constant(np.array([tensor.rank]))
    name = call.writer.op("Unsqueeze", [tensor.name, last])
    return Tensor(name, (*tensor.lengths, 1), (*tensor.axes[:at], tensor.rank, *tensor.axes[at:]))


def _squeeze(call: Call) -> Tensor:
    tensor = call.tensor(0)
    named = {axis % tensor.rank for axis in call.node.attr["squeeze_dims"].list.i}
    single = {axis for axis, length in enumerate(tensor.shape) if length == 1}
    return call.writer.without(tensor, axes=sorted(named or single))


def _reshape(call: Call) -> Tensor:
    tensor = call.writer.plain(call.tensor(0))
    # NumPy solves for the -1, and knows what cannot be.
    shape = np.empty(tensor.shape, np.bool_).reshape(call.numbers(1)).shape
    if shape == tensor.shape:
        return tensor
    name = call.writer.op("Reshape", [tensor.name, call.writer.constant(np.array(shape))])
    return Tensor(name, shape, tuple(range(len(shape))))


def _pad(call: Call) -> Tensor:
    tensor = call.tensor(0)
    pads = np.reshape(call.numbers(1), (tensor.rank, 2))[list(inverse(tensor.axes))]
    name = call.writer.op("Pad", [tensor.name, call.writer.constant(pads.T.ravel())])
    lengths = np.add(tensor.lengths, pads.sum(axis=1))
    return Tensor(name, tuple(lengths.tolist()), tensor.axes)


def _transpose(call: Call) -> Tensor:
    tensor = call.tensor(0)
    return replace(tensor, axes=tuple(tensor.axes[axis] for axis in call.numbers(1)))


def _split(call: Call) -> Value:
    # Converters write a convolution of one group with a split into one part.
    if call.node.attr["num_split"].i != 1:
        raise call.refusal("with more than one part")
    return call.inputs[1]


def _shape(call: Call) -> Array:
    return np.array(call.tensor(0).shape)


_EMITTERS: dict[str, Emit] = {
    "Add": _binary("Add"),
    "AddV2": _binary("Add"),
    "BiasAdd": _bias_add,
    "ConcatV2": _concat,
    "Conv2D": conv2d,
    "Elu": _unary("Elu"),
    "ExpandDims": _expand_dims,
    "FusedBatchNorm": batch_norm,
    "FusedBatchNormV2": batch_norm,
    "FusedBatchNormV3": batch_norm,
    "Identity": _as_input,
    "MatMul": _mat_mul,
    "Max": _reduce("ReduceMax"),
    "MaxPool": max_pool,
    "Mean": _reduce("ReduceMean"),
    "Mul": _binary("Mul"),
    "Pad": _pad,
    "RealDiv": _binary("Div"),
    "Relu": _unary("Relu"),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _unary("Sigmoid"),
    "Softmax": _softmax,
    "Split": _split,
    "SquaredDifference": _squared_difference,
    "Squeeze": _squeeze,
    "StopGradient": _as_input,
    "Sub": _binary("Sub"),
    "Transpose": _transpose,
}
