"""What a simulated run is made of, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from embedlib.errors import ConfigError
from embedlib.run.slots import DECODE_CORE_S


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Machines that are alike.

    Attributes
    ----------
    n_nodes : int > 0
        How many.
    n_cores : int > 0
        Of each.
    speed : float > 0
        Of each core, against the one that costs were measured on.
    """

    n_nodes: int
    n_cores: int
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What a model costs, and what has to travel for it.

    Attributes
    ----------
    front_end : str
        Models of one front end share its chunks.
    core_s : float > 0
        Core seconds per second of audio, patch inputs included.
    frame_bytes : float > 0
        Bytes of frames per second of audio.
    """

    front_end: str
    core_s: float
    frame_bytes: float


MEL_BYTES, STEREO_BYTES = 24_000.0, 352_800.0
"""Per second: 96 bands of float32 at 62.5 frames per second; stereo samples at 44.1 kHz."""

MODELS: Mapping[str, SimulatedModel] = {
    "msd-musicnn-1": SimulatedModel("musicnn-mel", 0.0020, MEL_BYTES),
    "msd-vgg-1": SimulatedModel("musicnn-mel", 0.0076, MEL_BYTES),
    "audioset-vggish-3": SimulatedModel("vggish-mel", 0.0117, 25_600.0),
    "deepsquare-k16-3": SimulatedModel("tempocnn-mel", 0.0004, 3_445.0),
    "openl3-music-mel128-emb512-3": SimulatedModel("mono-48k", 0.0630, 192_000.0),
    "spleeter-5s-3": SimulatedModel("stereo-44k", 0.0130, STEREO_BYTES),
}
"""Milliseconds per patch over the hop, in f32 on one core with OpenVINO: 2.9 for MusiCNN without
its dead filters, then 11.2, 10.9, 1.9, 61.2 and 147; patch inputs of the last two are 2 % and 5 %
more."""


COMMIT_S, COMMIT_PART_S = 0.038, 0.0002
"""A commit of one part took 38 ms, of a hundred 57 ms (deltalake 1.6.6, local disk)."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run that could be.

    Attributes
    ----------
    n_tracks : int >= 0
        Of the catalogue.
    nodes : tuple of NodeKind
        Where.
    models : mapping of str to SimulatedModel
        One model is decoded for by its own workers, several share decode workers, as under Ray.
    preempted_per_hour : float
        Part of the nodes that is taken away in an hour.
    away_s : float
        Seconds until a node comes back.
    detection_s : float
        Seconds until the driver learns that a node is gone.
    start_s : float
        Seconds from the start of a worker until its model is loaded.
    straggler_share, straggler_factor : float
        Part of the attempts that take longer, and how many times as long.
    has_twins : bool
        Whether what takes too long is begun once more elsewhere, as in a real run.
    poison_share : float
        Part of the tracks that kill their decoder.
    budget_bytes : int
        Limit for chunks in flight.
    decode_core_s : float > 0
        Core seconds per second of audio of decoding, resampling and front ends.
    commit_s, commit_part_s : float >= 0
        Seconds of a commit, and more for each part in it.
    seed : int
        Of all chance.

    Raises
    ------
    ConfigError
        If there is no node or no model, or a share is none.
    """

    n_tracks: int
    nodes: tuple[NodeKind, ...]
    models: Mapping[str, SimulatedModel] = field(
        default_factory=lambda: {"msd-musicnn-1": MODELS["msd-musicnn-1"]}
    )
    preempted_per_hour: float = 0.0
    away_s: float = 600.0
    detection_s: float = 10.0
    start_s: float = 5.0
    straggler_share: float = 0.001
    straggler_factor: float = 5.0
    has_twins: bool = True
    poison_share: float = 0.0
    budget_bytes: int = 4 << 30
    decode_core_s: float = DECODE_CORE_S
    commit_s: float = COMMIT_S
    commit_part_s: float = COMMIT_PART_S
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.models or not self.nodes:
            raise ConfigError("a scenario without models or nodes", fix="give at least one of each")
        for name in ("straggler_share", "poison_share"):
            if not 0.0 <= (share := getattr(self, name)) <= 1.0:
                raise ConfigError(f"{name}={share} is no part", fix="give 0 to 1")
        if self.n_tracks < 0 or self.preempted_per_hour < 0.0:
            raise ConfigError("a scenario with less than nothing", fix="give numbers from 0 on")


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What came of a scenario.

    Attributes
    ----------
    n_shards : int
        Of the catalogue.
    n_committed : int
        (model, shard) pairs that were committed; more than once counts more than once.
    stop_reason : str
        Why the scheduler gave up; empty when it did not.
    makespan_s : float
        Virtual seconds until nothing was left to do.
    bound_s : float
        Virtual seconds that the same work would take if no core was ever idle or did anything
        twice, with the cores that were there.
    utilisation : dict of str to float
        Part of the cores' time, while they were there, that each stage took, and that was spent on
        attempts which were lost (``lost``).
    n_events, n_actions : dict of str to int
        By kind.
    n_nodes_lost, n_crashes : int
        Nodes that were taken away; workers that died of poison.
    peak_bytes : int
        Most bytes of chunks in flight.
    scheduler_s : float
        Real seconds spent in the scheduler.
    """

    n_shards: int
    n_committed: int
    stop_reason: str
    makespan_s: float
    bound_s: float
    utilisation: dict[str, float]
    n_events: dict[str, int]
    n_actions: dict[str, int]
    n_nodes_lost: int
    n_crashes: int
    peak_bytes: int
    scheduler_s: float

    @property
    def stretch(self) -> float:
        """Makespan over its bound: 1 is perfect."""
        return self.makespan_s / self.bound_s if self.bound_s else 1.0

    @property
    def events_per_s(self) -> float:
        """Events that the scheduler takes per real second."""
        return sum(self.n_events.values()) / self.scheduler_s if self.scheduler_s else 0.0

    @property
    def driver_load(self) -> float:
        """Real seconds in the scheduler over the seconds of the run: must stay well below 1."""
        return self.scheduler_s / self.makespan_s if self.makespan_s else 0.0
