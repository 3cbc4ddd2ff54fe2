"""The tracks of a page to explore, read from an output."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from embedlib.errors import ConfigError, OutputError
from embedlib.records import Float32, Track
from embedlib.report.explore_facts import Fact, audio_url, facts_of
from embedlib.tables.catalog import read_tracks
from embedlib.tables.frames import float_matrix
from embedlib.tables.layout import CATALOG_FOLDER, OutLike
from embedlib.tables.reader import Output, open_output
from embedlib.tables.schema import TRACK_COLUMNS
from embedlib.tables.vectors import vector_columns


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The tracks of a map, sorted by id.

    Attributes
    ----------
    model : str
        Name of the model table.
    version : int
        Of the table that was read.
    ids : tuple of str
        One for each track that has an embedding.
    vectors : np.ndarray [shape=(n_tracks, n_dims), float32]
        Their embeddings.
    facts : tuple of Fact
        What is known of them.
    audio : tuple of str
        What a browser can be asked to play for each; empty where it can open nothing.
    n_left_out : int
        Tracks without embedding.
    """

    model: str
    version: int
    ids: tuple[str, ...]
    vectors: Float32
    facts: tuple[Fact, ...]
    audio: tuple[str, ...]
    n_left_out: int = 0


def read_population(out: OutLike, *, model: str | None = None) -> Population:
    """Read the newest version of a model's table, and what the catalogue carries beside.

    Parameters
    ----------
    out : str or path-like
        Output folder.
    model : str, optional
        Name of the model table; not needed where there is only one.

    Returns
    -------
    population : Population
        Of at least one track.

    Raises
    ------
    ConfigError
        If `out` cannot be an output, or no model is named where there are several.
    OutputError
        If there is no such table, it is damaged, or no track has an embedding.
    """
    output = open_output(out)
    tracks = output.tracks(model or _only_model(output))
    manifest = tracks.manifest
    classified = [column for column in vector_columns(manifest) if column.classes]
    rows = tracks.to_arrow([*TRACK_COLUMNS, "embedding", *(each.name for each in classified)])
    kept = rows.filter(pc.greater(rows["n_patches"], 0)).sort_by("track_id")
    if not len(kept):
        raise OutputError(
            f"no track of {tracks.snapshot.folder} has an embedding",
            fix=f"see embedlib failures {output.root}",
        )
    planned = _planned(output, kept)
    return Population(
        manifest.model,
        tracks.snapshot.version,
        tuple(kept["track_id"].to_pylist()),
        float_matrix(kept["embedding"], manifest.n_dims),
        facts_of(kept, planned, classified=classified),
        tuple(map(_audio, kept["uri"].to_pylist(), planned)),
        len(rows) - len(kept),
    )


def _only_model(output: Output) -> str:
    if len(output.models) == 1:
        return output.models[0]
    known = ", ".join(output.models)
    raise ConfigError(
        f"{output.root} holds {len(output.models)} models",
        fix=f"choose one by --model: {known}" if known else "run embedlib extract first",
    )


def _planned(output: Output, rows: pa.Table) -> list[Track | None]:
    """Find what the catalogue says of each row; nothing where it has another version by now."""
    keys = list(zip(rows["track_id"].to_pylist(), rows["version"].to_pylist(), strict=True))
    if not (output.root / CATALOG_FOLDER).is_dir():
        return [None] * len(keys)
    wanted = set(keys)
    tracks = ((track.track_id, track.version, track) for track in read_tracks(output.root))
    found = {
        (track_id, version): track
        for track_id, version, track in tracks
        if (track_id, version) in wanted
    }
    return [found.get(key) for key in keys]


def _audio(uri: str, track: Track | None) -> str:
    if track is None:
        return audio_url(uri)
    return audio_url(uri, start_s=track.start_s, end_s=track.end_s)
