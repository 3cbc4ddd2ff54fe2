"""Write ONNX graphs node by node, with tensors that keep the axes of TensorFlow in mind.

TensorFlow convolves images of batch x rows x columns x channels, ONNX wants the channels second.
Here a `Tensor` knows where each axis of TensorFlow lies in the ONNX value, so that a transpose
changes the note and not the data; data is turned only where an op depends on the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

Array = NDArray[np.generic]
Attribute = int | float | list[int]

OPSET = 17
"""Version of ONNX's own ops: the last whose reductions take their axes as an attribute."""

_IR_VERSION = 8  # of the file format, the one that came with this set of ops (ONNX 1.12)


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """An ONNX file in memory, and the names by which it is fed and read.

    Attributes
    ----------
    data : bytes
        A serialised ModelProto.
    input_name : str
        The one input.
    output_names : tuple of str
        Of the wanted outputs, in their order.
    """

    data: bytes
    input_name: str
    output_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the ONNX graph that depends on the input.

    Attributes
    ----------
    name : str
        In the ONNX graph.
    lengths : tuple of int
        Of its axes, as ONNX has them.
    axes : tuple of int
        For each axis of TensorFlow, which axis of ONNX it is.

    Examples
    --------
    >>> Tensor("image", lengths=(1, 128, 94, 48), axes=(0, 2, 3, 1)).shape
    (1, 94, 48, 128)
    """

    name: str
    lengths: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths in the order of TensorFlow."""
        return tuple(self.lengths[axis] for axis in self.axes)

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.axes)


class OnnxWriter:
    """An ONNX graph that grows; the same calls give the same bytes."""

    def __init__(self) -> None:
        self._model = ModelProto(ir_version=_IR_VERSION, producer_name="embedlib")
        self._model.opset_import.add(version=OPSET)
        self._graph = self._model.graph
        self._graph.name = "embedlib"
        self._numbers = count()

    def serialise(self) -> bytes:
        """Give the graph as a file.

        Returns
        -------
        data : bytes
            A ModelProto.
        """
        data: bytes = self._model.SerializeToString(deterministic=True)
        return data

    def input(self, name: str, *, shape: Sequence[int]) -> Tensor:
        """Add an input of float32.

        Parameters
        ----------
        name : str
            Its name.
        shape : sequence of int > 0
            The batch first.

        Returns
        -------
        tensor : Tensor
            The input.
        """
        self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Tensor(name, tuple(shape), tuple(range(len(shape))))

    def output(self, tensor: Tensor, *, name: str) -> None:
        """Add an output, with the axes in the order of TensorFlow.

        Parameters
        ----------
        tensor : Tensor
            What it gives.
        name : str
            Its name.
        """
        plain = self.plain(tensor)
        self._graph.node.append(helper.make_node("Identity", [plain.name], [name]))
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, plain.lengths)
        self._graph.output.append(info)

    def constant(self, values: Array) -> str:
        """Add a constant.

        Parameters
        ----------
        values : np.ndarray
            Floating point numbers become float32, integers int64.

        Returns
        -------
        name : str
            Of the value.
        """
        is_float = values.dtype.kind == "f"
        # Filled in place, because a helper would copy weights twice more.
        tensor = self._graph.initializer.add(name=self._name("constant"), dims=values.shape)
        tensor.data_type = TensorProto.FLOAT if is_float else TensorProto.INT64
        tensor.raw_data = values.astype("<f4" if is_float else "<i8", copy=False).tobytes()
        return str(tensor.name)

    def op(self, op: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        """Add a node with one output.

        Parameters
        ----------
        op : str
            Of ONNX.
        inputs : sequence of str
            Names of values.
        **attributes : int, float or list of int
            By name.

        Returns
        -------
        name : str
            Of its output.
        """
        name = self._name(op)
        node = helper.make_node(op, inputs, [name])
        node.attribute.extend(map(helper.make_attribute, attributes, attributes.values()))
        self._graph.node.append(node)
        return name

    def turned(self, tensor: Tensor, *, axes: Sequence[int]) -> Tensor:
        """Lay the axes of a tensor out in a given way.

        Parameters
        ----------
        tensor : Tensor
            Any.
        axes : sequence of int
            For each axis of TensorFlow, which axis of ONNX it shall be.

        Returns
        -------
        turned : Tensor
            The tensor itself where it lies so already.
        """
        order = [tensor.axes[axis] for axis in inverse(axes)]
        if order == sorted(order):
            return tensor
        name = self.op("Transpose", [tensor.name], perm=order)
        lengths = tuple(tensor.lengths[axis] for axis in order)
        return Tensor(name, lengths, tuple(axes))

    def plain(self, tensor: Tensor) -> Tensor:
        """Lay the axes of a tensor out in the order of TensorFlow.

        Parameters
        ----------
        tensor : Tensor
            Any.

        Returns
        -------
        plain : Tensor
            The tensor itself where it lies so already.
        """
        return self.turned(tensor, axes=range(tensor.rank))

    def without(self, tensor: Tensor, *, axes: Sequence[int]) -> Tensor:
        """Drop axes of length 1.

        Parameters
        ----------
        tensor : Tensor
            Any.
        axes : sequence of int
            Of TensorFlow.

        Returns
        -------
        squeezed : Tensor
            The other axes stay where they are.
        """
        dropped = sorted(tensor.axes[axis] for axis in axes)
        kept = [axis for axis in range(tensor.rank) if axis not in dropped]
        return Tensor(
            self.op("Squeeze", [tensor.name, self.constant(np.array(dropped))]),
            tuple(tensor.lengths[axis] for axis in kept),
            tuple(kept.index(axis) for axis in tensor.axes if axis in kept),
        )

    def mapped(self, tensor: Tensor, *, op: str, **attributes: Attribute) -> Tensor:
        """Add a node that gives a tensor of the same shape and layout.

        Parameters
        ----------
        tensor : Tensor
            Its input.
        op : str
            Of ONNX.
        **attributes : int or float
            By name.

        Returns
        -------
        result : Tensor
            Its output.
        """
        return replace(tensor, name=self.op(op, [tensor.name], **attributes))

    def _name(self, kind: str) -> str:
        return f"{kind}#{next(self._numbers)}"


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """Invert a permutation.

    Parameters
    ----------
    axes : sequence of int
        A permutation of 0, 1 and so on.

    Returns
    -------
    inverse : tuple of int
        Where each number stands.

    Examples
    --------
    >>> inverse((0, 2, 3, 1))
    (0, 3, 1, 2)
    """
    return tuple(int(axis) for axis in np.argsort(axes))
