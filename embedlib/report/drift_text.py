"""A drift report in words: the lines for a terminal, and what stands above the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from embedlib.report.drift_durations import QUANTILES
from embedlib.report.drift_records import Counts, Drift, Durations, Groups, Shift, Side, Verdict
from embedlib.report.numbers import NOTHING, probability

VERDICTS: Final = {
    None: "nothing to compare",
    Verdict.SAME: "the same",
    Verdict.CHANCE: "within chance",
    Verdict.SLIGHT: "slight, but more than chance",
    Verdict.DRIFT: "drift",
}

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def duration_text(seconds: float) -> str:
    """Write a duration for people.

    Parameters
    ----------
    seconds : float >= 0
        Of any size.

    Returns
    -------
    text : str
        Three digits or so, with its unit.

    Examples
    --------
    >>> duration_text(0.25), duration_text(30), duration_text(195), duration_text(5400)
    ('0.25 s', '30 s', '3.25 min', '1.5 h')
    """
    for unit, unit_s in (("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds:.3g} s"


def side_text(side: Side) -> str:
    """Name a state, with its time.

    Parameters
    ----------
    side : Side
        One of two.

    Returns
    -------
    text : str
        To the second.

    Examples
    --------
    >>> side_text(Side("OUT@3", "2026-11-01T02:00:00.123456Z")), side_text(Side("OUT"))
    ('OUT@3 of 2026-11-01 02:00:00 UTC', 'OUT as it is')
    """
    if not side.ended_at:
        return f"{side.name} as it is"
    return f"{side.name} of {side.ended_at[:19].replace('T', ' ')} UTC"


def drift_lines(drift: Drift) -> Iterator[str]:
    """Write a drift report for a terminal.

    Parameters
    ----------
    drift : Drift
        All of it.

    Yields
    ------
    line : str
        Without colours.
    """
    yield f"{side_text(drift.first)} -> {side_text(drift.second)}"
    yield f"catalogue: {_counts_text(drift.catalogue)}"
    for each in drift.models:
        failures = (f"{one.status} {one.n_first:,} -> {one.n_second:,}" for one in each.failures)
        yield each.model
        yield f"  tracks: {_counts_text(each.counts)}"
        yield f"  failures: {', '.join(failures) or 'none'}"
        yield f"  durations: {_durations_text(each.durations)}"
        yield f"  embeddings: {_shift_text(each.shift)}"
        yield f"  near duplicates: {_groups_text(each.groups)}"


def alarms(drift: Drift) -> tuple[str, ...]:
    """Say which models' embeddings have drifted.

    Parameters
    ----------
    drift : Drift
        All of it.

    Returns
    -------
    sentences : tuple of str
        One for each such model.
    """
    return tuple(
        f"The embeddings of {each.model} have drifted: {_move_text(each.shift)}."
        for each in drift.models
        if each.shift.verdict is Verdict.DRIFT
    )


def _counts_text(n: Counts) -> str:
    change = f"{n.n_new:,} new, {n.n_gone:,} gone, {n.n_changed:,} changed"
    return f"{n.n_first:,} -> {n.n_second:,} ({change})"


def _durations_text(durations: Durations) -> str:
    hours = f"{durations.hours_first:,.2f} h -> {durations.hours_second:,.2f} h"
    sides = (durations.quantiles_first, durations.quantiles_second)
    low, middle, high = (QUANTILES.index(each) for each in (0.05, 0.5, 0.95))
    median = " -> ".join(duration_text(each[middle]) if each else "none" for each in sides)
    spans = (
        f"{duration_text(each[low])} to {duration_text(each[high])}" if each else "none"
        for each in sides
    )
    return f"{hours}; median {median}; middle 90 % {' -> '.join(spans)}"


def _shift_text(shift: Shift) -> str:
    move = _move_text(shift)
    return f"{VERDICTS[shift.verdict]}; {move}" if move else VERDICTS[shift.verdict]


def _move_text(shift: Shift) -> str:
    if shift.shift_sd is None or shift.chance_sd is None or shift.p is None:
        return NOTHING
    return (
        f"the mean moved by {shift.shift_sd:.3f} standard deviations, by chance it would by up to "
        f"{shift.chance_sd:.3f} (p {probability(shift.p)}); "
        f"cosine of the means {cosine_text(shift)}"
    )


def cosine_text(shift: Shift) -> str:
    """Write the cosine of the two means.

    Parameters
    ----------
    shift : Shift
        Of one model.

    Returns
    -------
    text : str
        Empty without one.
    """
    return NOTHING if shift.cosine is None else f"{shift.cosine:.5f}"


def _groups_text(n: Groups) -> str:
    before, after = (
        f"{groups:,} groups of {tracks:,} tracks" if groups else "none"
        for groups, tracks in (
            (n.n_groups_first, n.n_tracks_first),
            (n.n_groups_second, n.n_tracks_second),
        )
    )
    among = "" if n.n_compared >= n.n_tracks else f", among {n.n_compared:,} of {n.n_tracks:,}"
    return f"{before} -> {after} ({n.n_new:,} new){among}"
