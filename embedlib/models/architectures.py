"""MusiCNN and VGG-I as graphs, layer by layer, with the node names of the published files.

Both follow the code of their authors (jordipons/musicnn-training, ``src/models.py``) [1]_ as
Essentia's `msd-musicnn-1.pb` froze it. Nodes that inference does not need are there too.

References
----------
.. [1] J. Pons, X. Serra: musicnn: Pre-trained convolutional neural networks for music audio
   tagging. ISMIR Late-Breaking Demo, 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.spec import ModelSpec

# The timbral filters see 0.4 and 0.7 of the bands, the temporal ones 128, 64 and 32 frames.
TIMBRAL_KERNELS = ((7, 38), (7, 67))
TEMPORAL_KERNELS = ((128, 1), (64, 1), (32, 1))
N_TIMBRAL, N_TEMPORAL, N_MID, N_PENULTIMATE = 204, 51, 64, 200

N_VGG = 128
VGG_POOLS = (((4, 1), (2, 2)), ((2, 2),) * 2, ((2, 2),) * 2, ((2, 2),) * 2, ((4, 4),) * 2)


def write_musicnn(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write MusiCNN.

    Parameters
    ----------
    writer : GraphWriter
        Empty, with the scope ``model``.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a patch, number of outputs.
    """
    n_bands = spec.input_shape[1]
    image = _input(writer, layers, spec)
    front = _front_end(writer, layers, image, n_bands=n_bands)
    joined = layers.concat(front, name="concat", axis=2)
    wide = layers.expand_dims(joined, name="ExpandDims_1", axis=3)
    n_front = 2 * N_TIMBRAL + 3 * N_TEMPORAL
    middle = _mid_end(writer, layers, wide, n_front=n_front)
    pooled = _temporal_pooling(writer, layers, [wide, *middle])
    logits = _back_end(writer, layers, pooled, n_in=2 * (n_front + 3 * N_MID), spec=spec)
    _side_outputs(writer, layers, front)
    writer.op("Sigmoid", "Sigmoid", [logits])


def write_vgg(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write VGG-I.

    Parameters
    ----------
    writer : GraphWriter
        Empty, with the scope ``model``.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a patch, number of outputs.
    """
    image = _input(writer, layers, spec)
    rows_columns = spec.input_shape
    for index, (size, strides) in enumerate(VGG_POOLS, start=1):
        n_in = 1 if index == 1 else N_VGG
        convolved = layers.conv2d(
            image, name=f"{index}CNN", kernel=(3, 3, n_in, N_VGG), padding="SAME"
        )
        normal = layers.batch_norm(convolved, name=f"batch_normalization_{index}", n_channels=N_VGG)
        pool_name = _numbered("max_pooling2d", index - 1)
        image = layers.max_pool(normal, name=pool_name, size=size, strides=strides)
        rows_columns = tuple(
            1 + (length - window) // step
            for length, window, step in zip(rows_columns, size, strides, strict=True)
        )
        if index < len(VGG_POOLS):
            image = writer.op("Identity", f"{_numbered('dropout', index - 1)}/Identity", [image])
    flat = layers.flatten(image, name="flatten")
    kept = writer.op("Identity", "dropout_4/Identity", [flat])
    n_flat = N_VGG * prod(rows_columns)
    logits = layers.dense(kept, name="dense", n_in=n_flat, n_out=spec.n_activations)
    writer.op("Sigmoid", "Sigmoid", [logits])


ARCHITECTURES: dict[str, Callable[[GraphWriter, Layers, ModelSpec], None]] = {
    "musicnn": write_musicnn,
    "vgg": write_vgg,
}


def _input(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> str:
    patches = writer.placeholder("Placeholder", shape=(-1, *spec.input_shape))
    writer.flag_placeholder("Placeholder_1")
    image = layers.expand_dims(patches, name="ExpandDims", axis=3)
    return layers.batch_norm(image, name="batch_normalization", n_channels=1)


def _front_end(writer: GraphWriter, layers: Layers, image: str, *, n_bands: int) -> list[str]:
    padded = _pad_frames(writer, image, name="Pad")
    timbral = [(padded, kernel, "VALID", N_TIMBRAL) for kernel in TIMBRAL_KERNELS]
    temporal = [(image, kernel, "SAME", N_TEMPORAL) for kernel in TEMPORAL_KERNELS]
    heard = []
    for index, (source, kernel, padding, n_out) in enumerate([*timbral, *temporal]):
        convolved = layers.conv2d(
            source, name=_numbered("conv2d", index), kernel=(*kernel, 1, n_out), padding=padding
        )
        norm_name = f"batch_normalization_{index + 1}"
        normal = layers.batch_norm(convolved, name=norm_name, n_channels=n_out)
        # The maximum over all positions in frequency that are left.
        height = n_bands if padding == "SAME" else n_bands - kernel[1] + 1
        pool_name = _numbered("max_pooling2d", index)
        pooled = layers.max_pool(normal, name=pool_name, size=(1, height), strides=(1, height))
        heard.append(writer.op("Squeeze", _numbered("Squeeze", index), [pooled], squeeze_dims=[2]))
    return heard


def _mid_end(writer: GraphWriter, layers: Layers, wide: str, *, n_front: int) -> list[str]:
    """Three convolutions over time, the last two residual."""
    outputs: list[str] = []
    for index in range(3):
        source = outputs[-1] if outputs else wide
        padded = _pad_frames(writer, source, name=f"Pad_{index + 1}")
        convolved = layers.conv2d(
            padded,
            name=f"conv2d_{index + 5}",
            kernel=(7, N_MID if outputs else n_front, 1, N_MID),
            padding="VALID",
        )
        norm_name = f"batch_normalization_{index + 6}"
        normal = layers.batch_norm(convolved, name=norm_name, n_channels=N_MID)
        turn_name = _numbered("transpose", index)
        order = writer.const(f"{turn_name}/perm", [0, 1, 3, 2])
        turned = writer.op("Transpose", turn_name, [normal, order], Tperm="int32")
        if outputs:
            turned = writer.op("Add", _numbered("Add", index - 1), [turned, outputs[-1]])
        outputs.append(turned)
    return outputs


def _temporal_pooling(writer: GraphWriter, layers: Layers, tensors: list[str]) -> str:
    """Maximum and mean over time; the variance beside them is a leftover of ``tf.nn.moments``."""
    joined = layers.concat(tensors, name="concat_1", axis=2)
    loudest = _reduce(writer, "Max", "Max", joined, axes=1, keep_dims=False)
    mean = _reduce(writer, "Mean", "moments/mean", joined, axes=[1], keep_dims=True)
    centre = writer.op("StopGradient", "moments/StopGradient", [mean])
    squares = writer.op("SquaredDifference", "moments/SquaredDifference", [joined, centre])
    variance = _reduce(writer, "Mean", "moments/variance", squares, axes=[1], keep_dims=True)
    flat_mean = writer.op("Squeeze", "moments/Squeeze", [mean], squeeze_dims=[1])
    writer.op("Squeeze", "moments/Squeeze_1", [variance], squeeze_dims=[1])
    writer.op("Squeeze", "Squeeze_5", [flat_mean], squeeze_dims=[2])
    writer.op("Squeeze", "Squeeze_6", [loudest], squeeze_dims=[2])
    return layers.concat([loudest, flat_mean], name="concat_2", axis=2)


def _back_end(
    writer: GraphWriter, layers: Layers, pooled: str, *, n_in: int, spec: ModelSpec
) -> str:
    flat = layers.flatten(pooled, name="flatten")
    normal = layers.batch_norm_of_vector(flat, name="batch_normalization_9", n_channels=n_in)
    kept = writer.op("Identity", "dropout/Identity", [normal])
    penultimate = layers.dense(kept, name="dense", n_in=n_in, n_out=N_PENULTIMATE)
    active = writer.op("Relu", "dense/Relu", [penultimate])
    normal = layers.batch_norm_of_vector(
        active, name="batch_normalization_10", n_channels=N_PENULTIMATE
    )
    kept = writer.op("Identity", "dropout_1/Identity", [normal])
    return layers.dense(kept, name="dense_1", n_in=N_PENULTIMATE, n_out=spec.n_activations)


def _side_outputs(writer: GraphWriter, layers: Layers, front: list[str]) -> None:
    """Add the timbral and temporal features that the published file offers beside."""
    layers.concat(front[: len(TIMBRAL_KERNELS)], name="concat_3", axis=2)
    layers.concat(front[len(TIMBRAL_KERNELS) :], name="concat_4", axis=2)


def _pad_frames(writer: GraphWriter, image: str, *, name: str) -> str:
    """Pad 3 frames at both ends, so that a kernel of 7 keeps the length."""
    paddings = writer.const(f"{name}/paddings", [[0, 0], [3, 3], [0, 0], [0, 0]])
    return writer.op("Pad", name, [image, paddings], Tpaddings="int32")


def _reduce(
    writer: GraphWriter, op: str, name: str, tensor: str, *, axes: object, keep_dims: bool
) -> str:
    indices = writer.const(f"{name}/reduction_indices", axes)
    return writer.op(op, name, [tensor, indices], keep_dims=keep_dims, Tidx="int32")


def _numbered(name: str, index: int) -> str:
    """Name a layer as TensorFlow does: the first has no number."""
    return f"{name}_{index}" if index else name
