"""One file or one array in, its patch embeddings out, through the code of the main job."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from embedlib.audio.resample import make_resampler
from embedlib.audio.samples import to_mono
from embedlib.config import ExtractConfig, extract_config
from embedlib.engines.engine import Engine
from embedlib.errors import AudioError, ConfigError, EmptyAudioError, NonfiniteError
from embedlib.features.front_end import front_end
from embedlib.records import DecodedTrack, FeatureChunk, Float32, Segment, Shard, Status, Track
from embedlib.run.decoding import decode_shard
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.prepare import decode_job, locate_all, model_job
from embedlib.run.worker import load_job

OPTIONS = (
    "weights",
    "node",
    "engine",
    "precision",
    "decoder",
    "resampler",
    "patch_hop_frames",
    "last_patch",
    "max_duration_s",
    "cpu_deadline_s",
)
"""Fields of `ExtractConfig` that concern one track."""

MAX_CHANNELS = 64
"""More than this along the first axis means that the axes are the wrong way round."""

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
    if isinstance(options.get("weights"), os.PathLike):
        options["weights"] = os.fspath(options["weights"])
    loaded = _load(model, tuple(sorted(options.items())))
    if isinstance(audio, np.ndarray):
        track = Track("array", "", -1, "")
        chunks: Iterable[FeatureChunk] = [_chunk_of(audio, sr, loaded)]
    elif sr is not None:
        raise ConfigError(f"sr={sr} is given with a file", fix="leave it out: the file knows")
    else:
        track = _track_of(os.fspath(audio))
        chunks = decode_shard(Shard("", (track,), 0.0), loaded.decode)
    embedder = ShardEmbedder(loaded.engine, loaded.job)
    for chunk in chunks:
        embedder.add(chunk)
    (row,) = embedder.rows([track])
    if row.patch_embeddings is None:
        raise _FAILURES[row.decoded.status](row.decoded.error)
    return row.patch_embeddings


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model ready for one track after the other."""

    config: ExtractConfig
    job: ModelJob
    decode: DecodeJob
    engine: Engine


@lru_cache(maxsize=4)
def _load(model: str, options: tuple[tuple[str, Any], ...]) -> _Loaded:
    if unknown := [name for name, _ in options if name not in OPTIONS]:
        raise ConfigError(
            f"unknown option {unknown[0]!r}", fix=f"the options are {', '.join(OPTIONS)}"
        )
    # No source and no output: what is embedded does not come from a catalogue.
    config = extract_config({"sources": [""], "models": [model], "out": "", **dict(options)})
    ((spec, file),) = locate_all(config)
    job = model_job(spec, file, config, folder=Path())
    return _Loaded(
        config=config,
        job=job,
        decode=decode_job(config, front_ends=[job.front_end]),
        engine=load_job(job, file.path),
    )


def _track_of(uri: str) -> Track:
    """Name a track without a version: whatever the file holds now is wanted."""
    path = uri if "://" in uri else str(Path(uri).expanduser().absolute())
    return Track(uri, path, -1, "")


def _chunk_of(samples: Float32, sr_hz: int | None, loaded: _Loaded) -> FeatureChunk:
    """Give all frames of an array, as the decoder would have given them."""
    mono = _mono(samples)
    if sr_hz is None or sr_hz < 1:
        raise ConfigError(f"sr={sr_hz} is given with samples", fix="say their rate in Hz: sr=44100")
    front = front_end(loaded.job.front_end)
    resampler = make_resampler(loaded.config.resampler, sr_in_hz=sr_hz, sr_out_hz=front.sr_hz)
    stream = front.stream()
    pieces = [resampler.push(mono), resampler.flush()]
    frames = np.concatenate([*(stream.push(piece) for piece in pieces), stream.flush()])
    ended = DecodedTrack(0, Status.OK, "", len(mono) / sr_hz, sr_hz, len(samples), len(mono))
    return FeatureChunk(front.name, frames, (Segment(0, len(frames)),), (ended,))


def _mono(samples: Float32) -> Float32:
    if not np.issubdtype(samples.dtype, np.floating):
        raise ConfigError(
            f"samples of type {samples.dtype} do not lie in [-1, 1]",
            fix="divide them by their full scale, which is 32768 for int16",
        )
    block = np.atleast_2d(samples).astype(np.float32)
    if block.ndim != 2 or len(block) > MAX_CHANNELS:
        raise ConfigError(
            f"samples of shape {samples.shape} are no audio",
            fix="give (n_samples,) or (n_channels, n_samples)",
        )
    if not block.size:
        raise EmptyAudioError("the array holds no sample")
    if not np.isfinite(block).all():
        raise NonfiniteError("the samples hold NaN or infinity", fix="clean them first")
    return to_mono(block)
