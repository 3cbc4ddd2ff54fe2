"""What an output holds so far, counted; and why tracks failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from embedlib.records import KEPT
from embedlib.tables.layout import CATALOG_FOLDER, OutLike
from embedlib.tables.reader import Output, open_output
from embedlib.tables.snapshot import read_snapshot

_KEPT = pa.array(sorted(KEPT), pa.string())


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """How far one model is.

    Attributes
    ----------
    model : str
        Name of the model table.
    n_planned : int
        Tracks in the catalogue.
    n_done, n_failed : int
        Tracks with a row, and those of them that have a reason instead of an embedding.
    statuses : tuple of (str, int)
        Tracks by status, sorted by name.
    n_patches : int
        Of all tracks.
    audio_s : float
        Seconds of audio that were decoded.
    n_bytes : int
        Of the files that the log names.
    """

    model: str
    n_planned: int
    n_done: int
    n_failed: int
    statuses: tuple[tuple[str, int], ...]
    n_patches: int
    audio_s: float
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A track without embedding.

    Attributes
    ----------
    model : str
        Name of the model table.
    track_id, uri : str
        The track.
    status, error : str
        Why.
    """

    model: str
    track_id: str
    uri: str
    status: str
    error: str


def status(out: OutLike) -> tuple[ModelStatus, ...]:
    """Count what each model of an output has, while a run is active or later.

    Parameters
    ----------
    out : str or path-like
        The output folder.

    Returns
    -------
    models : tuple of ModelStatus
        Sorted by name.

    Raises
    ------
    OutputError
        If `out` is no output folder, or a file of it is damaged.
    """
    output = open_output(out)
    n_planned = read_snapshot(output.root / CATALOG_FOLDER).n_rows
    return tuple(_model_status(output, model, n_planned=n_planned) for model in output.models)


def failures(out: OutLike, model: str | None = None) -> Iterator[Failure]:
    """List the tracks that have no embedding.

    Parameters
    ----------
    out : str or path-like
        The output folder.
    model : str, optional
        Name of one model table; by default all.

    Yields
    ------
    failure : Failure
        By model, in the order of the files.

    Raises
    ------
    OutputError
        If `out` is no output folder, there is no such model, or a file is damaged.
    """
    output = open_output(out)
    names = output.models if model is None else (model,)
    for name in names:
        columns = ["track_id", "uri", "status", "error"]
        for batch in output.snapshot(name).batches(columns):
            rows = batch.filter(pc.invert(pc.is_in(batch["status"], value_set=_KEPT))).to_pylist()
            yield from (Failure(name, **row) for row in rows)


def _model_status(output: Output, model: str, *, n_planned: int) -> ModelStatus:
    snapshot = output.snapshot(model)
    statuses: Counter[str] = Counter()
    n_patches, audio_s = 0, 0.0
    for batch in snapshot.batches(["status", "n_patches", "duration_s"]):
        statuses.update(batch["status"].to_pylist())
        n_patches += int(batch["n_patches"].to_numpy().sum())
        audio_s += float(batch["duration_s"].to_numpy().sum())
    n_kept = sum(statuses[kept] for kept in KEPT)
    return ModelStatus(
        model=model,
        n_planned=n_planned,
        n_done=statuses.total(),
        n_failed=statuses.total() - n_kept,
        statuses=tuple(sorted(statuses.items())),
        n_patches=n_patches,
        audio_s=audio_s,
        n_bytes=snapshot.n_bytes,
    )
