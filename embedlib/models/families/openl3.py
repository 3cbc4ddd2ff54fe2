"""OpenL3 for music: 128 mel bands in, 512 dimensions out.

The graph follows the code of its authors (marl/openl3, models.py: ``_construct_mel128_audio_
network``), which ends in a pooling over the whole image.
"""

from __future__ import annotations

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.shaping import flatten
from embedlib.models.spec import EMBEDDINGS, ModelSpec, Output

OPENL3_PAPER = (
    "J. Cramer, H.-H. Wu, J. Salamon, J. P. Bello: Look, listen, and learn more: Design choices "
    "for deep audio embeddings. ICASSP, 2019"
)

# Of the convolutions with batch norm; a pooling by 2 follows every second.
_FILTERS = (64, 64, 128, 128, 256, 256, 512)
# AUDIO_POOLING_SIZES of mel128 and 512 dimensions.
_LAST_POOL = (16, 24)
# Input is in decibels below the loudest band of the window, from -80 to 0.
_INPUT_MEAN_DB, _INPUT_VARIANCE_DB2 = -40.0, 400.0


def write_openl3(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write OpenL3.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of an image, length of an embedding.
    """
    image = writer.placeholder("melspectrogram", shape=(-1, *spec.input_shape))
    image = layers.batch_norm(
        image,
        name="batch_normalization_1",
        n_channels=1,
        mean=_INPUT_MEAN_DB,
        variance=_INPUT_VARIANCE_DB2,
    )
    n_in = 1
    for number, n_out in enumerate(_FILTERS, start=1):
        image = _normalised(writer, layers, image, number=number, n_in=n_in, n_out=n_out)
        if number % 2 == 0:
            pool = f"max_pooling2d_{number // 2}"
            image = layers.max_pool(image, name=pool, size=(2, 2), strides=(2, 2))
        n_in = n_out
    kernel = (3, 3, n_in, spec.n_dims)
    image = layers.conv2d(image, name="audio_embedding_layer", kernel=kernel, activation=None)
    image = layers.max_pool(
        image, name="max_pooling2d_4", size=_LAST_POOL, strides=_LAST_POOL, padding="SAME"
    )
    writer.op("Identity", "embeddings", [flatten(writer, image, name="flatten_1")])


def _normalised(
    writer: GraphWriter, layers: Layers, image: str, *, number: int, n_in: int, n_out: int
) -> str:
    """Convolution, batch norm, ReLU."""
    convolved = layers.conv2d(
        image, name=f"conv2d_{number}", kernel=(3, 3, n_in, n_out), activation=None
    )
    normal = layers.batch_norm(
        convolved, name=f"batch_normalization_{number + 1}", n_channels=n_out
    )
    return writer.op("Relu", f"activation_{number}/Relu", [normal])


OPENL3_MUSIC = ModelSpec(
    name="openl3-music-mel128-emb512-3",
    title="OpenL3, music, 128 mel bands, 512 dimensions",
    # Windows of one second, each of which is turned into decibels by itself.
    front_end="mono-48k",
    patch_frames=48_000,
    hop_frames=48_000,
    # The first window is centred at the start of the audio; zeros fill both ends.
    last_patch="centred",
    patch_input="openl3-gist",
    input_node="melspectrogram",
    input_shape=(128, 199, 1),
    outputs=(Output(EMBEDDINGS, ("embeddings",), 512),),
    n_trainable=4_687_042,  # sum over the layers; with the moving statistics the size of the file
    batch_size=1,  # measured: best in bf16, and within 3 % in f32
    weights=essentia_weights(
        "feature-extractors/openl3/openl3-music-mel128-emb512-3.pb",
        licence="CC BY 4.0 (authors of OpenL3)",
        n_bytes=18_754_559,  # listing of the folder
        onnx_sha256="81c24c8a723054717fdea5c7448acb6023baaf70a0fc526deb030c2032db0ed3",
    ),
    citation=OPENL3_PAPER,
    variants=(
        # What Essentia tells its users to do; the published heads expect it.
        ("gist", ()),
        # What the paper's code did: another mel scale, and a window every 0.25 s.
        ("paper", (("patch_input", "openl3-paper"), ("hop_frames", 12_000))),
    ),
    notes=TRUST_FIRST_NOTES,
    write_graph=write_openl3,
)

SPECS = (OPENL3_MUSIC,)
