"""What a run is to its workers: frozen records that travel to them once.

Nothing in here is decided by a worker: the driver resolves names, files and parameters, so that
all workers of a run do the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedlib.catalog.allowed import ANYWHERE, Allowed
from embedlib.features.patches import PatchRule
from embedlib.models.spec import Output
from embedlib.records import Crash
from embedlib.tables.manifest import ModelManifest

if TYPE_CHECKING:  # a model worker that does not decode spares the libraries of those who do
    from embedlib.audio.decode import AudioLimits


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """How audio becomes frames, for all models of a run.

    Attributes
    ----------
    front_ends : tuple of str
        Names of the distinct front ends; each runs once per track.
    decoder, resampler : str
        Names that `audio.waveform.AudioStream` understands.
    limits : AudioLimits
        What one track may cost.
    chunk_bytes : int
        Bound on the frames of one chunk.
    skip : tuple of Crash
        Tracks of the shard at hand that are known to kill their decoder.
    is_expendable : bool
        Whether the process that decodes may be ended when it gets stuck.
    step_memory_bytes : int
        What one step of decoding may ask for; 0 sets no limit on the process.
    allowed : Allowed
        Where tracks may lie.
    """

    front_ends: tuple[str, ...]
    decoder: str
    resampler: str
    limits: AudioLimits
    chunk_bytes: int
    skip: tuple[Crash, ...] = ()
    is_expendable: bool = False
    step_memory_bytes: int = 0
    allowed: Allowed = ANYWHERE


@dataclass(frozen=True, slots=True)
class HeadJob:
    """A small graph that turns embeddings into predictions, run beside its model.

    Attributes
    ----------
    name : str
        Of the head, and of its column.
    graph : bytes
        The verified graph: small enough to travel with the job.
    input_node, output_node : str
        Where embeddings go in and predictions come out.
    input_shape : tuple of int
        Shape of one embedding as the head takes it.
    n_values : int
        Number of classes.
    """

    name: str
    graph: bytes
    input_node: str
    output_node: str
    input_shape: tuple[int, ...]
    n_values: int


@dataclass(frozen=True, slots=True)
class ModelJob:
    """How frames become rows, for one model of a run.

    Attributes
    ----------
    name : str
        Name of the model table.
    front_end, patch_input : str
        Front end whose chunks it wants, and how a patch becomes a model input.
    input_node : str
        Where model inputs go in.
    input_shape : tuple of int
        Of one model input, without the batch axis.
    rule : PatchRule
        How frames are cut into patches.
    outputs : tuple of Output
        What is read, with real node names: the embeddings first.
    heads : tuple of HeadJob
        What is made of the embeddings.
    graph_sha256, graph_suffix : str
        Of the graph file that the driver verified: ``.pb`` or ``.onnx``.
    engine, precision, device : str
        What runs the graph, and where.
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
    patch_input: str
    input_node: str
    input_shape: tuple[int, ...]
    rule: PatchRule
    outputs: tuple[Output, ...]
    heads: tuple[HeadJob, ...]
    graph_sha256: str
    graph_suffix: str
    engine: str
    precision: str
    device: str
    batch_size: int
    manifest: ModelManifest
    folder: str
    provenance: tuple[tuple[str, str], ...]
