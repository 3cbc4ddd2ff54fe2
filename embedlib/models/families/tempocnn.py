"""Tempo-CNN with square filters: 256 tempi from 30 to 285 BPM.

The graph follows the code of its authors (hendriks73/directional_cnns, network/vgg.py) with
filters of 5 x 5 and 3 x 3 and k = 16.
"""

from __future__ import annotations

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.layers import Layers
from embedlib.models.shaping import reduce
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output

TEMPO_CNN_PAPER = (
    "H. Schreiber, M. Müller: Musical tempo and key estimation using convolutional neural "
    "networks with directional filters. SMC, 2019"
)

_K = 16
_BLOCK_FILTERS = tuple(factor * _K for factor in (1, 2, 4, 4, 8, 8))
_BLOCK_KERNELS = (5, 3)


def write_deepsquare(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write DeepSquare, the Tempo-CNN with square filters.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Bands of a patch, number of tempi.
    """
    n_bands = spec.input_shape[0]
    # The length in time is left open, as in the published graphs.
    image = writer.placeholder("input", shape=(-1, n_bands, -1, 1))
    n_in = 1
    for block, n_out in enumerate(_BLOCK_FILTERS):
        for layer, size in enumerate(_BLOCK_KERNELS, start=block * len(_BLOCK_KERNELS)):
            kernel = (size, size, n_in, n_out)
            image = layers.conv2d(image, name=f"Conv{layer}", kernel=kernel)
            image = layers.batch_norm(image, name=f"BN{layer}", n_channels=n_out)
            n_in = n_out
        # Bands are halved as long as there are two.
        pool = (2 if 2 ** (block + 1) <= n_bands else 1, 2)
        image = layers.max_pool(image, name=f"MaxPool2D{block + 1}", size=pool, strides=pool)
    image = layers.conv2d(image, name="1x1", kernel=(1, 1, n_in, spec.n_dims))
    mean = reduce(writer, image, op="Mean", name="Mean", axes=[1, 2], keep_dims=True)
    target = writer.const("1x1/Relu0_reshape/shape", [-1, spec.n_dims])
    logits = writer.op("Reshape", "1x1/Relu0_reshape", [mean, target], Tshape="int32")
    writer.op("Softmax", "output", [logits])


DEEPSQUARE_K16 = ModelSpec(
    name="deepsquare-k16-3",
    title="Tempo-CNN DeepSquare k16, 256 tempi",
    front_end="tempocnn-mel",
    # Essentia, TensorflowPredictTempoCNN at commit b9fa6cb: patchSize 256, patchHopSize 128.
    patch_frames=256,
    hop_frames=128,
    patch_input="tempocnn",
    input_node="input",
    input_shape=(40, 256, 1),
    outputs=(
        # The "logits" of the paper are the global mean of a ReLU, so none is negative. Their node
        # was `1x1/Relu0_reshape` in the file of 2020; its name in the present one is not known.
        Output(EMBEDDINGS, ("input of output",), 256),
        Output(ACTIVATIONS, ("output",), 256),
    ),
    n_trainable=1_196_976,  # the same sum gives the 309,240 of the authors' k8 file
    batch_size=4,  # measured: within a tenth of the best in f32 and in bf16
    weights=essentia_weights(
        "tempo/tempocnn/deepsquare-k16-3.pb", licence="AGPL-3.0 (H. Schreiber)"
    ),
    citation=TEMPO_CNN_PAPER,
    variants=(
        # What the paper's code did: a patch every 0.74 s, short audio in the middle of 30 s.
        ("paper", (("hop_frames", 16), ("front_end", "tempocnn-mel-30s"))),
    ),
    notes=TRUST_FIRST_NOTES,
    write_graph=write_deepsquare,
)

SPECS = (DEEPSQUARE_K16,)
