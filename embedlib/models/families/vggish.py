"""VGGish, trained on the audio of eight million videos.

The graph follows the TF-Slim definition of its authors (tensorflow/models, research/audioset/
vggish/vggish_slim.py): the second dense layer of 128 is linear, and no PCA, whitening or 8-bit
quantisation follows. Its parameters are 72,141,184, not the 62 million of many tables.
"""

from __future__ import annotations

from embedlib.models.essentia import essentia_weights
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import WEIGHTS_AND_BIASES, Layers
from embedlib.models.shaping import flatten
from embedlib.models.spec import EMBEDDINGS, ModelSpec, Output

VGGISH_PAPER = (
    "S. Hershey et al.: CNN architectures for large-scale audio classification. ICASSP, 2017"
)

# Convolutions of 3 x 3 between poolings by 2: scope and channels.
_BLOCKS = (
    (("conv1", 64),),
    (("conv2", 128),),
    (("conv3/conv3_1", 256), ("conv3/conv3_2", 256)),
    (("conv4/conv4_1", 512), ("conv4/conv4_2", 512)),
)
_DENSE = (("fc1/fc1_1", 4096), ("fc1/fc1_2", 4096))


def write_vggish(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write VGGish.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a patch, length of an embedding.
    """
    n_frames, n_bands = spec.input_shape
    with writer.name_scope("model"):
        patches = writer.placeholder("Placeholder", shape=(-1, n_frames, n_bands))
        target = writer.const("vggish/Reshape/shape", [-1, n_frames, n_bands, 1])
        image = writer.op("Reshape", "vggish/Reshape", [patches, target], Tshape="int32")
        image, n_channels = _convolutions(layers, image)
        flat = flatten(writer, image, name="vggish/Flatten/flatten")
        shrink = 2 ** len(_BLOCKS)
        n_flat = (n_frames // shrink) * (n_bands // shrink) * n_channels
        embedding = _dense(writer, layers, flat, n_in=n_flat, n_out=spec.n_dims)
        writer.op("Identity", "vggish/embeddings", [embedding])


def _convolutions(layers: Layers, image: str) -> tuple[str, int]:
    n_in = 1
    for number, block in enumerate(_BLOCKS, start=1):
        for name, n_out in block:
            kernel = (3, 3, n_in, n_out)
            image = layers.conv2d(
                image, name=f"vggish/{name}", kernel=kernel, weight_names=WEIGHTS_AND_BIASES
            )
            n_in = n_out
        pool = f"vggish/pool{number}"
        image = layers.max_pool(image, name=pool, size=(2, 2), strides=(2, 2), padding="SAME")
    return image, n_in


def _dense(writer: GraphWriter, layers: Layers, flat: str, *, n_in: int, n_out: int) -> str:
    tensor = flat
    for name, n_hidden in _DENSE:
        full = f"vggish/{name}"
        hidden = layers.dense(
            tensor, name=full, n_in=n_in, n_out=n_hidden, weight_names=WEIGHTS_AND_BIASES
        )
        tensor, n_in = writer.op("Relu", f"{full}/Relu", [hidden]), n_hidden
    return layers.dense(
        tensor, name="vggish/fc2", n_in=n_in, n_out=n_out, weight_names=WEIGHTS_AND_BIASES
    )


AUDIOSET_VGGISH = ModelSpec(
    name="audioset-vggish-3",
    title="VGGish, AudioSet's videos",
    front_end="vggish-mel",
    # Essentia, TensorflowPredictVGGish at commit b9fa6cb: a patch of 96 frames, and a hop of 93
    # that it inherits from MusiCNN's.
    patch_frames=96,
    hop_frames=93,
    input_node="model/Placeholder",
    input_shape=(96, 64),
    # The metadata beside the file names it; it is fc2 before any activation.
    outputs=(Output(EMBEDDINGS, ("model/vggish/embeddings",), 128),),
    n_trainable=72_141_184,  # sum over the layers; as float32 they are the size of the file
    # Measured: 288 MB of dense weights are read per call, so 1 is three times slower; 64 is some
    # percent faster still, but leaves twice as many empty places in the last batch of a shard.
    batch_size=32,
    weights=essentia_weights(
        "feature-extractors/vggish/audioset-vggish-3.pb",
        # Both are pinned by public projects that use the files.
        sha256="609458111eae0f1f608627be21b041d4bcf8eff98dcaaa4e55380b6e0ea5e2d0",
        onnx_sha256="b0b7db5247b20b8db66aae82bdfb4a298d38a34df200dd19b2de355227c8dd49",
    ),
    citation=VGGISH_PAPER,
    write_graph=write_vggish,
)

SPECS = (AUDIOSET_VGGISH,)
