"""The tables of the page of a drift report."""

from __future__ import annotations

from typing import Final

from embedlib.report.drift_durations import QUANTILES
from embedlib.report.drift_groups import MAX_IDS
from embedlib.report.drift_records import Drift, Durations, ModelDrift
from embedlib.report.drift_shift import NOTICEABLE_SD
from embedlib.report.drift_text import VERDICTS, cosine_text
from embedlib.report.numbers import NOTHING, probability
from embedlib.tasks.duplicates import NEAR

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Titles of columns, and rows of as many cells."""

TEXT_COLUMNS: Final = frozenset(
    ("Table", "Model", "Reason", "Models", "State", "Verdict", "Tracks")
)
"""Columns that hold words; all others hold numbers."""

_QUANTILE_NAMES: Final = ("Shortest", *(f"{100 * q:g} %" for q in QUANTILES[1:-1]), "Longest")

SHIFT_SENTENCE: Final = (
    "The shift is the distance between the means of the embeddings before and after, in standard "
    "deviations over the tracks, as root mean square over the dimensions. If the tracks that came "
    "and went were drawn at random from all, the mean would move too: of 100 such draws, 99 stay "
    "below the number under Chance, and p is the share of draws that go at least as far. A shift "
    f"beyond chance of at least {NOTICEABLE_SD} is called a drift."
)

GROUPS_SENTENCE: Final = (
    f"Tracks of a group are joined by pairs whose embeddings have a cosine of at least {NEAR}: the "
    "same recording, in other files or formats, or nothing but silence."
)


def count_table(drift: Drift) -> Table:
    """Count tracks of the catalogue and of each model.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    table : Table
        The catalogue first.
    """
    counted = (("catalogue", drift.catalogue), *((one.model, one.counts) for one in drift.models))
    rows = [
        (name, *_numbers(n.n_first, n.n_second, n.n_new, n.n_gone, n.n_changed))
        for name, n in counted
    ]
    return ("Table", "Before", "After", "New", "Gone", "Changed"), rows


def failure_table(drift: Drift) -> Table:
    """Count tracks without embedding by model and reason.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    table : Table
        Without rows where no track failed.
    """
    rows = [
        (each.model, one.status, *_numbers(one.n_first, one.n_second))
        for each in drift.models
        for one in each.failures
    ]
    return ("Model", "Reason", "Before", "After"), rows


def duration_table(drift: Drift) -> Table:
    """Give hours and quantiles of durations.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    table : Table
        Two rows for the models whose tracks have the same durations.
    """
    header = ("Models", "State", "Hours", *(f"{name} (s)" for name in _QUANTILE_NAMES))
    return header, [
        (models, state, f"{hours:,.2f}", *_seconds(quantiles_s))
        for models, found in by_durations(drift)
        for state, hours, quantiles_s in (
            ("before", found.hours_first, found.quantiles_first),
            ("after", found.hours_second, found.quantiles_second),
        )
    ]


def by_durations(drift: Drift) -> tuple[tuple[str, Durations], ...]:
    """Put models together whose tracks have the same durations, as is usual.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    durations : tuple of (str, Durations)
        With the names of the models, in their order.
    """
    names: dict[Durations, list[str]] = {}
    for each in drift.models:
        names.setdefault(each.durations, []).append(each.model)
    return tuple((", ".join(models), durations) for durations, models in names.items())


def shift_table(drift: Drift) -> Table:
    """Give the shift of the embeddings of each model.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    table : Table
        Empty cells where a state has no embedding.
    """
    header = (
        "Model",
        "Before",
        "After",
        "Gone",
        "New",
        "Cosine",
        "Shift",
        "Chance",
        "p",
        "Verdict",
    )
    return header, [_shift_row(each) for each in drift.models]


def group_table(drift: Drift) -> Table:
    """Count near duplicates of each model.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    table : Table
        Groups and the tracks in them.
    """
    header = (
        "Model", "Groups before", "Tracks before", "Groups after", "Tracks after", "New groups",
        "Compared", "Of",
    )  # fmt: skip
    return header, [
        (
            each.model,
            *_numbers(n.n_groups_first, n.n_tracks_first, n.n_groups_second, n.n_tracks_second),
            *_numbers(n.n_new, n.n_compared, n.n_tracks),
        )
        for each in drift.models
        for n in [each.groups]
    ]


def new_group_table(drift: Drift) -> Table:
    """Name the tracks of the largest groups of near duplicates that are new.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    table : Table
        Without rows where there are none.
    """
    return ("Model", "Size", "Tracks"), [
        (each.model, f"{size:,}", ", ".join(ids) + (", …" if size > MAX_IDS else ""))
        for each in drift.models
        for size, ids in zip(each.groups.new_sizes, each.groups.new, strict=True)
    ]


def _seconds(quantiles_s: tuple[float, ...]) -> tuple[str, ...]:
    """Write quantiles in one unit, so that they sort."""
    return tuple(f"{each:,.1f}" for each in quantiles_s) or (NOTHING,) * len(QUANTILES)


def _numbers(*counts: int) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in counts)


def _shift_row(each: ModelDrift) -> tuple[str, ...]:
    shift = each.shift
    counts = _numbers(shift.n_first, shift.n_second, shift.n_gone, shift.n_new)
    lengths = (NOTHING if x is None else f"{x:.3f}" for x in (shift.shift_sd, shift.chance_sd))
    p = NOTHING if shift.p is None else probability(shift.p)
    return (each.model, *counts, cosine_text(shift), *lengths, p, VERDICTS[shift.verdict])
