"""FSD-SINet: sound events of FSD50K, with less regard to where in time they start."""

from __future__ import annotations

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output

FSD_SINET_PAPER = (
    "E. Fonseca, A. Ferraro, X. Serra: Improving sound event classification by increasing shift "
    "invariance in convolutional neural networks. arXiv:2107.00623, 2021"
)

FSD_SINET_VGG42 = ModelSpec(
    name="fsd-sinet-vgg42-tlpf-1",
    title="FSD-SINet, VGG42 with trainable low-pass filters, 200 sound events of FSD50K",
    front_end="sinet-mel",
    # Essentia, TensorflowPredictFSDSINet at commit b9fa6cb: patchSize 101, patchHopSize 50.
    patch_frames=101,
    hop_frames=50,
    input_node="x",
    input_shape=(101, 96, 1),
    # The length of the embeddings has not been held against the file.
    outputs=(
        Output(EMBEDDINGS, ("model/global_max_pooling1d/Max",), 512),
        Output(ACTIVATIONS, ("model/predictions/Sigmoid",), 200),
    ),
    n_trainable=None,
    batch_size=1,  # not measured
    weights=essentia_weights("audio-event-recognition/fsd-sinet/fsd-sinet-vgg42-tlpf-1.pb"),
    citation=FSD_SINET_PAPER,
    notes=TRUST_FIRST_NOTES,
)

SPECS = (FSD_SINET_VGG42,)
