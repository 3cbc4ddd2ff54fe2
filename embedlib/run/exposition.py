"""The figures of an index run as text for Prometheus, such as a push gateway takes.

The format is version 0.0.4 of the text exposition format: a line of help and one of type for each
metric, then its samples. All are gauges: they are about one run and start anew with the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from embedlib.records import Status
from embedlib.run.index_summary import IndexSummary

PREFIX: Final = "embedlib_index_"

_CHANGES: Final = ("new", "changed", "moved", "deleted", "unchanged")


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    help: str
    label: str
    samples: Mapping[str, float]
    """By the value of the label; by an empty one where there is none."""


def exposition(summary: IndexSummary, *, ended_unix_s: float) -> str:
    """Write the figures of a run as text for Prometheus.

    Parameters
    ----------
    summary : IndexSummary
        What it found and did.
    ended_unix_s : float
        When it ended.

    Returns
    -------
    text : str
        Ends with a line feed, as the format demands.
    """
    lines: list[str] = []
    for metric in _metrics(summary, ended_unix_s):
        name = f"{PREFIX}{metric.name}"
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} gauge"]
        for value, number in metric.samples.items():
            labels = f'{{{metric.label}="{value}"}}' if metric.label else ""
            lines.append(f"{name}{labels} {number!r}")
    return "\n".join(lines) + "\n"


def _metrics(summary: IndexSummary, ended_unix_s: float) -> Iterator[_Metric]:
    yield _gauge("ended_timestamp_seconds", "When the run ended, Unix time.", ended_unix_s)
    yield _gauge("complete", "1 if the run came to its end.", int(not summary.signal_number))
    yield _gauge("duration_seconds", "Time that the run took.", summary.wall_s)
    yield _gauge("catalogue_tracks", "Tracks that the sources hold.", summary.n_tracks)
    changes = {name: getattr(summary, f"n_{name}") for name in _CHANGES}
    yield _Metric("tracks", "Tracks by how they differ from the run before.", "change", changes)
    yield _gauge("duplicate_tracks", "Tracks whose id another has.", summary.n_duplicates)
    statuses = {status.value: summary.statuses.get(status, 0) for status in Status}
    yield _Metric("rows", "Rows written by the run, over all models.", "status", statuses)
    yield _gauge("failed_rows", "Rows written without an embedding.", summary.n_failed)
    yield _gauge("finished_rows", "Rows of a plan left open before.", summary.n_finished)
    yield _gauge("moved_rows", "Rows copied under a new name.", summary.n_rows_moved)
    yield _gauge("pruned_rows", "Rows that left the tables.", summary.n_rows_pruned)
    yield _gauge("audio_seconds", "Audio behind the rows, counted per model.", summary.audio_s)
    yield _gauge("decodes", "Tracks that were decoded.", summary.decoding.get("decodes", 0))


def _gauge(name: str, help_: str, number: float) -> _Metric:
    return _Metric(name, help_, "", {"": number})
