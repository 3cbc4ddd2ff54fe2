"""What changed between two states of an output: tracks, failures, durations, embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embedlib.report.drift_durations import compare_durations
from embedlib.report.drift_groups import GroupFinder
from embedlib.report.drift_records import Drift, ModelDrift, Side
from embedlib.report.drift_rows import (
    Keys,
    compare_failures,
    compare_keys,
    embeddings_of_both,
    read_facts,
    read_keys,
)
from embedlib.report.drift_shift import ShiftMeter
from embedlib.tables.layout import OutLike
from embedlib.tables.manifest import fingerprint_differences
from embedlib.tables.reader import Output, open_named
from embedlib.tables.tracks import TrackTable


def measure_drift(first: OutLike, second: OutLike) -> Drift:
    """Compare two states of an output, or two outputs.

    Parameters
    ----------
    first, second : str or path-like
        Output folders; ``OUT@3`` is the third state of one.

    Returns
    -------
    drift : Drift
        From the former to the latter; a state has not drifted from itself.

    Raises
    ------
    OutputError
        If one is no output folder, has no such state or no longer its files, or a file is damaged.
    """
    before, after = open_named(first), open_named(second)
    shared = sorted({*before.models} & {*after.models})
    pairs = [(before.tracks(model), after.tracks(model)) for model in shared]
    return Drift(
        first=_side(before),
        second=_side(after),
        catalogue=compare_keys(_listed(before), _listed(after)),
        models=tuple(_model_drift(*pair) for pair in pairs if _is_comparable(*pair)),
        notes=tuple(_notes(before, after, pairs)),
    )


def _side(output: Output) -> Side:
    state = output.state
    return (
        Side(f"{output.root}@{state.number}", state.ended_at) if state else Side(str(output.root))
    )


def _listed(output: Output) -> Keys:
    return read_keys([output.catalogue(["track_id", "version"])])


def _is_comparable(first: TrackTable, second: TrackTable) -> bool:
    return first.manifest.n_dims == second.manifest.n_dims


def _notes(
    first: Output, second: Output, pairs: list[tuple[TrackTable, TrackTable]]
) -> Iterator[str]:
    for one, other in ((first, second), (second, first)):
        for model in sorted({*one.models} - {*other.models}):
            yield f"{model} is in {_side(one).name} alone"
    for before, after in pairs:
        if differences := fingerprint_differences(before.manifest, after.manifest):
            fields = ", ".join(name for name, *_ in differences)
            how = "the shift tells of them too" if _is_comparable(before, after) else "left out"
            yield f"{before.manifest.model} was made with other parameters ({fields}): {how}"


def _model_drift(first: TrackTable, second: TrackTable) -> ModelDrift:
    before, after = read_facts(first), read_facts(second)
    n_dims = first.manifest.n_dims
    n_both = len(np.intersect1d(before.vectors, after.vectors))
    n_gone, n_new = len(before.vectors) - n_both, len(after.vectors) - n_both
    meter = ShiftMeter(n_gone=n_gone, n_both=n_both, n_new=n_new, n_dims=n_dims)
    finder = GroupFinder(n_tracks=n_gone + n_both + n_new, n_dims=n_dims)
    for block in embeddings_of_both(first, second, before, after):
        meter.add(block)
        finder.add(block)
    return ModelDrift(
        model=first.manifest.model,
        counts=compare_keys(before.keys, after.keys),
        failures=compare_failures(before.statuses, after.statuses),
        durations=compare_durations(before.durations_s, after.durations_s),
        shift=meter.shift(),
        groups=finder.groups(),
    )
