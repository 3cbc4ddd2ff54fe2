"""The layers that the model families are built of, with random weights.

Nodes carry the names that ``tf.layers`` of TensorFlow 1.15 gives them, so that a graph built here
has the nodes of the published files. Images are batch x rows x columns x channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedlib.models.graph_writer import GraphWriter
from embedlib.records import Float32

# Defaults of tf.layers.batch_normalization (TensorFlow 1.15).
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.99

# Half the width of what batch norms and biases are off the identity: enough that each counts.
_OFFSET = 0.1


class Layers:
    """Add layers to a graph; every method gives the name of the node that holds the result.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    rng : np.random.Generator
        Source of the weights. Only its uniform numbers are used: they are scaled raw bits.
    """

    def __init__(self, writer: GraphWriter, *, rng: np.random.Generator) -> None:
        self._writer = writer
        self._rng = rng

    def conv2d(self, image: str, *, name: str, kernel: Sequence[int], padding: str) -> str:
        """Add a convolution of stride 1 with bias and ReLU.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        kernel : sequence of int
            Rows, columns, channels in, channels out.
        padding : {'VALID', 'SAME'}
            What happens at the edges.

        Returns
        -------
        node : str
            Full name of the ReLU.
        """
        weights = self._writer.variable(f"{name}/kernel", self._he_uniform(kernel))
        bias = self._writer.variable(f"{name}/bias", self._around(0.0, kernel[-1]))
        self._writer.const(f"{name}/dilation_rate", [1, 1])
        convolved = self._writer.op(
            "Conv2D",
            f"{name}/Conv2D",
            [image, weights],
            strides=[1, 1, 1, 1],
            dilations=[1, 1, 1, 1],
            explicit_paddings=[],
            padding=padding.encode(),
            data_format=b"NHWC",
            use_cudnn_on_gpu=True,
        )
        biased = self._writer.op(
            "BiasAdd", f"{name}/BiasAdd", [convolved, bias], data_format=b"NHWC"
        )
        return self._writer.op("Relu", f"{name}/Relu", [biased])

    def dense(self, tensor: str, *, name: str, n_in: int, n_out: int) -> str:
        """Add a dense layer without activation.

        Parameters
        ----------
        tensor : str
            Input node, batch x `n_in`.
        name : str
            Of the layer.
        n_in, n_out : int > 0
            Lengths of input and output.

        Returns
        -------
        node : str
            Full name of the biased product.
        """
        weights = self._writer.variable(f"{name}/kernel", self._he_uniform((n_in, n_out)))
        bias = self._writer.variable(f"{name}/bias", self._around(0.0, n_out))
        product = self._writer.op(
            "MatMul", f"{name}/MatMul", [tensor, weights], transpose_a=False, transpose_b=False
        )
        return self._writer.op("BiasAdd", f"{name}/BiasAdd", [product, bias], data_format=b"NHWC")

    def batch_norm(self, image: str, *, name: str, n_channels: int) -> str:
        """Add the batch norm of an image, as one op.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        n_channels : int > 0
            Channels of the image.

        Returns
        -------
        node : str
            Full name of the normalised image.
        """
        inputs = [image, *self._batch_norm_variables(name, n_channels)]
        normal = self._writer.op(
            "FusedBatchNorm",
            f"{name}/FusedBatchNorm",
            inputs,
            epsilon=BATCH_NORM_EPSILON,
            data_format=b"NHWC",
            is_training=False,
        )
        self._writer.const(f"{name}/Const", BATCH_NORM_MOMENTUM, dtype="float32")
        return normal

    def batch_norm_of_vector(self, tensor: str, *, name: str, n_channels: int) -> str:
        """Add the batch norm of a vector, which TensorFlow writes as arithmetic.

        Parameters
        ----------
        tensor : str
            Input node, batch x channels.
        name : str
            Of the layer.
        n_channels : int > 0
            Length of the vector.

        Returns
        -------
        node : str
            Full name of the normalised vector.
        """
        gamma, beta, mean, variance = self._batch_norm_variables(name, n_channels)
        inner = f"{name}/batchnorm"
        epsilon = self._writer.const(f"{inner}/add/y", BATCH_NORM_EPSILON, dtype="float32")
        total = self._writer.op("Add", f"{inner}/add", [variance, epsilon])
        inverse = self._writer.op("Rsqrt", f"{inner}/Rsqrt", [total])
        scale = self._writer.op("Mul", f"{inner}/mul", [inverse, gamma])
        scaled = self._writer.op("Mul", f"{inner}/mul_1", [tensor, scale])
        centre = self._writer.op("Mul", f"{inner}/mul_2", [mean, scale])
        shift = self._writer.op("Sub", f"{inner}/sub", [beta, centre])
        return self._writer.op("Add", f"{inner}/add_1", [scaled, shift])

    def max_pool(
        self, image: str, *, name: str, size: Sequence[int], strides: Sequence[int]
    ) -> str:
        """Add a pooling by maximum, without padding.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        size, strides : sequence of int
            Rows and columns.

        Returns
        -------
        node : str
            Full name of the pooled image.
        """
        return self._writer.op(
            "MaxPool",
            f"{name}/MaxPool",
            [image],
            ksize=[1, *size, 1],
            strides=[1, *strides, 1],
            padding=b"VALID",
            data_format=b"NHWC",
        )

    def expand_dims(self, tensor: str, *, name: str, axis: int) -> str:
        """Add an axis of length 1.

        Parameters
        ----------
        tensor : str
            Input node.
        name : str
            Of the node.
        axis : int >= 0
            Where the new axis is.

        Returns
        -------
        node : str
            Full name.
        """
        dim = self._writer.const(f"{name}/dim", axis)
        return self._writer.op("ExpandDims", name, [tensor, dim], Tdim="int32")

    def concat(self, tensors: Sequence[str], *, name: str, axis: int) -> str:
        """Join tensors along an axis.

        Parameters
        ----------
        tensors : sequence of str
            Input nodes.
        name : str
            Of the node.
        axis : int >= 0
            Along which to join.

        Returns
        -------
        node : str
            Full name.
        """
        along = self._writer.const(f"{name}/axis", axis)
        return self._writer.op("ConcatV2", name, [*tensors, along], N=len(tensors), Tidx="int32")

    def flatten(self, tensor: str, *, name: str) -> str:
        """Flatten all axes but the batch, with the nodes of ``tf.layers.flatten``.

        Parameters
        ----------
        tensor : str
            Input node.
        name : str
            Of the layer.

        Returns
        -------
        node : str
            Full name of the reshaped tensor, batch x values.
        """
        shape = self._writer.op("Shape", f"{name}/Shape", [tensor], out_type="int32")
        bounds = zip(("stack", "stack_1", "stack_2"), ([0], [1], [1]), strict=True)
        slicing = [self._writer.const(f"{name}/strided_slice/{bound}", at) for bound, at in bounds]
        masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask"), 0)
        batch = self._writer.op(
            "StridedSlice",
            f"{name}/strided_slice",
            [shape, *slicing],
            T="int32",
            Index="int32",
            shrink_axis_mask=1,
            **masks,
        )
        rest = self._writer.const(f"{name}/Reshape/shape/1", -1)
        target = self._writer.op(
            "Pack", f"{name}/Reshape/shape", [batch, rest], T="int32", N=2, axis=0
        )
        return self._writer.op("Reshape", f"{name}/Reshape", [tensor, target], Tshape="int32")

    def _batch_norm_variables(self, name: str, n_channels: int) -> list[str]:
        around = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
        return [
            self._writer.variable(f"{name}/{part}", self._around(centre, n_channels))
            for part, centre in around.items()
        ]

    def _he_uniform(self, shape: Sequence[int]) -> Float32:
        # K. He et al., 2015, arXiv:1502.01852: variance 2 / fan_in keeps activations in size.
        limit = np.sqrt(6.0 / np.prod(shape[:-1]))
        weights: Float32 = (2.0 * self._rng.random(tuple(shape)) - 1.0) * limit
        return weights.astype(np.float32)

    def _around(self, centre: float, n_values: int) -> Float32:
        offset = _OFFSET * (2.0 * self._rng.random(n_values) - 1.0)
        return (centre + offset).astype(np.float32)
