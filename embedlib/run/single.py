"""One file or some arrays in, patch embeddings out, through the code of the main job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from embedlib.config import extract_config
from embedlib.errors import AudioError, ConfigError
from embedlib.features.front_end import front_end
from embedlib.records import FeatureChunk, Float32, Shard, Track, TrackRow
from embedlib.run.arrays import array_chunk
from embedlib.run.decoding import decode_shard
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.model import LoadedModel
from embedlib.run.prepare import decode_job, model_job
from embedlib.run.resolve import prepare_models

OPTIONS = (
    "weights",
    "allow_unverified",
    "node",
    "engine",
    "device",
    "precision",
    "decoder",
    "resampler",
    "patch_hop_frames",
    "last_patch",
    "max_duration_s",
    "cpu_deadline_s",
)
"""Fields of `ExtractConfig` that concern one track."""

_FAILURES = {kind.status: kind for kind in AudioError.__subclasses__()}


def embed(
    audio: str | os.PathLike[str] | Float32, *, model: str, sr: int | None = None, **options: Any
) -> Float32:
    """Embed one file or one array.

    The loaded model is kept for the next call with the same model and options.

    Parameters
    ----------
    audio : str, path-like or np.ndarray [shape=(n_samples,) or (n_channels, n_samples), float]
        A file or URL, or samples in [-1, 1].
    model : str
        Name of the model.
    sr : int > 0 [Hz]
        Rate of the samples; only, and always, with an array.
    **options : Any
        Fields of `embedlib.config.ExtractConfig` that concern one track: `OPTIONS`.

    Returns
    -------
    embeddings : np.ndarray [shape=(n_patches, n_dims), float32]
        One row per patch.

    Raises
    ------
    AudioError
        If the audio gives no embedding.
    ConfigError
        If an option is wrong, or `sr` is missing or superfluous.
    ModelError
        If the weights are missing.
    """
    ready = ready_model(model, **options)
    if isinstance(audio, np.ndarray):
        (row,) = embed_arrays([audio], sr_hz=sr, ready=ready)
    elif sr is not None:
        raise ConfigError(f"sr={sr} is given with a file", fix="leave it out: the file knows")
    else:
        row = embed_track(_track_of(os.fspath(audio)), ready=ready)
    return vectors_of(row)


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A model ready for one track after the other.

    Attributes
    ----------
    job : ModelJob
        How frames become rows.
    decode : DecodeJob
        How audio becomes frames.
    model : LoadedModel
        What embeds them.
    """

    job: ModelJob
    decode: DecodeJob
    model: LoadedModel


def ready_model(model: str, **options: Any) -> ReadyModel:
    """Load a model, or give the one that was loaded with the same options.

    Parameters
    ----------
    model : str
        Name of the model.
    **options : Any
        As `embed` takes them.

    Returns
    -------
    ready : ReadyModel
        One of the last four.

    Raises
    ------
    ConfigError
        If the name or an option is wrong.
    ModelError
        If the weights are missing.
    """
    if isinstance(options.get("weights"), os.PathLike):
        options["weights"] = os.fspath(options["weights"])
    hashable = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    return _load(model, tuple(sorted(hashable.items())))


def embed_track(track: Track, *, ready: ReadyModel) -> TrackRow:
    """Decode and embed one track.

    Parameters
    ----------
    track : Track
        Without a version, whatever its file holds now is taken.
    ready : ReadyModel
        What embeds it.

    Returns
    -------
    row : TrackRow
        Also where it failed; `vectors_of` tells.

    Raises
    ------
    OSError
        If a store or a disk fails.
    """
    (row,) = _rows(ready, [track], decode_shard(Shard("", (track,), 0.0), ready.decode))
    return row


def embed_arrays(
    arrays: Sequence[Float32], *, sr_hz: int | None, ready: ReadyModel
) -> list[TrackRow]:
    """Embed arrays, in batches that are filled across them.

    Parameters
    ----------
    arrays : sequence of np.ndarray [shape=(n_samples,) or (n_channels, n_samples), float]
        In [-1, 1].
    sr_hz : int > 0 or None
        Rate of all of them.
    ready : ReadyModel
        What embeds them.

    Returns
    -------
    rows : list of TrackRow
        One per array; `vectors_of` tells failures.

    Raises
    ------
    AudioError
        If an array holds no sample, or one that is no number.
    ConfigError
        If the rate is missing, or an array is no audio.
    """
    front, resampler = front_end(ready.job.front_end), ready.decode.resampler
    chunks = (
        array_chunk(samples, sr_hz=sr_hz, index=index, front_end=front, resampler=resampler)
        for index, samples in enumerate(arrays)
    )
    tracks = [Track(f"array {index}", "", -1, "") for index in range(len(arrays))]
    return _rows(ready, tracks, chunks)


def vectors_of(row: TrackRow) -> Float32:
    """Give the vectors of a row, or raise what failed it.

    Parameters
    ----------
    row : TrackRow
        Of one track.

    Returns
    -------
    vectors : np.ndarray [shape=(n_patches * n_vectors, n_dims), float32]
        Those of its patches.

    Raises
    ------
    AudioError
        The class that has the status of the row.
    """
    if row.patch_embeddings is None:
        raise _FAILURES[row.decoded.status](row.decoded.error)
    return row.patch_embeddings


def _rows(
    ready: ReadyModel, tracks: Sequence[Track], chunks: Iterable[FeatureChunk]
) -> list[TrackRow]:
    embedder = ShardEmbedder(ready.model, ready.job)
    for chunk in chunks:
        embedder.add(chunk)
    return embedder.rows(tracks)


@lru_cache(maxsize=4)
def _load(model: str, options: tuple[tuple[str, Any], ...]) -> ReadyModel:
    if unknown := [name for name, _ in options if name not in OPTIONS]:
        raise ConfigError(
            f"unknown option {unknown[0]!r}", fix=f"the options are {', '.join(OPTIONS)}"
        )
    # No source and no output: what is embedded does not come from a catalogue.
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in options}
    config = extract_config({"sources": [""], "models": [model], "out": "", **values})
    (prepared,) = prepare_models(config)
    job = model_job(prepared, folder=Path())
    return ReadyModel(
        job=job,
        decode=decode_job(config, front_ends=[job.front_end]),
        model=LoadedModel(job, prepared.file.path),
    )


def _track_of(uri: str) -> Track:
    """Name a track without a version: whatever the file holds now is wanted."""
    path = uri if "://" in uri else str(Path(uri).expanduser().absolute())
    return Track(uri, path, -1, "")
