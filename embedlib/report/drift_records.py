"""The frozen records of a drift report: what differs between two states, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether embeddings have moved."""

    SAME = "same"
    CHANCE = "chance"
    SLIGHT = "slight"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two states.

    Attributes
    ----------
    name : str
        Folder, with ``@`` and the number where it is a recorded state.
    ended_at : str
        When the run of the state ended, UTC; empty for the tables as they are.
    """

    name: str
    ended_at: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Tracks of a table.

    Attributes
    ----------
    n_first, n_second : int
        In each state.
    n_new, n_gone : int
        Ids that only the second, or only the first has.
    n_changed : int
        Ids that both have, with another version of the file.
    """

    n_first: int
    n_second: int
    n_new: int
    n_gone: int
    n_changed: int


@dataclass(frozen=True, slots=True)
class StatusCount:
    """Tracks that have no embedding, for one reason.

    Attributes
    ----------
    status : str
        Why.
    n_first, n_second : int
        In each state.
    """

    status: str
    n_first: int
    n_second: int


@dataclass(frozen=True, slots=True)
class Durations:
    """Decoded durations of tracks with an embedding.

    Attributes
    ----------
    hours_first, hours_second : float
        Of all tracks.
    quantiles_first, quantiles_second : tuple of float
        Seconds at `drift_durations.QUANTILES`; empty where a state has no track.
    edges_s : tuple of float
        Between the classes of the histogram, in seconds, evenly spaced in their logarithm; empty
        where neither state has a track.
    shares_first, shares_second : tuple of float
        Of the tracks of a state in each class.
    """

    hours_first: float
    hours_second: float
    quantiles_first: tuple[float, ...]
    quantiles_second: tuple[float, ...]
    edges_s: tuple[float, ...]
    shares_first: tuple[float, ...]
    shares_second: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the mean of the embeddings has moved.

    Attributes
    ----------
    n_first, n_second : int
        Embeddings in each state.
    n_gone, n_new : int
        Embeddings that only the first, or only the second has; those of a changed track are both.
    cosine : float or None
        Between the two means; None where one is zero or a state has none.
    shift_sd : float or None
        Distance of the two means, in standard deviations over the tracks of both states: the root
        mean square over the dimensions. None where a state has no embedding.
    chance_sd : float or None
        What 99 of 100 random choices of the tracks that came and went stay below.
    p : float or None
        Share of random choices that move the mean at least as far.
    verdict : Verdict or None
        None where a state has no embedding. ``same``: no embedding differs. ``chance``: as far as
        a random choice of tracks would. ``slight``: farther, but by less than a tenth of a standard
        deviation. ``drift``: farther.
    """

    n_first: int
    n_second: int
    n_gone: int
    n_new: int
    cosine: float | None
    shift_sd: float | None
    chance_sd: float | None
    p: float | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Groups:
    """Tracks whose embeddings are nearly the same.

    Attributes
    ----------
    n_groups_first, n_groups_second : int
        Groups of at least two tracks.
    n_tracks_first, n_tracks_second : int
        Tracks in them.
    n_new : int
        Groups of the second state that the first has not.
    new : tuple of tuple of str
        Ids of the largest of these, some of each.
    new_sizes : tuple of int
        Tracks in each of them.
    n_compared, n_tracks : int
        Embeddings that were looked at, and all of both states.
    """

    n_groups_first: int
    n_groups_second: int
    n_tracks_first: int
    n_tracks_second: int
    n_new: int
    new: tuple[tuple[str, ...], ...]
    new_sizes: tuple[int, ...]
    n_compared: int
    n_tracks: int


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """What differs in the table of one model.

    Attributes
    ----------
    model : str
        Name of the table.
    counts : Counts
        Rows.
    failures : tuple of StatusCount
        By reason, sorted by name.
    durations : Durations
        Of its tracks.
    shift : Shift
        Of its embeddings.
    groups : Groups
        Near duplicates.
    """

    model: str
    counts: Counts
    failures: tuple[StatusCount, ...]
    durations: Durations
    shift: Shift
    groups: Groups


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs between two states of an output, or between two outputs.

    Attributes
    ----------
    first, second : Side
        What is compared.
    catalogue : Counts
        Tracks that are listed.
    models : tuple of ModelDrift
        Those that both states have, sorted by name.
    notes : tuple of str
        What could not be compared, and why.
    """

    first: Side
    second: Side
    catalogue: Counts
    models: tuple[ModelDrift, ...]
    notes: tuple[str, ...]
