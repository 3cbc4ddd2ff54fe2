"""What a model table knows of labelled tracks: the hashes of their content, their embeddings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedlib.errors import OutputError
from embedlib.tables.frames import float_matrix
from embedlib.tables.layout import OutLike
from embedlib.tables.reader import open_output
from embedlib.tasks.cohort import Cohort
from embedlib.tasks.duplicates import Tracks


def any_model(out: OutLike) -> str:
    """Choose a model table, where it does not matter which.

    Parameters
    ----------
    out : str or path-like
        An output folder.

    Returns
    -------
    model : str
        The first by name.

    Raises
    ------
    OutputError
        If `out` is no output, or has no model table.
    """
    models = open_output(out).models
    if not models:
        raise OutputError(f"{out} has no model table", fix="run `embedlib extract` first")
    return models[0]


def read_embedded(out: OutLike, model: str, cohort: Cohort) -> tuple[Tracks, tuple[str, ...]]:
    """Read what a model table knows of the tracks of a cohort, in one pass over it.

    Parameters
    ----------
    out : str or path-like
        An output folder.
    model : str
        Name of the model table.
    cohort : Cohort
        The tracks.

    Returns
    -------
    tracks : Tracks
        All of the cohort, with zeros for those that have no embedding.
    without : tuple of str
        Ids of those that have none, sorted.

    Raises
    ------
    OutputError
        If there is no such table, or it is damaged.
    """
    table = open_output(out).tracks(model)
    row_of = {track_id: row for row, track_id in enumerate(cohort.track_ids)}
    hashes = [""] * len(cohort)
    has_embedding = np.zeros(len(cohort), dtype=np.bool_)
    x = np.zeros((len(cohort), table.manifest.n_dims), dtype=np.float32)
    wanted = pa.array(cohort.track_ids, pa.string())
    for batch in table.snapshot.batches(["track_id", "content_hash", "n_patches", "embedding"]):
        found = batch.filter(pc.is_in(batch["track_id"], wanted))
        rows = np.array([row_of[name] for name in found["track_id"].to_pylist()], dtype=np.int64)
        for row, content in zip(rows, found["content_hash"].to_pylist(), strict=True):
            hashes[row] = content
        is_there = pc.greater(found["n_patches"], 0).to_numpy(zero_copy_only=False)
        vectors = pa.chunked_array([found["embedding"]])
        x[rows[is_there]] = float_matrix(vectors, table.manifest.n_dims)
        has_embedding[rows[is_there]] = True
    pairs = zip(cohort.track_ids, has_embedding, strict=True)
    without = tuple(track_id for track_id, is_there in pairs if not is_there)
    return Tracks(cohort.track_ids, cohort.units, tuple(hashes), x), without
