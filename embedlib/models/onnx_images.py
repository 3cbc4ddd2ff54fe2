"""The ops on images, in ONNX: convolution, pooling, batch norm.

TensorFlow leaves the padding of ``SAME`` to the run time; all shapes are known here, so it is
computed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedlib.models.onnx_call import Call
from embedlib.models.onnx_writer import Tensor

# Where ONNX has batch, rows, columns and channels of an image.
_CHANNELS_SECOND = (0, 2, 3, 1)

# Default of FusedBatchNorm in TensorFlow's nn_ops.cc.
_BATCH_NORM_EPSILON = 1e-4


def conv2d(call: Call) -> Tensor:
    """Write a convolution.

    Parameters
    ----------
    call : Call
        Image, and kernel of rows x columns x channels in x channels out.

    Returns
    -------
    image : Tensor
        Convolved.
    """
    image, kernel = _image(call), call.array(1)
    window = _window(call, image, kernel=kernel.shape[:2])
    name = call.writer.op(
        "Conv",
        [image.name, call.writer.constant(kernel.transpose(3, 2, 0, 1))],
        pads=window.pads,
        strides=window.strides,
        dilations=window.dilations,
    )
    return Tensor(name, (image.lengths[0], kernel.shape[3], *window.lengths), _CHANNELS_SECOND)


def max_pool(call: Call) -> Tensor:
    """Write a pooling by maximum.

    Parameters
    ----------
    call : Call
        Image.

    Returns
    -------
    image : Tensor
        Pooled; padding never is the maximum.
    """
    image, kernel = _image(call), _spatial(call, "ksize")
    window = _window(call, image, kernel=kernel)
    name = call.writer.op(
        "MaxPool",
        [image.name],
        kernel_shape=kernel,
        pads=window.pads,
        strides=window.strides,
    )
    return Tensor(name, (*image.lengths[:2], *window.lengths), _CHANNELS_SECOND)


def batch_norm(call: Call) -> Tensor:
    """Write a batch norm as it is after training.

    Parameters
    ----------
    call : Call
        Image, and scale, offset, mean and variance of each channel.

    Returns
    -------
    image : Tensor
        Normalised.
    """
    attributes = call.node.attr
    if "is_training" not in attributes or attributes["is_training"].b:
        raise call.refusal("as it is in training")
    image = _image(call)
    parameters = [call.writer.constant(call.array(index)) for index in range(1, 5)]
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else _BATCH_NORM_EPSILON
    return Tensor(
        call.writer.op("BatchNormalization", [image.name, *parameters], epsilon=epsilon),
        image.lengths,
        image.axes,
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """How a kernel slides over rows and columns.

    Attributes
    ----------
    lengths : tuple of int
        Of the result.
    pads : list of int
        Before rows and columns, then behind them, as ONNX has it.
    strides, dilations : list of int
        Of rows and columns.
    """

    lengths: tuple[int, int]
    pads: list[int]
    strides: list[int]
    dilations: list[int]


def _image(call: Call) -> Tensor:
    call.require_channels_last()
    return call.writer.turned(call.tensor(0), axes=_CHANNELS_SECOND)


def _window(call: Call, image: Tensor, *, kernel: Sequence[int]) -> _Window:
    strides, dilations = _spatial(call, "strides"), _spatial(call, "dilations")
    padding = call.node.attr["padding"].s
    if padding not in (b"SAME", b"VALID"):
        raise call.refusal(f"with the padding {padding.decode(errors='replace')!r}")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    rows, columns = (
        _slide(length, span=span, stride=stride, same=padding == b"SAME")
        for length, span, stride in zip(image.shape[1:3], spans, strides, strict=True)
    )
    pads = [rows[1], columns[1], rows[2], columns[2]]
    return _Window((rows[0], columns[0]), pads, strides, dilations)


def _spatial(call: Call, key: str) -> list[int]:
    batch, rows, columns, channels = call.node.attr[key].list.i or (1, 1, 1, 1)
    if (batch, channels) != (1, 1):
        raise call.refusal(f"with {key} over batch or channels")
    return [int(rows), int(columns)]


def _slide(length: int, *, span: int, stride: int, same: bool) -> tuple[int, int, int]:
    """Give the length of a result, and the zeros before and behind.

    Of an odd number of zeros, ``SAME`` puts the larger half behind (TensorFlow's documentation of
    ``tf.nn``, "Notes on padding").
    """
    if not same:
        return (length - span) // stride + 1, 0, 0
    n_positions = -(-length // stride)
    n_zeros = max((n_positions - 1) * stride + span - length, 0)
    return n_positions, n_zeros // 2, n_zeros - n_zeros // 2
