"""The layers that the model families are built of, with random weights.

Nodes carry the names that ``tf.layers`` of TensorFlow 1.15 gives them, so that a graph built here
has the nodes of the published files. Images are batch x rows x columns x channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from embedlib.models.graph_writer import Attribute, GraphWriter
from embedlib.models.random_weights import he_uniform, uniform
from embedlib.models.shaping import length, pack
from embedlib.records import Float32

WeightNames = tuple[str, str]
KERNEL_AND_BIAS: WeightNames = ("kernel", "bias")
"""Names of a layer's weights in Keras and ``tf.layers``."""
WEIGHTS_AND_BIASES: WeightNames = ("weights", "biases")
"""Names of a layer's weights in TF-Slim."""

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

    def conv2d(
        self,
        image: str,
        *,
        name: str,
        kernel: Sequence[int],
        padding: str = "SAME",
        strides: Sequence[int] = (1, 1),
        dilations: Sequence[int] = (1, 1),
        activation: str | None = "Relu",
        weight_names: WeightNames = KERNEL_AND_BIAS,
    ) -> str:
        """Add a convolution with bias and activation.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        kernel : sequence of int
            Rows, columns, channels in, channels out.
        padding : {'SAME', 'VALID'}
            What happens at the edges.
        strides, dilations : sequence of int
            Rows and columns.
        activation : {'Relu', 'Elu', 'Sigmoid'} or None
            What follows; None leaves it linear.
        weight_names : (str, str)
            Of kernel and bias inside of the layer.

        Returns
        -------
        node : str
            Full name of the activation, or of the biased convolution.
        """
        kernel_name, bias_name = weight_names
        weights = self._writer.variable(f"{name}/{kernel_name}", he_uniform(self._rng, kernel))
        bias = self._writer.variable(f"{name}/{bias_name}", self._around(0.0, kernel[-1]))
        self._writer.const(f"{name}/dilation_rate", list(dilations))
        convolved = self._writer.op(
            "Conv2D", f"{name}/Conv2D", [image, weights], **_sliding(padding, strides, dilations)
        )
        return self._biased(convolved, bias, name=name, activation=activation)

    def conv2d_transpose(
        self,
        image: str,
        *,
        name: str,
        kernel: Sequence[int],
        strides: Sequence[int],
        rows_columns: Sequence[int],
    ) -> str:
        """Add a transposed convolution, which makes an image larger, with bias.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        kernel : sequence of int
            Rows, columns, channels out, channels in.
        strides : sequence of int
            Rows and columns.
        rows_columns : sequence of int
            Size of the result.

        Returns
        -------
        node : str
            Full name of the biased image.
        """
        *size, n_out, n_in = kernel
        # Of the taps of a kernel, one in rows x columns of the stride meets a pixel.
        fan_in = n_in * prod(size) / prod(strides)
        weights = self._writer.variable(
            f"{name}/kernel", he_uniform(self._rng, kernel, fan_in=fan_in)
        )
        bias = self._writer.variable(f"{name}/bias", self._around(0.0, n_out))
        lengths = [*rows_columns, n_out]
        target = [self._writer.const(f"{name}/stack/{i}", n) for i, n in enumerate(lengths, 1)]
        batch = length(self._writer, image, name=name, axis=0)
        enlarged = self._writer.op(
            "Conv2DBackpropInput",
            f"{name}/conv2d_transpose",
            [pack(self._writer, [batch, *target], name=f"{name}/stack"), weights, image],
            **_sliding("SAME", strides, (1, 1)),
        )
        return self._biased(enlarged, bias, name=name, activation=None)

    def dense(
        self,
        tensor: str,
        *,
        name: str,
        n_in: int,
        n_out: int,
        weight_names: WeightNames = KERNEL_AND_BIAS,
    ) -> str:
        """Add a dense layer without activation.

        Parameters
        ----------
        tensor : str
            Input node, batch x `n_in`.
        name : str
            Of the layer.
        n_in, n_out : int > 0
            Lengths of input and output.
        weight_names : (str, str)
            Of kernel and bias inside of the layer.

        Returns
        -------
        node : str
            Full name of the biased product.
        """
        kernel_name, bias_name = weight_names
        weights = self._writer.variable(
            f"{name}/{kernel_name}", he_uniform(self._rng, (n_in, n_out))
        )
        bias = self._writer.variable(f"{name}/{bias_name}", self._around(0.0, n_out))
        product = self._writer.op(
            "MatMul", f"{name}/MatMul", [tensor, weights], transpose_a=False, transpose_b=False
        )
        return self._biased(product, bias, name=name, activation=None)

    def batch_norm(
        self,
        image: str,
        *,
        name: str,
        n_channels: int,
        mean: float = 0.0,
        variance: float = 1.0,
    ) -> str:
        """Add the batch norm of an image, as one op.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        n_channels : int > 0
            Channels of the image.
        mean, variance : float
            About what it expects of the image.

        Returns
        -------
        node : str
            Full name of the normalised image.
        """
        variables = self._batch_norm_variables(name, n_channels, mean=mean, variance=variance)
        normal = self._writer.op(
            "FusedBatchNorm",
            f"{name}/FusedBatchNorm",
            [image, *variables],
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
        self,
        image: str,
        *,
        name: str,
        size: Sequence[int],
        strides: Sequence[int],
        padding: str = "VALID",
    ) -> str:
        """Add a pooling by maximum.

        Parameters
        ----------
        image : str
            Input node.
        name : str
            Of the layer.
        size, strides : sequence of int
            Rows and columns.
        padding : {'VALID', 'SAME'}
            What happens at the edges.

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
            padding=padding.encode(),
            data_format=b"NHWC",
        )

    def _biased(self, tensor: str, bias: str, *, name: str, activation: str | None) -> str:
        biased = self._writer.op("BiasAdd", f"{name}/BiasAdd", [tensor, bias], data_format=b"NHWC")
        return (
            self._writer.op(activation, f"{name}/{activation}", [biased]) if activation else biased
        )

    def _batch_norm_variables(
        self, name: str, n_channels: int, *, mean: float = 0.0, variance: float = 1.0
    ) -> list[str]:
        around = {"gamma": 1.0, "beta": 0.0, "moving_mean": mean, "moving_variance": variance}
        return [
            self._writer.variable(f"{name}/{part}", self._around(centre, n_channels))
            for part, centre in around.items()
        ]

    def _around(self, centre: float, n_values: int) -> Float32:
        return uniform(self._rng, n_values, centre=centre, half_width=_OFFSET)


def _sliding(
    padding: str, strides: Sequence[int], dilations: Sequence[int]
) -> dict[str, Attribute]:
    return {
        "strides": [1, *strides, 1],
        "dilations": [1, *dilations, 1],
        "explicit_paddings": [],
        "padding": padding.encode(),
        "data_format": b"NHWC",
        "use_cudnn_on_gpu": True,
    }
