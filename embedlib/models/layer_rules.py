"""Shapes that follow for the layers of a network: convolutions, poolings, products, transforms."""

from __future__ import annotations

from collections.abc import Sequence

from embedlib.models.known import UNKNOWN, Known, Node, Rule


def conv2d(node: Node, inputs: Sequence[Known]) -> Known:
    """Slide a kernel: rows, columns, channels in, channels out."""
    image, kernel = (known.shape for known in inputs)
    if image is None or kernel is None or not _channels_last(node):
        return UNKNOWN
    rows, columns = (_slide(node, image, axis, kernel[axis - 1]) for axis in (1, 2))
    return Known((image[0], rows, columns, kernel[3]))


def depthwise_conv2d(node: Node, inputs: Sequence[Known]) -> Known:
    """Slide a kernel over each channel: rows, columns, channels, multiplier."""
    image, kernel = (known.shape for known in inputs)
    if image is None or kernel is None or not _channels_last(node):
        return UNKNOWN
    rows, columns = (_slide(node, image, axis, kernel[axis - 1]) for axis in (1, 2))
    channels, factor = kernel[2:]
    n_out = None if channels is None or factor is None else channels * factor
    return Known((image[0], rows, columns, n_out))


def conv2d_transpose(node: Node, inputs: Sequence[Known]) -> Known:
    """Give the size that the first input states, and the batch of the image."""
    sizes, _, image = inputs
    if sizes.value is None:
        return UNKNOWN
    batch, *rest = sizes.value
    return Known((image.shape[0] if batch is None and image.shape else batch, *rest))


def pool(node: Node, inputs: Sequence[Known]) -> Known:
    """Slide a window."""
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


def mat_mul(node: Node, inputs: Sequence[Known]) -> Known:
    """Multiply two matrices, either of them transposed."""
    one, other = (known.shape for known in inputs)
    if one is None or other is None:
        return UNKNOWN
    return Known((one[node.attr["transpose_a"].b], other[1 - node.attr["transpose_b"].b]))


def transform(*, real: bool) -> Rule:
    """Make the rule of a Fourier transform of the last axis.

    Parameters
    ----------
    real : bool
        Whether the result is real, as that of an inverse.

    Returns
    -------
    rule : callable
        From the transform's length, the second input.
    """

    def rule(node: Node, inputs: Sequence[Known]) -> Known:
        tensor, size = inputs
        if tensor.shape is None or size.value is None:
            return UNKNOWN
        n_samples = size.value.item()
        return Known((*tensor.shape[:-1], n_samples if real else n_samples // 2 + 1))

    return rule


def _channels_last(node: Node) -> bool:
    return node.attr["data_format"].s in (b"", b"NHWC")


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


def _window(length: int | None, *, kernel: int, stride: int, padding: bytes) -> int | None:
    if length is None:
        return None
    covered = length if padding == b"SAME" else length - kernel + 1
    return -(-covered // stride)
