"""What is known of a model before its weights are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from embedlib.errors import ConfigError
from embedlib.features.front_end import front_end
from embedlib.features.patches import LastPatch, PatchRule

if TYPE_CHECKING:
    from embedlib.models.graph_writer import GraphWriter
    from embedlib.models.layers import Layers

UNTRAINED_PREFIX = "untrained-"

EMBEDDINGS = "embeddings"
ACTIVATIONS = "activations"


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Where the weights of a model come from and what they must be.

    Attributes
    ----------
    file_name : str
        Name of the file, in every folder that is searched.
    licence : str
        Of the weights.
    published : bool
        Whether the authors ever gave them out.
    urls : tuple of str
        In the order to try.
    sha256 : str or None
        Hex digest of the file, where it is known.
    n_bytes : int or None
        Size of the file, where it is known.
    onnx_sha256 : str or None
        Hex digest of the ``.onnx`` file that the authors give beside it, where it is known.
    """

    file_name: str
    licence: str
    published: bool
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    n_bytes: int | None = None
    onnx_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a model gives.

    Attributes
    ----------
    purpose : str
        ``embeddings``, ``activations``, or a name of its own.
    nodes : tuple of str
        What is read of the graph: the name of a node, with its port where it has several
        (``PartitionedCall:1``), or ``input of NAME`` for the tensor that node takes, where its
        own name differs from file to file.
    n_values : int
        Length of one vector.
    readout : str
        How vectors are made of what the nodes give, see `embedlib.features.readout`.
    n_vectors : int
        Vectors per patch; more than one where the model hears bands apart.
    """

    purpose: str
    nodes: tuple[str, ...]
    n_values: int
    readout: str = "vector"
    n_vectors: int = 1


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: what it takes, what it gives, who made it.

    Attributes
    ----------
    name : str
        Name in configs and of the table; ``untrained-...`` for random weights.
    title : str
        For people.
    front_end : str
        Name of the front end whose frames it takes.
    patch_frames, hop_frames : int
        Length of a patch and default distance of patches, in frames of the front end; these are
        samples where it passes the waveform on.
    input_node : str
        Tensor that takes the patches: a placeholder, or ``input of NAME``.
    input_shape : tuple of int
        Shape of one model input, without the batch axis.
    outputs : tuple of Output
        The embeddings first.
    n_trainable : int or None
        Trainable parameters, where they are known.
    batch_size : int
        Patches per call that are fastest on a CPU core, or the only ones that the graph takes.
    weights : WeightsSource
        Where the weights come from.
    citation : str
        The paper to cite.
    patch_input : str
        How a patch of frames becomes a model input, see `embedlib.features.patch_input`.
    last_patch : str
        Default rule for frames that do not fill a patch, see `embedlib.features.patches`.
    variants : tuple of (str, tuple of (str, object))
        Other ways to feed or read it, by name: fields of this record and their values.
    notes : str
        What a user should know.
    takes_bf16 : bool
        Whether its embeddings keep their meaning in bf16: relative l2 to f32 of at most 3e-2.
    write_graph : callable or None
        Writes the graph with random weights; None where only published files can be run.
    untrained : bool
        Whether the weights are random, from a seed.
    """

    name: str
    title: str
    front_end: str
    patch_frames: int
    hop_frames: int
    input_node: str
    input_shape: tuple[int, ...]
    outputs: tuple[Output, ...]
    n_trainable: int | None
    batch_size: int
    weights: WeightsSource
    citation: str
    patch_input: str = "frames"
    last_patch: LastPatch = "tile-short"
    variants: tuple[tuple[str, tuple[tuple[str, object], ...]], ...] = ()
    notes: str = ""
    takes_bf16: bool = True
    write_graph: Callable[[GraphWriter, Layers, ModelSpec], None] | None = None
    untrained: bool = False

    @property
    def base_name(self) -> str:
        """Name without the prefix of untrained models."""
        return self.name.removeprefix(UNTRAINED_PREFIX)

    @property
    def embedding(self) -> Output:
        """The output that is the embedding."""
        return self.outputs[0]

    @property
    def n_dims(self) -> int:
        """Length of one embedding."""
        return self.embedding.n_values

    @property
    def n_activations(self) -> int:
        """Length of the activations; zero for a model without."""
        return next((out.n_values for out in self.outputs if out.purpose == ACTIVATIONS), 0)

    @property
    def sr_hz(self) -> int:
        """Sampling rate at which the model listens."""
        return front_end(self.front_end).sr_hz

    @property
    def receptive_field_s(self) -> float:
        """Seconds of audio that one patch sees."""
        frames = front_end(self.front_end)
        n_samples = (self.patch_frames - 1) * frames.hop_samples + frames.frame_samples
        return n_samples / frames.sr_hz

    @property
    def hop_s(self) -> float:
        """Seconds between the starts of neighbouring patches, by default."""
        return self.hop_frames * front_end(self.front_end).hop_samples / self.sr_hz

    def patch_rule(
        self, *, hop_frames: int | None = None, last: LastPatch | None = None
    ) -> PatchRule:
        """Give the patch rule of the model, with what the caller wants otherwise.

        Parameters
        ----------
        hop_frames : int > 0 or None
            Distance of patches; None for the model's own.
        last : str or None
            What becomes of frames that do not fill a patch; None for the model's own.

        Returns
        -------
        rule : PatchRule
            Checked.

        Raises
        ------
        ConfigError
            If the hop is impossible or the rule unknown.
        """
        return PatchRule(
            patch_frames=self.patch_frames,
            hop_frames=self.hop_frames if hop_frames is None else hop_frames,
            last=self.last_patch if last is None else last,
        )

    def as_variant(self, name: str) -> ModelSpec:
        """Give the spec of a variant.

        Parameters
        ----------
        name : str
            Of the variant.

        Returns
        -------
        spec : ModelSpec
            With the fields that the variant replaces.

        Raises
        ------
        ConfigError
            If the model has no such variant.
        """
        variants = dict(self.variants)
        if name not in variants:
            known = f"choose one of {', '.join(variants)}" if variants else "leave it out"
            raise ConfigError(f"{self.name} has no variant {name!r}", fix=known)
        changes = dict(variants[name])
        known_fields = {field.name for field in fields(self)}
        if strange := changes.keys() - known_fields:
            raise ConfigError(
                f"variant {name!r} of {self.name} changes {min(strange)!r}, which a spec has not",
                fix="name a field of ModelSpec",
            )
        return replace(self, **changes)  # type: ignore[arg-type]

    def as_untrained(self) -> ModelSpec:
        """Give the spec of the same model with random weights.

        Returns
        -------
        spec : ModelSpec
            With ``untrained-`` in its name, and weights that nobody has to give out.

        Raises
        ------
        ConfigError
            If nothing here can write the graph of the model.
        """
        if self.write_graph is None:
            raise ConfigError(
                f"there is no untrained stand-in for {self.base_name}",
                fix=f"fetch its weights with `embedlib models pull {self.base_name}`",
            )
        name = f"{UNTRAINED_PREFIX}{self.base_name}"
        weights = WeightsSource(
            file_name=f"{name}.pb", licence="none: random weights from a seed", published=False
        )
        return replace(
            self,
            name=name,
            title=f"{self.title}, untrained",
            weights=weights,
            notes="Random weights for tests and timing; its embeddings mean nothing.",
            untrained=True,
        )
