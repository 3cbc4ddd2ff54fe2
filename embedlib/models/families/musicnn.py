"""MusiCNN trained on the Million Song Dataset, and its twin with 200 tags.

The model file to copy when adding a model: how its graph is built, and specs with a source for
every value at the end.

The graph follows the code of its authors (jordipons/musicnn-training, ``src/models.py``) as
Essentia's ``msd-musicnn-1.pb`` froze it. Nodes that inference does not need are there too.
"""

from __future__ import annotations

from dataclasses import replace

from embedlib.models.essentia import essentia_weights
from embedlib.models.graph_writer import GraphWriter, numbered
from embedlib.models.layers import Layers
from embedlib.models.shaping import concat, expand_dims, flatten, reduce, transpose
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output, WeightsSource

MUSICNN_PAPER = (
    "J. Pons, X. Serra: musicnn: Pre-trained convolutional neural networks for music audio "
    "tagging. ISMIR Late-Breaking Demo, 2019"
)
T200_NOTES = (
    "Weights were never published; bring a file of your own with "
    "`embedlib models add FILE --as NAME`."
)

# The timbral filters see 0.4 and 0.7 of the bands, the temporal ones 128, 64 and 32 frames.
TIMBRAL_KERNELS = ((7, 38), (7, 67))
TEMPORAL_KERNELS = ((128, 1), (64, 1), (32, 1))
N_TIMBRAL, N_TEMPORAL, N_MID, N_PENULTIMATE = 204, 51, 64, 200


def write_musicnn(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write MusiCNN.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a patch, number of outputs.
    """
    n_front = 2 * N_TIMBRAL + 3 * N_TEMPORAL
    with writer.name_scope("model"):
        image = write_input(writer, layers, spec)
        front = _front_end(writer, layers, image, n_bands=spec.input_shape[1])
        joined = concat(writer, front, name="concat", axis=2)
        wide = expand_dims(writer, joined, name="ExpandDims_1", axis=3)
        middle = _mid_end(writer, layers, wide, n_front=n_front)
        pooled = _temporal_pooling(writer, [wide, *middle])
        logits = _back_end(writer, layers, pooled, n_in=2 * (n_front + 3 * N_MID), spec=spec)
        _side_outputs(writer, front)
        writer.op("Sigmoid", "Sigmoid", [logits])


def write_input(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> str:
    """Write what MusiCNN and VGG-I begin with: patches, a flag, and the first batch norm.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a patch.

    Returns
    -------
    image : str
        Full name of the normalised patches, with one channel.
    """
    patches = writer.placeholder("Placeholder", shape=(-1, *spec.input_shape))
    writer.flag_placeholder("Placeholder_1")
    image = expand_dims(writer, patches, name="ExpandDims", axis=3)
    return layers.batch_norm(image, name="batch_normalization", n_channels=1)


def _front_end(writer: GraphWriter, layers: Layers, image: str, *, n_bands: int) -> list[str]:
    padded = _pad_frames(writer, image, name="Pad")
    timbral = [(padded, kernel, "VALID", N_TIMBRAL) for kernel in TIMBRAL_KERNELS]
    temporal = [(image, kernel, "SAME", N_TEMPORAL) for kernel in TEMPORAL_KERNELS]
    heard = []
    for index, (source, kernel, padding, n_out) in enumerate([*timbral, *temporal]):
        convolved = layers.conv2d(
            source, name=numbered("conv2d", index), kernel=(*kernel, 1, n_out), padding=padding
        )
        norm_name = f"batch_normalization_{index + 1}"
        normal = layers.batch_norm(convolved, name=norm_name, n_channels=n_out)
        # The maximum over all positions in frequency that are left.
        height = n_bands if padding == "SAME" else n_bands - kernel[1] + 1
        pool_name = numbered("max_pooling2d", index)
        pooled = layers.max_pool(normal, name=pool_name, size=(1, height), strides=(1, height))
        heard.append(writer.op("Squeeze", numbered("Squeeze", index), [pooled], squeeze_dims=[2]))
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
        turn_name = numbered("transpose", index)
        turned = transpose(writer, normal, name=turn_name, order=(0, 1, 3, 2))
        if outputs:
            turned = writer.op("Add", numbered("Add", index - 1), [turned, outputs[-1]])
        outputs.append(turned)
    return outputs


def _temporal_pooling(writer: GraphWriter, tensors: list[str]) -> str:
    """Maximum and mean over time; the variance beside them is a leftover of ``tf.nn.moments``."""
    joined = concat(writer, tensors, name="concat_1", axis=2)
    loudest = reduce(writer, joined, op="Max", name="Max", axes=1, keep_dims=False)
    mean = reduce(writer, joined, op="Mean", name="moments/mean", axes=[1], keep_dims=True)
    centre = writer.op("StopGradient", "moments/StopGradient", [mean])
    squares = writer.op("SquaredDifference", "moments/SquaredDifference", [joined, centre])
    variance = reduce(writer, squares, op="Mean", name="moments/variance", axes=[1], keep_dims=True)
    flat_mean = writer.op("Squeeze", "moments/Squeeze", [mean], squeeze_dims=[1])
    writer.op("Squeeze", "moments/Squeeze_1", [variance], squeeze_dims=[1])
    writer.op("Squeeze", "Squeeze_5", [flat_mean], squeeze_dims=[2])
    writer.op("Squeeze", "Squeeze_6", [loudest], squeeze_dims=[2])
    return concat(writer, [loudest, flat_mean], name="concat_2", axis=2)


def _back_end(
    writer: GraphWriter, layers: Layers, pooled: str, *, n_in: int, spec: ModelSpec
) -> str:
    flat = flatten(writer, pooled, name="flatten")
    normal = layers.batch_norm_of_vector(flat, name="batch_normalization_9", n_channels=n_in)
    kept = writer.op("Identity", "dropout/Identity", [normal])
    penultimate = layers.dense(kept, name="dense", n_in=n_in, n_out=N_PENULTIMATE)
    active = writer.op("Relu", "dense/Relu", [penultimate])
    normal = layers.batch_norm_of_vector(
        active, name="batch_normalization_10", n_channels=N_PENULTIMATE
    )
    kept = writer.op("Identity", "dropout_1/Identity", [normal])
    return layers.dense(kept, name="dense_1", n_in=N_PENULTIMATE, n_out=spec.n_activations)


def _side_outputs(writer: GraphWriter, front: list[str]) -> None:
    """Add the timbral and temporal features that the published file offers beside."""
    concat(writer, front[: len(TIMBRAL_KERNELS)], name="concat_3", axis=2)
    concat(writer, front[len(TIMBRAL_KERNELS) :], name="concat_4", axis=2)


def _pad_frames(writer: GraphWriter, image: str, *, name: str) -> str:
    """Pad 3 frames at both ends, so that a kernel of 7 keeps the length."""
    paddings = writer.const(f"{name}/paddings", [[0, 0], [3, 3], [0, 0], [0, 0]])
    return writer.op("Pad", name, [image, paddings], Tpaddings="int32")


MSD_MUSICNN = ModelSpec(
    name="msd-musicnn-1",
    title="MusiCNN, Million Song Dataset, 50 tags",
    front_end="musicnn-mel",
    # Essentia, tensorflowpredictmusicnn.h at commit b9fa6cb: patchSize 187, patchHopSize 93.
    patch_frames=187,
    hop_frames=93,
    input_node="model/Placeholder",
    input_shape=(187, 96),
    # The pre-activation of the penultimate layer, as in the paper and Essentia's metadata.
    outputs=(
        Output(EMBEDDINGS, ("model/dense/BiasAdd",), 200),
        Output(ACTIVATIONS, ("model/Sigmoid",), 50),
    ),
    n_trainable=787_159,  # counted in the published file
    batch_size=1,  # measured: its activations stay in a core's cache
    weights=essentia_weights(
        "feature-extractors/musicnn/msd-musicnn-1.pb",
        "autotagging/msd/msd-musicnn-1.pb",  # where it lay before 2023
        # Of the published file; its 64 tensors carry the checksums of the authors' checkpoint.
        sha256="cdea0722bcee7f731286843f2233e3aa69887bb5c3e2dce011eff55f38d04f3e",
        n_bytes=3_197_999,
        # Pinned by a public project that uses the file.
        onnx_sha256="49668ffec47e52e94b96f45930bb46a28a1368d4bdfb5c05378fa834aca616e1",
    ),
    citation=MUSICNN_PAPER,
    write_graph=write_musicnn,
)

MSD_MUSICNN_T200 = replace(
    MSD_MUSICNN,
    name="msd-musicnn-t200",
    title="MusiCNN, Million Song Dataset, 200 tags",
    outputs=(MSD_MUSICNN.embedding, Output(ACTIVATIONS, ("model/Sigmoid",), 200)),
    n_trainable=817_309,  # as above, with 200 instead of 50 outputs
    weights=WeightsSource(
        file_name="msd-musicnn-t200.pb", licence="not published", published=False
    ),
    notes=T200_NOTES,
)

SPECS = (MSD_MUSICNN, MSD_MUSICNN_T200)
