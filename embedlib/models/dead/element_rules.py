"""Bounds through ops that work on each element: sums, scales, activations, batch norms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from embedlib.models.dead.facts import Array, Facts, Float64
from embedlib.models.dead.step import LostError, Step

Rule = Callable[[Step], Facts]
Function = Callable[[Float64], Float64]


def monotone(function: Function) -> Rule:
    """Make the rule of a function that never falls.

    Parameters
    ----------
    function : callable
        Of arrays.

    Returns
    -------
    rule : callable
        Of a step.
    """

    def rule(step: Step) -> Facts:
        return _applied(step.tensor(), function)

    return rule


def leaky_relu(step: Step) -> Facts:
    """Bound a leaky ReLU by its slope."""
    slope = step.attribute("alpha").f if "alpha" in step.node.attr else 0.2  # the default
    if slope < 0:
        raise LostError
    return _applied(step.tensor(), lambda x: np.where(x < 0, slope * x, x))


def passed_on(step: Step) -> Facts:
    """Give the first input."""
    return step.tensor()


def add(step: Step) -> Facts:
    """Bound a sum with a constant, or of two tensors."""
    if all(isinstance(value, Facts) for value in step.inputs):
        one, other = _tied(step)
        return replace(one, value=one.value + other.value, radius=one.radius + other.radius)
    tensor, constant = _operands(step)
    return _shifted(tensor, constant)


def sub(step: Step) -> Facts:
    """Bound a difference."""
    if all(isinstance(value, Facts) for value in step.inputs):
        one, other = _tied(step)
        return replace(one, value=one.value - other.value, radius=one.radius + other.radius)
    tensor, constant = _operands(step)
    if isinstance(step.inputs[0], Facts):
        return _shifted(tensor, -constant)
    return _shifted(replace(tensor, value=-tensor.value), constant)


def mul(step: Step) -> Facts:
    """Bound a product with a constant, or of two tensors."""
    if all(isinstance(value, Facts) for value in step.inputs):
        one, other = _tied(step)
        radius = np.abs(one.value) * other.radius + other.largest * one.radius
        return replace(one, value=one.value * other.value, radius=radius)
    return _scaled(*_operands(step))


def real_div(step: Step) -> Facts:
    """Bound a quotient whose divisor is a constant."""
    step.constant(1)
    tensor, constant = _operands(step)
    return _scaled(tensor, 1.0 / constant)


def maximum(step: Step) -> Facts:
    """Bound the larger of two."""
    if all(isinstance(value, Facts) for value in step.inputs):
        one, other = _tied(step)
        radius = np.maximum(one.radius, other.radius)
        return replace(one, value=np.maximum(one.value, other.value), radius=radius)
    tensor, constant = _operands(step)
    low, high = _range_of(constant, tensor)
    if np.any(low != high):
        raise LostError
    return _applied(tensor, lambda x: np.maximum(x, low))


def batch_norm(step: Step) -> Facts:
    """Bound a batch norm, a scale and a shift per channel."""
    tensor = step.tensor()
    scale, shift = scale_and_shift(step)
    return _shifted(_scaled(_fits(tensor, step), scale), shift)


def scale_and_shift(step: Step) -> tuple[Float64, Float64]:
    """Give the scale and the shift that a batch norm is.

    Parameters
    ----------
    step : Step
        A ``FusedBatchNorm`` with the channels last.

    Returns
    -------
    scale, shift : np.ndarray [shape=(n_channels,), float64]
        Of each channel.

    Raises
    ------
    LostError
        If it is one of another kind, or of training.
    """
    gamma, beta, mean, variance = (np.float64(step.constant(index)) for index in range(1, 5))
    given = step.node.attr  # with the defaults of TensorFlow where it says nothing
    is_training = given["is_training"].b if "is_training" in given else True
    if is_training or step.attribute("data_format").s not in (b"", b"NHWC"):
        raise LostError
    epsilon = given["epsilon"].f if "epsilon" in given else 1e-4
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _applied(tensor: Facts, function: Function) -> Facts:
    tensor = tensor.without_border()
    value = function(tensor.value)
    up = function(tensor.value + tensor.radius) - value
    down = value - function(tensor.value - tensor.radius)
    return replace(tensor, value=value, radius=np.maximum(up, down))


def _scaled(tensor: Facts, factors: Array) -> Facts:
    low, high = _range_of(factors, tensor)
    factor, spread = (low + high) / 2, (high - low) / 2
    radius = tensor.radius * (np.abs(factor) + spread) + np.abs(tensor.value) * spread
    return replace(tensor, value=tensor.value * factor, radius=radius)


def _shifted(tensor: Facts, terms: Array) -> Facts:
    low, high = _range_of(terms, tensor)
    value = tensor.value + (low + high) / 2
    return replace(tensor, value=value, radius=tensor.radius + (high - low) / 2)


def _operands(step: Step) -> tuple[Facts, Float64]:
    """Give the tensor and the constant of an op, whichever is first."""
    first = isinstance(step.inputs[0], Facts)
    tensor, constant = step.tensor(int(not first)), step.constant(int(first))
    return _fits(tensor, step), np.asarray(constant, np.float64)


def _fits(tensor: Facts, step: Step) -> Facts:
    if tensor.shape != step.shape:
        raise LostError
    return tensor.without_border()


def _tied(step: Step) -> tuple[Facts, Facts]:
    """Give two tensors of one shape, whose channels go together from here on."""
    one, other = (_fits(step.tensor(index), step) for index in (0, 1))
    if one.axis != other.axis:
        raise LostError
    return replace(one, ids=step.groups.tie(one, other)), other


def _range_of(values: Array, tensor: Facts) -> tuple[Float64, Float64]:
    """Give the smallest and the largest value of a constant that meets each channel."""
    if values.ndim > tensor.rank:
        raise LostError
    wide = values.reshape((1,) * (tensor.rank - values.ndim) + values.shape)
    others = tuple(axis for axis in range(tensor.rank) if axis != tensor.axis)
    return np.atleast_1d(wide.min(axis=others)), np.atleast_1d(wide.max(axis=others))


def _elu(x: Float64) -> Float64:
    return np.where(x < 0, np.expm1(np.minimum(x, 0)), x)


def _sigmoid(x: Float64) -> Float64:
    return 0.5 * (1 + np.tanh(x / 2))


ELEMENT_RULES: dict[str, Rule] = {
    "Add": add,
    "AddV2": add,
    "BiasAdd": add,
    "Elu": monotone(_elu),
    "FusedBatchNorm": batch_norm,
    "FusedBatchNormV2": batch_norm,
    "FusedBatchNormV3": batch_norm,
    "Identity": passed_on,
    "LeakyRelu": leaky_relu,
    "Maximum": maximum,
    "Mul": mul,
    "RealDiv": real_div,
    "Relu": monotone(lambda x: np.maximum(x, 0)),
    "Relu6": monotone(lambda x: np.clip(x, 0, 6)),
    "Sigmoid": monotone(_sigmoid),
    "StopGradient": passed_on,
    "Sub": sub,
    "Tanh": monotone(np.tanh),
}
