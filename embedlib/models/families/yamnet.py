"""YAMNet: sound events of AudioSet on a small network of separable convolutions."""

from __future__ import annotations

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output

YAMNET_CITATION = "M. Plakal, D. Ellis: YAMNet. tensorflow/models, research/audioset/yamnet, 2020"

AUDIOSET_YAMNET = ModelSpec(
    name="audioset-yamnet-1",
    title="YAMNet, 521 sound events of AudioSet",
    # Essentia runs it with TensorflowPredictVGGish: the same front end, patches and hop.
    front_end="vggish-mel",
    patch_frames=96,
    hop_frames=93,
    input_node="melspectrogram",
    input_shape=(96, 64),
    # Lengths are those of the authors' network; they have not been held against the file.
    outputs=(
        Output(EMBEDDINGS, ("embeddings",), 1024),
        Output(ACTIVATIONS, ("activations",), 521),
    ),
    n_trainable=None,
    batch_size=1,  # not measured
    weights=essentia_weights("audio-event-recognition/yamnet/audioset-yamnet-1.pb"),
    citation=YAMNET_CITATION,
    notes=TRUST_FIRST_NOTES,
)

SPECS = (AUDIOSET_YAMNET,)
