"""What is known of a model before its weights are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from embedlib.features.front_end import front_end
from embedlib.features.patches import LastPatch, PatchRule

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
    """

    file_name: str
    licence: str
    published: bool
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    n_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: what it takes, what it gives, who made it.

    Attributes
    ----------
    name : str
        Name in configs and of the table; ``untrained-...`` for random weights.
    title : str
        For people.
    architecture : str
        Which builder makes an untrained graph of it.
    front_end : str
        Name of the front end whose frames it takes.
    sr_hz : int
        Sampling rate of that front end.
    patch_frames, hop_frames : int
        Length of a patch, and the default distance of patches.
    input_node : str
        Placeholder that takes the patches.
    input_shape : tuple of int
        Shape of one patch, without the batch axis.
    outputs : tuple of (str, str)
        Purpose and node name; ``embeddings`` first, then ``activations``.
    n_dims, n_activations : int
        Length of the two outputs.
    n_trainable : int or None
        Trainable parameters.
    batch_size : int
        Patches per call that are fastest on a CPU core.
    weights : WeightsSource
        Where the weights come from.
    citation : str
        The paper to cite.
    last_patch : {'tile-short', 'discard', 'repeat'}
        Default rule for frames that do not fill a patch.
    notes : str
        What a user should know.
    untrained : bool
        Whether the weights are random, from a seed.
    """

    name: str
    title: str
    architecture: str
    front_end: str
    sr_hz: int
    patch_frames: int
    hop_frames: int
    input_node: str
    input_shape: tuple[int, ...]
    outputs: tuple[tuple[str, str], ...]
    n_dims: int
    n_activations: int
    n_trainable: int | None
    batch_size: int
    weights: WeightsSource
    citation: str
    last_patch: LastPatch = "tile-short"
    notes: str = ""
    untrained: bool = False

    @property
    def base_name(self) -> str:
        """Name without the prefix of untrained models."""
        return self.name.removeprefix(UNTRAINED_PREFIX)

    @property
    def embedding_node(self) -> str:
        """Node whose output is the embedding."""
        return dict(self.outputs)[EMBEDDINGS]

    @property
    def receptive_field_s(self) -> float:
        """Seconds of audio that one patch sees."""
        frames = front_end(self.front_end)
        n_samples = (self.patch_frames - 1) * frames.hop_samples + frames.frame_samples
        return n_samples / self.sr_hz

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
        last : {'tile-short', 'discard', 'repeat'} or None
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

    def as_untrained(self) -> ModelSpec:
        """Give the spec of the same model with random weights.

        Returns
        -------
        spec : ModelSpec
            With ``untrained-`` in its name, and weights that nobody has to give out.
        """
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
