"""What a run is to its workers: frozen records that travel to them once.

Nothing in here is decided by a worker: the driver resolves names, files and parameters, so that
all workers of a run do the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from embedlib.audio.decode import AudioLimits
from embedlib.features.patches import PatchRule
from embedlib.tables.manifest import ModelManifest


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """How audio becomes frames, for all models of a run.

    Attributes
    ----------
    front_ends : tuple of str
        Names of the distinct front ends; each runs once per track.
    decoder, resampler : str
        Names that `audio.waveform.MonoStream` understands.
    limits : AudioLimits
        What one track may cost.
    chunk_bytes : int
        Bound on the frames of one chunk.
    """

    front_ends: tuple[str, ...]
    decoder: str
    resampler: str
    limits: AudioLimits
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class ModelJob:
    """How frames become rows, for one model of a run.

    Attributes
    ----------
    name : str
        Name of the model table.
    front_end : str
        Front end whose chunks it wants.
    input_node, output_node : str
        Where patches go in and embeddings come out.
    patch_shape : tuple of int
        As the input wants it, without the batch axis.
    rule : PatchRule
        How frames are cut into patches.
    n_dims : int
        Length of one embedding.
    engine, precision : str
        What runs the graph.
    batch_size : int
        Patches per call.
    manifest : ModelManifest
        What the table says of itself.
    folder : str
        Where parts are written.
    provenance : tuple of (str, str)
        What goes into the footer of each part.
    """

    name: str
    front_end: str
    input_node: str
    output_node: str
    patch_shape: tuple[int, ...]
    rule: PatchRule
    n_dims: int
    engine: str
    precision: str
    batch_size: int
    manifest: ModelManifest
    folder: str
    provenance: tuple[tuple[str, str], ...]
