"""VGG-I, the plain convolutional sibling of MusiCNN, and its twin with 200 tags."""

from __future__ import annotations

from dataclasses import replace

from embedlib.models.musicnn import ESSENTIA_MODELS, MTG_LICENCE, MUSICNN_PAPER, T200_NOTES
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, WeightsSource

MSD_VGG = ModelSpec(
    name="msd-vgg-1",
    title="VGG-I, Million Song Dataset, 50 tags",
    architecture="vgg",
    # Essentia runs it with TensorflowPredictMusiCNN: the same front end, patches and hop.
    front_end="musicnn-mel",
    sr_hz=16000,
    patch_frames=187,
    hop_frames=93,
    input_node="model/Placeholder",
    input_shape=(187, 96),
    # "2 x 128 = 256", README of MTG/music-explore; the model has no dense penultimate layer.
    outputs=((EMBEDDINGS, "model/flatten/Reshape"), (ACTIVATIONS, "model/Sigmoid")),
    n_dims=256,
    n_activations=50,
    n_trainable=605_748,  # index of jordipons/musicnn's checkpoint MSD_vgg
    batch_size=1,  # measured: its activations stay in a core's cache
    weights=WeightsSource(
        file_name="msd-vgg-1.pb",
        licence=MTG_LICENCE,
        published=True,
        # The first is the link in its own metadata; where it moved in 2023 is not documented.
        urls=(
            f"{ESSENTIA_MODELS}/feature-extractors/musicnn/msd-vgg-1.pb",
            f"{ESSENTIA_MODELS}/autotagging/msd/msd-vgg-1.pb",
            f"{ESSENTIA_MODELS}/legacy/autotagging/msd/msd-vgg-1.pb",
        ),
    ),
    citation=MUSICNN_PAPER,
    notes="No checksum is known: the first download is locked with --trust-first.",
)

MSD_VGG_T200 = replace(
    MSD_VGG,
    name="msd-vgg-t200",
    title="VGG-I, Million Song Dataset, 200 tags",
    n_activations=200,
    n_trainable=644_298,  # as above, with 200 instead of 50 outputs
    weights=WeightsSource(file_name="msd-vgg-t200.pb", licence="not published", published=False),
    notes=T200_NOTES,
)

SPECS = (MSD_VGG, MSD_VGG_T200)
