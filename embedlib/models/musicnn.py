"""MusiCNN trained on the Million Song Dataset, and its twin with 200 tags.

The model file to copy when adding a model: a source for every value, specs at the end.
"""

from __future__ import annotations

from dataclasses import replace

from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, WeightsSource

# https://essentia.upf.edu/models.html
ESSENTIA_MODELS = "https://essentia.upf.edu/models"
MTG_LICENCE = "CC BY-NC-SA 4.0 (Music Technology Group, UPF)"

MUSICNN_PAPER = (
    "J. Pons, X. Serra: musicnn: Pre-trained convolutional neural networks for music audio "
    "tagging. ISMIR Late-Breaking Demo, 2019"
)
T200_NOTES = (
    "Weights were never published; bring a file of your own with "
    "`embedlib models add FILE --as NAME`."
)

MSD_MUSICNN = ModelSpec(
    name="msd-musicnn-1",
    title="MusiCNN, Million Song Dataset, 50 tags",
    architecture="musicnn",
    front_end="musicnn-mel",
    sr_hz=16000,
    # Essentia, tensorflowpredictmusicnn.h at commit b9fa6cb: patchSize 187, patchHopSize 93.
    patch_frames=187,
    hop_frames=93,
    input_node="model/Placeholder",
    input_shape=(187, 96),
    # The pre-activation of the penultimate layer, as in the paper and Essentia's metadata.
    outputs=((EMBEDDINGS, "model/dense/BiasAdd"), (ACTIVATIONS, "model/Sigmoid")),
    n_dims=200,
    n_activations=50,
    n_trainable=787_159,  # counted in the published file
    batch_size=1,  # measured: its activations stay in a core's cache
    weights=WeightsSource(
        file_name="msd-musicnn-1.pb",
        licence=MTG_LICENCE,
        published=True,
        # The second is where it lay before 2023.
        urls=(
            f"{ESSENTIA_MODELS}/feature-extractors/musicnn/msd-musicnn-1.pb",
            f"{ESSENTIA_MODELS}/autotagging/msd/msd-musicnn-1.pb",
        ),
        # Of the published file; its 64 tensors carry the checksums of the authors' checkpoint.
        sha256="cdea0722bcee7f731286843f2233e3aa69887bb5c3e2dce011eff55f38d04f3e",
        n_bytes=3_197_999,
    ),
    citation=MUSICNN_PAPER,
)

MSD_MUSICNN_T200 = replace(
    MSD_MUSICNN,
    name="msd-musicnn-t200",
    title="MusiCNN, Million Song Dataset, 200 tags",
    n_activations=200,
    n_trainable=817_309,  # as above, with 200 instead of 50 outputs
    weights=WeightsSource(
        file_name="msd-musicnn-t200.pb", licence="not published", published=False
    ),
    notes=T200_NOTES,
)

SPECS = (MSD_MUSICNN, MSD_MUSICNN_T200)
