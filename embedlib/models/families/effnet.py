"""EffNet-Discogs: music styles of Discogs, with an embedding of 1280 dimensions."""

from __future__ import annotations

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output

EFFNET_DISCOGS_PAPER = (
    "P. Alonso-Jiménez, X. Serra, D. Bogdanov: Music representation learning based on editorial "
    "metadata from Discogs. ISMIR, 2022"
)

DISCOGS_EFFNET = ModelSpec(
    name="discogs-effnet-bs64-1",
    title="EffNet-Discogs, 400 styles",
    front_end="musicnn-mel",
    # Essentia, TensorflowPredictEffnetDiscogs at commit b9fa6cb: patchSize 128, patchHopSize 62.
    patch_frames=128,
    hop_frames=62,
    last_patch="pad-short",
    input_node="serving_default_melspectrogram",
    input_shape=(128, 96),
    outputs=(
        Output(EMBEDDINGS, ("PartitionedCall:1",), 1280),
        Output(ACTIVATIONS, ("PartitionedCall:0",), 400),
    ),
    n_trainable=None,
    batch_size=64,  # fixed in the graph
    weights=essentia_weights(
        "feature-extractors/discogs-effnet/discogs-effnet-bs64-1.pb",
        n_bytes=18_366_619,  # listing of the folder
    ),
    citation=EFFNET_DISCOGS_PAPER,
    notes=TRUST_FIRST_NOTES,
)

SPECS = (DISCOGS_EFFNET,)
