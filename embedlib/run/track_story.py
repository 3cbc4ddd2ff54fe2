"""What became of one track: its rows, the attempts at its shard, and what the logs say of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from embedlib.catalog.stores import Place
from embedlib.catalog.uris import masked
from embedlib.errors import OutputError
from embedlib.run.run_log import read_log, values_of
from embedlib.tables.layout import RUNS_FOLDER, OutLike
from embedlib.tables.lookup import near_names, planned_track, rows_of
from embedlib.tables.reader import Output, open_output
from embedlib.tables.snapshot import NO_TABLE

_OUTCOMES: Final = ("written", "failed", "lost")
"""Last words of the lines that say how an attempt went."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to make the rows of a shard, as a log tells it.

    Attributes
    ----------
    run, attempt : str
        Which.
    model : str
        Whose rows; empty where all models of the attempt are meant.
    worker, node : str
        Who was at it.
    outcome : {'written', 'failed', 'lost'}
        How it went: whether the rows were written, the attempt failed, or its worker was lost.
    reason : str
        Why it went wrong.
    wall_s : float or None
        Seconds from its beginning on.
    """

    run: str
    attempt: str
    model: str
    worker: str
    node: str
    outcome: str
    reason: str
    wall_s: float | None


@dataclass(frozen=True, slots=True)
class TrackStory:
    """All that an output tells of a track.

    Attributes
    ----------
    track_id : str
        Which.
    uri, version, shard_id : str
        As the catalogue has it; empty where it lists the track no longer.
    rows : dict of str to dict
        The row of the track in each model table that has one, without its vectors.
    attempts : tuple of Attempt
        At its shard, the oldest first.
    lines : tuple of str
        Of the logs: those that name the track, or its shard and no other track.
    """

    track_id: str
    uri: str
    version: str
    shard_id: str
    rows: dict[str, dict[str, Any]]
    attempts: tuple[Attempt, ...]
    lines: tuple[str, ...]


def track_story(out: OutLike, track_id: str, *, model: str | None = None) -> TrackStory:
    """Gather what an output tells of a track.

    Parameters
    ----------
    out : str or path-like
        The output folder.
    track_id : str
        The track.
    model : str, optional
        Whose row; by default those of all models.

    Returns
    -------
    story : TrackStory
        From the catalogue, the model tables and the logs of all runs.

    Raises
    ------
    OutputError
        If `out` is no output folder, has no such track or model, or a file is damaged.
    RunError
        If a store does not answer.
    """
    output = open_output(out)
    planned = planned_track(output, track_id)
    models = output.models if model is None else (model,)
    rows = _rows(output, models, track_id, shard_id=planned.shard_id if planned else "")
    if planned is None and not rows:
        raise _unknown(output, track_id)
    shard_ids = {str(row["shard_id"]) for row in rows.values()}
    shard_ids |= {planned.shard_id} if planned else set()
    lines = tuple(_lines(output.root, track_id, shard_ids=shard_ids))
    return TrackStory(
        track_id=track_id,
        uri=planned.uri if planned else "",
        version=planned.version if planned else "",
        shard_id=planned.shard_id if planned else "",
        rows=rows,
        attempts=tuple(found for line in lines if (found := _attempt(line))),
        lines=lines,
    )


def _rows(
    output: Output, models: Iterable[str], track_id: str, *, shard_id: str
) -> dict[str, dict[str, Any]]:
    """Give the row of each model: of the planned shard, where a change has left two for a while."""
    rows: dict[str, dict[str, Any]] = {}
    for model in models:
        if output.snapshot(model).version != NO_TABLE:
            for _, facts in rows_of(output.tracks(model), track_id, shard_id=shard_id):
                rows.setdefault(model, facts)
    return rows


def _lines(root: Place, track_id: str, *, shard_ids: set[str]) -> Iterator[str]:
    folder = root / RUNS_FOLDER
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    for run_id in names:
        yield from _lines_of(read_log(root, run_id), masked(track_id), shard_ids)


def _lines_of(entries: Iterable[str], track_id: str, shard_ids: set[str]) -> list[str]:
    """Select what one log says of a track, of its shard, and of the attempts at that."""
    told = [(entry, values_of(entry)) for entry in entries]
    attempts = {values.get("attempt") for _, values in told if values.get("shard") in shard_ids}
    return [entry for entry, values in told if _is_about(values, track_id, shard_ids, attempts)]


def _is_about(
    values: Mapping[str, str], track_id: str, shard_ids: set[str], attempts: set[str | None]
) -> bool:
    if "track" in values:
        return values["track"] == track_id
    if "shard" in values:
        return values["shard"] in shard_ids
    return "attempt" in values and values["attempt"] in attempts


def _attempt(entry: str) -> Attempt | None:
    """Read how an attempt went; None where a line tells something else."""
    values = values_of(entry)
    outcome = entry.partition("\n")[0].rpartition(" ")[2]
    if outcome not in _OUTCOMES or "attempt" not in values:
        return None
    wall_s = values.get("wall_s")
    return Attempt(
        run=values.get("run", ""),
        attempt=values["attempt"],
        model=values.get("model", ""),
        worker=values.get("worker", ""),
        node=values.get("node", ""),
        outcome=outcome,
        reason=values.get("reason", ""),
        wall_s=None if wall_s is None else float(wall_s),
    )


def _unknown(output: Output, track_id: str) -> OutputError:
    names = near_names(track_id, output.catalogue(["track_id"])["track_id"].to_pylist())
    near = f"near to it are {', '.join(map(repr, names))}" if names else "list its track_ids"
    return OutputError(f"{output.root} has no track {track_id!r}", fix=near)
