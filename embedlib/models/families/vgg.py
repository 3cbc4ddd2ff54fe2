"""VGG-I, the plain convolutional sibling of MusiCNN, and its twin with 200 tags.

The graph follows the code of its authors (jordipons/musicnn-training, ``src/models.py``).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.families.musicnn import MUSICNN_PAPER, T200_NOTES, write_input
from embedlib.models.graph_writer import GraphWriter, numbered
from embedlib.models.layers import Layers
from embedlib.models.shaping import flatten
from embedlib.models.spec import ACTIVATIONS, EMBEDDINGS, ModelSpec, Output, WeightsSource

N_VGG = 128
VGG_POOLS = (((4, 1), (2, 2)), ((2, 2),) * 2, ((2, 2),) * 2, ((2, 2),) * 2, ((4, 4),) * 2)


def write_vgg(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write VGG-I.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a patch, number of outputs.
    """
    with writer.name_scope("model"):
        image = write_input(writer, layers, spec)
        image, n_flat = _convolutions(writer, layers, image, rows_columns=spec.input_shape)
        flat = flatten(writer, image, name="flatten")
        kept = writer.op("Identity", "dropout_4/Identity", [flat])
        logits = layers.dense(kept, name="dense", n_in=n_flat, n_out=spec.n_activations)
        writer.op("Sigmoid", "Sigmoid", [logits])


def _convolutions(
    writer: GraphWriter, layers: Layers, image: str, *, rows_columns: tuple[int, ...]
) -> tuple[str, int]:
    """Give the last image and how many values it holds."""
    for index, (size, strides) in enumerate(VGG_POOLS):
        if index:
            image = writer.op("Identity", f"{numbered('dropout', index - 1)}/Identity", [image])
        kernel = (3, 3, N_VGG if index else 1, N_VGG)
        convolved = layers.conv2d(image, name=f"{index + 1}CNN", kernel=kernel)
        norm_name = f"batch_normalization_{index + 1}"
        normal = layers.batch_norm(convolved, name=norm_name, n_channels=N_VGG)
        pool_name = numbered("max_pooling2d", index)
        image = layers.max_pool(normal, name=pool_name, size=size, strides=strides)
        rows_columns = tuple(
            1 + (length - window) // step
            for length, window, step in zip(rows_columns, size, strides, strict=True)
        )
    return image, N_VGG * prod(rows_columns)


MSD_VGG = ModelSpec(
    name="msd-vgg-1",
    title="VGG-I, Million Song Dataset, 50 tags",
    # Essentia runs it with TensorflowPredictMusiCNN: the same front end, patches and hop.
    front_end="musicnn-mel",
    patch_frames=187,
    hop_frames=93,
    input_node="model/Placeholder",
    input_shape=(187, 96),
    # "2 x 128 = 256", README of MTG/music-explore; the model has no dense penultimate layer.
    outputs=(
        Output(EMBEDDINGS, ("model/flatten/Reshape",), 256),
        Output(ACTIVATIONS, ("model/Sigmoid",), 50),
    ),
    n_trainable=605_748,  # index of jordipons/musicnn's checkpoint MSD_vgg
    batch_size=1,  # measured: its activations stay in a core's cache
    weights=essentia_weights(
        # The first is the link in its own metadata; where it moved in 2023 is not documented.
        "feature-extractors/musicnn/msd-vgg-1.pb",
        "autotagging/msd/msd-vgg-1.pb",
        "legacy/autotagging/msd/msd-vgg-1.pb",
    ),
    citation=MUSICNN_PAPER,
    write_graph=write_vgg,
    notes=TRUST_FIRST_NOTES,
)

MSD_VGG_T200 = replace(
    MSD_VGG,
    name="msd-vgg-t200",
    title="VGG-I, Million Song Dataset, 200 tags",
    outputs=(MSD_VGG.embedding, Output(ACTIVATIONS, ("model/Sigmoid",), 200)),
    n_trainable=644_298,  # as above, with 200 instead of 50 outputs
    weights=WeightsSource(file_name="msd-vgg-t200.pb", licence="not published", published=False),
    notes=T200_NOTES,
)

SPECS = (MSD_VGG, MSD_VGG_T200)
