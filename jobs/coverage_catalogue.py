"""A catalogue of drawn embeddings, written as a run would have written it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from coverage_draws import Cell

from embedlib.records import DecodedTrack, Float32, Status, Track, TrackRow
from embedlib.tables.catalog import adopt, read_plan
from embedlib.tables.commit import commit_parts
from embedlib.tables.layout import model_folder
from embedlib.tables.manifest import ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part

SOURCE: Final = "/synthetic"
"""Where the tracks would lie, if there were any."""

CLIP_S: Final = 3.0
"""Length of a track: one patch of MusiCNN."""

SR_HZ: Final = 16_000


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What was written.

    Attributes
    ----------
    out : Path
        The output folder.
    tasks : tuple of (Path, Path)
        File of each task, and its label manifest.
    """

    out: Path
    tasks: tuple[tuple[Path, Path], ...]


def write_catalogue(folder: Path, cells: Sequence[Cell]) -> Catalogue:
    """Write an output with all tracks and embeddings of some cells, their labels and task files.

    Parameters
    ----------
    folder : Path
        For all of it; created.
    cells : sequence of Cell
        Each model on each task.

    Returns
    -------
    catalogue : Catalogue
        Whole by ``embedlib verify``.
    """
    out = folder / "OUT"
    by_task = {cell.task: cell for cell in cells}
    tracks = [track for cell in by_task.values() for track in _tracks(cell)]
    adopt(out, tracks, sources=[SOURCE])
    planned = read_plan(out)
    for model in dict.fromkeys(cell.model for cell in cells):
        _write_table(out, planned, [cell for cell in cells if cell.model == model])
    return Catalogue(out, tuple(_write_task(folder, cell) for cell in by_task.values()))


def track_name(task: str, number: int) -> str:
    """Name a track; names sort as numbers do.

    Parameters
    ----------
    task : str
        Its task.
    number : int
        From 0.

    Returns
    -------
    track_id : str
        Unique in the catalogue.

    Examples
    --------
    >>> track_name("gtzan", 7)
    'gtzan/00007.wav'
    """
    return f"{task}/{number:05}.wav"


def _tracks(cell: Cell) -> Iterator[Track]:
    n_bytes = round(2 * CLIP_S * SR_HZ)
    for number in range(cell.n_tracks):
        name = track_name(cell.task, number)
        yield Track(name, f"{SOURCE}/{name}", size=n_bytes, version="1")


def _write_table(out: Path, planned: Iterable[Track], cells: Sequence[Cell]) -> None:
    """Write and commit one part for each shard."""
    manifest = drawn_manifest(cells[0].model, n_dims=cells[0].n_dims, seed=cells[0].seed)
    ensure_manifest(out, manifest)
    vectors = dict(_vectors(cells))
    by_shard = groupby(sorted(planned, key=_shard_first), key=lambda track: track.shard_id)
    parts = [
        write_part(
            model_folder(out, manifest.model),
            manifest=manifest,
            shard_id=shard_id,
            attempt_id="0",
            rows=[drawn_row(n, track, vectors[track.track_id]) for n, track in enumerate(tracks)],
            provenance={"engine": "drawn"},
        )
        for shard_id, tracks in by_shard
    ]
    commit_parts(out, manifest.model, parts)


def _shard_first(track: Track) -> tuple[str, str]:
    return track.shard_id, track.track_id


def _vectors(cells: Sequence[Cell]) -> Iterator[tuple[str, Float32]]:
    for cell in cells:
        x = cell.draw(cell.labels, purpose="tracks")
        yield from ((track_name(cell.task, number), each) for number, each in enumerate(x))


def drawn_row(index: int, track: Track, vector: Float32) -> TrackRow:
    """Make the row of a track of one patch, with a drawn embedding.

    Parameters
    ----------
    index : int
        Of the track in its shard.
    track : Track
        It need not exist.
    vector : np.ndarray [shape=(n_dims,), float32]
        Its embedding.

    Returns
    -------
    row : TrackRow
        As if the track had been decoded and embedded.
    """
    found = DecodedTrack(
        index,
        Status.OK,
        duration_s=CLIP_S,
        sr_hz=SR_HZ,
        n_channels=1,
        n_samples=round(CLIP_S * SR_HZ),
        size=track.size,
        content_hash=f"sha256:{hashlib.sha256(track.track_id.encode()).hexdigest()}",
    )
    return TrackRow(track, found, False, np.zeros(1, dtype=np.int32), vector[None])


def drawn_manifest(model: str, *, n_dims: int, seed: int = 0) -> ModelManifest:
    """Describe a table of embeddings that no model has made.

    Parameters
    ----------
    model : str
        Name of the table.
    n_dims : int
        Length of an embedding.
    seed : int, optional
        Of what was drawn.

    Returns
    -------
    manifest : ModelManifest
        Of MusiCNN's frames and patches.
    """
    return ModelManifest(
        model=model,
        n_dims=n_dims,
        untrained=True,
        builder_version=1,
        seed=seed,
        node="drawn",
        front_end="musicnn-mel",
        front_end_version=1,
        sr_hz=SR_HZ,
        resampler="none",
        decoder="none",
        patch_frames=187,
        patch_hop_frames=187,
        last_patch="tile-short",
        precision="f32",
        patches=False,
    )


def _write_task(folder: Path, cell: Cell) -> tuple[Path, Path]:
    task, labels = folder / f"{cell.task}.yaml", folder / f"{cell.task}.csv"
    fields = {"name": cell.task, "classes": list(cell.classes), "source": "drawn from Gaussians"}
    task.write_text(yaml.safe_dump(fields), encoding="utf-8")
    with labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["track_id", "label"])
        for number, y in enumerate(cell.labels):
            writer.writerow([track_name(cell.task, number), cell.classes[y]])
    return task, labels
