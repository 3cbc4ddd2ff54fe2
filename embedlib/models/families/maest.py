"""MAEST: a transformer over half a minute of music, trained on styles of Discogs."""

from __future__ import annotations

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.spec import EMBEDDINGS, ModelSpec, Output

MAEST_PAPER = (
    "P. Alonso-Jiménez, X. Serra, D. Bogdanov: Efficient supervised training of audio "
    "transformers for music representation learning. ISMIR, 2023"
)

DISCOGS_MAEST_30S = ModelSpec(
    name="discogs-maest-30s-pw-2",
    title="MAEST, 30 s, PaSST weights, styles of Discogs",
    front_end="musicnn-mel",
    # Essentia, TensorflowPredictMAEST at commit b9fa6cb: patchSize 1876, patchHopSize 1875.
    patch_frames=1876,
    hop_frames=1875,
    last_patch="pad-short",
    patch_input="maest",
    input_node="melspectrogram",
    input_shape=(1876, 96),
    # All tokens of the seventh block, as in Essentia's example; the first is the class token.
    outputs=(Output(EMBEDDINGS, ("PartitionedCall/Identity_7",), 768, readout="maest-cls"),),
    n_trainable=None,
    batch_size=1,  # Essentia's default
    weights=essentia_weights("feature-extractors/maest/discogs-maest-30s-pw-2.pb"),
    citation=MAEST_PAPER,
    notes=TRUST_FIRST_NOTES,
)

SPECS = (DISCOGS_MAEST_30S,)
