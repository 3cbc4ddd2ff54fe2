"""One TensorFlow node with its inputs, as the functions that write it in ONNX see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tensorboardX.proto.node_def_pb2 import NodeDef

from embedlib.errors import ModelError
from embedlib.models.onnx_writer import Array, OnnxWriter, Tensor

Value = Tensor | Array
"""What a node takes or gives: a tensor, or an array where it does not depend on the input."""


@dataclass(frozen=True, slots=True)
class Call:
    """A node that is to be written.

    Attributes
    ----------
    writer : OnnxWriter
        The graph so far.
    node : NodeDef
        Of TensorFlow.
    inputs : sequence of (Tensor or np.ndarray)
        What it takes.
    """

    writer: OnnxWriter
    node: NodeDef
    inputs: Sequence[Value]

    def tensor(self, index: int) -> Tensor:
        """Give an input that must depend on the input of the graph.

        Parameters
        ----------
        index : int
            Which.

        Returns
        -------
        tensor : Tensor
            The input.

        Raises
        ------
        ModelError
            If it is a constant.
        """
        value = self.inputs[index]
        if not isinstance(value, Tensor):
            raise self.refusal("with a constant where the ONNX export wants data")
        return value

    def array(self, index: int) -> Array:
        """Give an input that must be known beforehand.

        Parameters
        ----------
        index : int
            Which.

        Returns
        -------
        array : np.ndarray
            The input.

        Raises
        ------
        ModelError
            If it depends on the input of the graph.
        """
        value = self.inputs[index]
        if isinstance(value, Tensor):
            raise self.refusal("with data where the ONNX export wants a constant")
        return value

    def numbers(self, index: int) -> list[int]:
        """Give an input that must be integers known beforehand, such as axes.

        Parameters
        ----------
        index : int
            Which.

        Returns
        -------
        numbers : list of int
            All of them, whatever their shape.

        Raises
        ------
        ModelError
            If it depends on the input of the graph.
        """
        return [int(number) for number in np.ravel(self.array(index)).tolist()]

    def require_channels_last(self) -> None:
        """Refuse images whose channels are not the last axis.

        Raises
        ------
        ModelError
            If the node says so.
        """
        if self.node.attr["data_format"].s not in (b"", b"NHWC"):
            raise self.refusal("whose channels are not the last axis")

    def refusal(self, why: str) -> ModelError:
        """Give the error for a node that has no export.

        Parameters
        ----------
        why : str
            Ends the sentence that begins with the names of node and op.

        Returns
        -------
        error : ModelError
            To be raised.
        """
        return ModelError(
            f"node {self.node.name!r} holds the op {self.node.op!r}, {why}",
            fix="take --engine openvino",
        )
