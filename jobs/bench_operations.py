"""Operations of a converted model, and the peak of a core that they are held against.

An operation is a multiplication or an addition of a convolution or a dense layer; what else a
graph does is not counted. Taps of a kernel that lie on the padding of a convolution count, as is
usual; runtimes leave them out, so their share is told beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from embedlib.records import Float32

MATMUL, CONVOLUTIONS = "matrix product of 1024", "eight convolutions of 3 x 3"
NUMPY = "NumPy's matrix product of 1024"

PEAK_S: Final = 0.6
"""CPU seconds for each product; the fastest call counts."""

PROPERTIES: Final = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}

_SIDE: Final = 1024
_N_LAYERS: Final = 8
_N_CHANNELS: Final = 128
_IMAGE_SIDE: Final = 40


@dataclass(frozen=True, slots=True)
class Operations:
    """What one call of a model computes.

    Attributes
    ----------
    n_all : int
        Twice the multiply-accumulates of its convolutions and dense layers.
    n_on_padding : int
        Those among them that multiply the zeros of a padding.
    """

    n_all: int = 0
    n_on_padding: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.n_all + other.n_all, self.n_on_padding + other.n_on_padding)


def count_operations(model: Any) -> Operations:
    """Count the operations of a model.

    Parameters
    ----------
    model : openvino.Model
        As the runtime is given it, with a fixed batch. Constants are folded in a copy first, as the
        runtime does, because shapes may hang on them.

    Returns
    -------
    operations : Operations
        Of one call.
    """
    from openvino.passes import ConstantFolding, Manager

    folded = model.clone()
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(folded)
    nodes = [node for node in folded.get_ordered_ops() if node.get_type_name() in _COUNTS]
    return sum((_COUNTS[node.get_type_name()](node) for node in nodes), Operations())


def _of_convolution(node: Any, *, n_group_axes: int) -> Operations:
    image, kernel = (list(node.input(i).get_shape()) for i in (0, 1))
    n_batch, n_out, *sides = node.output(0).get_shape()
    _, n_in, *spans = kernel[n_group_axes:]
    per_tap = 2 * n_batch * n_out * n_in
    n_all = per_tap * int(np.prod(sides)) * int(np.prod(spans))
    attributes = node.get_attributes()
    inside = [
        taps_inside(
            n_in=length,
            n_out=side,
            span=span,
            stride=attributes["strides"][axis],
            dilation=attributes["dilations"][axis],
            n_before=_padding_before(attributes, axis, length, side, span),
        )
        for axis, (length, side, span) in enumerate(zip(image[2:], sides, spans, strict=True))
    ]
    return Operations(n_all, n_all - per_tap * int(np.prod(inside)))


def _padding_before(
    attributes: dict[str, Any], axis: int, length: int, side: int, span: int
) -> int:
    kind = str(attributes.get("auto_pad", "explicit"))
    if not kind.startswith("same"):
        return int(attributes["pads_begin"][axis]) if kind != "valid" else 0
    stride, dilation = attributes["strides"][axis], attributes["dilations"][axis]
    both = max(0, (side - 1) * stride + (span - 1) * dilation + 1 - length)
    return int(both // 2 if kind == "same_upper" else both - both // 2)


def taps_inside(
    *, n_in: int, n_out: int, span: int, stride: int, dilation: int, n_before: int
) -> int:
    """Count the taps of a kernel that meet the image, along one axis, over all its places.

    Parameters
    ----------
    n_in, n_out : int
        Length of the image and of the output.
    span, stride, dilation : int
        Taps of the kernel, distance of its places, distance of its taps.
    n_before : int
        Zeros before the image.

    Returns
    -------
    n_taps : int
        At most ``n_out * span``.

    Examples
    --------
    >>> taps_inside(n_in=5, n_out=5, span=3, stride=1, dilation=1, n_before=1)
    13
    """
    places = stride * np.arange(n_out)[:, None] + dilation * np.arange(span) - n_before
    return int(np.count_nonzero((places >= 0) & (places < n_in)))


def _of_product(node: Any) -> Operations:
    left = list(node.input(0).get_shape())
    n_summed = left[-2] if node.get_attributes()["transpose_a"] else left[-1]
    return Operations(2 * int(np.prod(list(node.output(0).get_shape()))) * n_summed)


_COUNTS: Final[dict[str, Callable[[Any], Operations]]] = {
    "Convolution": lambda node: _of_convolution(node, n_group_axes=0),
    "GroupConvolution": lambda node: _of_convolution(node, n_group_axes=1),
    "MatMul": _of_product,
}


def measure_peaks(core: Any, precisions: Sequence[str]) -> dict[str, dict[str, float]]:
    """Measure how many operations per second a core does at best.

    Parameters
    ----------
    core : openvino.Core
        The runtime.
    precisions : sequence of str
        Of inference.

    Returns
    -------
    peaks : dict of str to dict of str to float
        By precision and product, the weights of which are constants as in a model.
    """
    found: dict[str, dict[str, float]] = {precision: {} for precision in precisions}
    for name, model in ((MATMUL, _products()), (CONVOLUTIONS, _convolutions())):
        n_operations = count_operations(model).n_all
        for precision in precisions:
            seconds = fastest_s(_compiled(core, model, precision), for_s=PEAK_S)
            found[precision][name] = n_operations / seconds
    return found


def numpy_peak() -> float:
    """Measure the same of NumPy, whose library may not know this processor.

    Returns
    -------
    peak : float
        Operations per second of a product in float32.
    """
    a = _noise(_SIDE, _SIDE)
    return float(2 * _SIDE**3 / fastest_s(lambda: a @ a, for_s=PEAK_S / 4))


def fastest_s(call: Callable[[], object], *, for_s: float) -> float:
    """Call again and again, and take the CPU time of the fastest call but the first.

    Parameters
    ----------
    call : callable
        What is measured.
    for_s : float
        CPU seconds to go on for.

    Returns
    -------
    cpu_s : float
        Of one call.
    """
    call()
    times: list[float] = []
    while not times or sum(times) < for_s:
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def _products() -> Any:
    from openvino import Model
    from openvino import opset13 as ops

    x = y = ops.parameter([_SIDE, _SIDE], np.float32)
    for _ in range(_N_LAYERS // 2):
        y = ops.matmul(y, ops.constant(_noise(_SIDE, _SIDE)), False, False)
    return Model([y], [x])


def _convolutions() -> Any:
    from openvino import Model
    from openvino import opset13 as ops

    x = y = ops.parameter([1, _N_CHANNELS, _IMAGE_SIDE, _IMAGE_SIDE], np.float32)
    for _ in range(_N_LAYERS):  # without padding, so that each operation is really done
        kernel = ops.constant(_noise(_N_CHANNELS, _N_CHANNELS, 3, 3))
        y = ops.convolution(y, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    return Model([y], [x])


def _noise(*shape: int) -> Float32:
    # Scaled so that a chain of products neither grows nor fades.
    scale = np.prod(shape[1:]) ** -0.5
    return np.random.default_rng(0).normal(0, scale, shape).astype(np.float32)


def _compiled(core: Any, model: Any, precision: str) -> Callable[[], object]:
    from openvino import Tensor

    options = {"INFERENCE_PRECISION_HINT": precision, **PROPERTIES}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    tensor = Tensor(_noise(*model.input(0).get_shape()))
    return lambda: request.infer([tensor])
