"""What the stages of the Ray Data pipeline do: with Essentia as the engine, and with ours.

A stage is a record that travels to its actor, which loads it. Decoding is a function of a batch of
paths; what it gives is the column that a stage wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from bench_essentia import EssentiaModel, Graph, graphs_of, load_signals

from embedlib.catalog.listing import list_sources
from embedlib.config import extract_config
from embedlib.errors import RunError
from embedlib.features.front_end import front_end
from embedlib.records import (
    DecodedTrack,
    FeatureChunk,
    Float32,
    Segment,
    Shard,
    Signal,
    Status,
    Track,
    TrackRow,
)
from embedlib.run.decoding import decode_shard
from embedlib.run.embedding import ShardEmbedder
from embedlib.run.job import DecodeJob, ModelJob
from embedlib.run.model import LoadedModel
from embedlib.run.prepare import decode_job, model_job
from embedlib.run.resolve import prepare_models

Batch = dict[str, np.ndarray]
Decode = Callable[[Batch], Batch]
Embed = Callable[[Sequence[Float32]], list[Float32]]

NAME, AUDIO_S = "name", "audio_s"
"""Columns of a file that no model needs."""

WARM_UP_S = 4


class Stage(Protocol):
    """A model of the pipeline."""

    @property
    def table(self) -> str:
        """Name of the column of its vectors."""
        ...

    @property
    def column(self) -> str:
        """Name of the column that it embeds."""
        ...

    @property
    def n_values_s(self) -> float:
        """Values of that column per second of audio."""
        ...

    @property
    def drops(self) -> tuple[str, ...]:
        """Columns that nobody needs any more."""
        ...

    def dropping(self, column: str) -> Stage:
        """Give the same stage, behind which nobody needs a column any more."""
        ...

    def load(self) -> Embed:
        """Load the model and run it once."""
        ...


@dataclass(frozen=True, slots=True)
class EssentiaStage:
    """A model in Essentia: whole files in, one after the other, as its algorithms want them."""

    graph: Graph
    batch_size: int | None
    drops: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Name of the column of its vectors."""
        return self.graph.table

    @property
    def column(self) -> str:
        """Name of the column of its signal."""
        return signal_column(self.graph.signal)

    @property
    def n_values_s(self) -> float:
        """Samples per second of audio."""
        return float(self.graph.signal.sr_hz * self.graph.signal.n_channels)

    def dropping(self, column: str) -> Stage:
        """Give the same stage, behind which nobody needs a column any more."""
        return replace(self, drops=(*self.drops, column))

    def load(self) -> Embed:
        """Load the model and run it once."""
        embed = EssentiaModel(self.graph, batch_size=self.batch_size)
        sr_hz, n_channels = self.graph.signal
        shape = (n_channels, WARM_UP_S * sr_hz) if n_channels > 1 else WARM_UP_S * sr_hz
        embed(np.zeros(shape, np.float32))
        return lambda signals: [embed(np.ascontiguousarray(y)) for y in signals]


@dataclass(frozen=True, slots=True)
class OurStage:
    """A model in our engine: frames in, in batches that are filled across files."""

    job: ModelJob
    graph: Path
    drops: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Name of the column of its vectors."""
        return self.job.name

    @property
    def column(self) -> str:
        """Name of the column of its frames."""
        return self.job.front_end

    @property
    def n_values_s(self) -> float:
        """Values of its frames per second of audio."""
        front = front_end(self.job.front_end)
        return front.n_bands * front.sr_hz / front.hop_samples

    def dropping(self, column: str) -> Stage:
        """Give the same stage, behind which nobody needs a column any more."""
        return replace(self, drops=(*self.drops, column))

    def load(self) -> Embed:
        """Load the model and run it once."""
        model = LoadedModel(self.job, self.graph)
        model(np.zeros((1, *self.job.input_shape), np.float32))
        return partial(self._embed, model)

    def _embed(self, model: LoadedModel, files: Sequence[Float32]) -> list[Float32]:
        embedder = ShardEmbedder(model, self.job)
        for index, frames in enumerate(files):
            embedder.add(_whole(self.job.front_end, index, frames))
        tracks = [Track(str(index), "", -1, "") for index in range(len(files))]
        return [_vectors(row) for row in embedder.rows(tracks)]


def _whole(name: str, index: int, frames: Float32) -> FeatureChunk:
    """Make one chunk of all frames of a file."""
    ended = DecodedTrack(index, Status.OK, sr_hz=front_end(name).sr_hz)
    return FeatureChunk(name, frames, (Segment(index, len(frames)),), (ended,))


def _vectors(row: TrackRow) -> Float32:
    if row.patch_embeddings is None or row.patch_t0_ms is None:
        raise RunError(
            f"a file has no embedding: {row.decoded.error}", fix="leave it out of the benchmark"
        )
    n_patches, n_values = len(row.patch_t0_ms), row.patch_embeddings.shape[-1]
    return row.patch_embeddings.reshape(n_patches, -1, n_values)


def signal_column(signal: Signal) -> str:
    """Name the column of a signal.

    Examples
    --------
    >>> signal_column(Signal(16_000))
    '16000 Hz, 1 ch'
    """
    return f"{signal.sr_hz} Hz, {signal.n_channels} ch"


def stages_of(job: Mapping[str, Any]) -> tuple[Decode, list[Stage]]:
    """Give the function that decodes, and the stages in the order that drops most bytes first."""
    decode, stages = _ours(job) if job["options"]["engine"] == "ours" else _essentia(job)
    in_order = sorted(stages, key=lambda stage: stage.n_values_s, reverse=True)
    columns = [stage.column for stage in in_order]
    return decode, [
        stage if stage.column in columns[number:] else stage.dropping(stage.column)
        for number, stage in enumerate(in_order, start=1)
    ]


def _essentia(job: Mapping[str, Any]) -> tuple[Decode, Sequence[Stage]]:
    graphs = graphs_of(job)
    signals = tuple(dict.fromkeys(graph.signal for graph in graphs))
    decode = partial(decode_signals, signals=signals, quality=job["options"]["quality"])
    return decode, [EssentiaStage(graph, job["options"]["batch_size"]) for graph in graphs]


def _ours(job: Mapping[str, Any]) -> tuple[Decode, Sequence[Stage]]:
    values = {"sources": [job["audio"]], "models": job["models"], "out": job["out"]}
    values |= {"precision": job["options"].get("precision", "f32"), "allow_untrained": True}
    config = extract_config(values)
    prepared = prepare_models(config)
    stages = [
        OurStage(model_job(model, folder=Path(job["out"])), model.file.path) for model in prepared
    ]
    names = dict.fromkeys(stage.job.front_end for stage in stages)
    tracks = {track.uri: track for track in list_sources([job["audio"]])}
    decode = partial(decode_frames, tracks=tracks, job=decode_job(config, front_ends=names))
    return decode, stages


def decode_signals(batch: Batch, *, signals: Sequence[Signal], quality: int) -> Batch:
    """Decode each file once, by Essentia."""
    made = [load_signals(Path(path), signals, quality=quality) for path in batch["path"]]
    columns = {
        signal_column(signal): tensors([found[signal] for found, _ in made]) for signal in signals
    }
    return _named(batch) | {AUDIO_S: np.array([audio_s for _, audio_s in made])} | columns


def decode_frames(batch: Batch, *, tracks: Mapping[str, Track], job: DecodeJob) -> Batch:
    """Decode each file once, and run each front end once, by our own code."""
    shard = Shard("", tuple(tracks[path] for path in batch["path"]), 0.0)
    pieces: dict[str, list[list[Float32]]] = {
        name: [[] for _ in shard.tracks] for name in job.front_ends
    }
    seconds = np.zeros(len(shard.tracks))
    for chunk in decode_shard(shard, job):
        start = 0
        for segment in chunk.segments:
            frames = chunk.frames[start : start + segment.n_frames]
            pieces[chunk.front_end][segment.index].append(frames)
            start += segment.n_frames
        for ended in chunk.ended:
            seconds[ended.index] = ended.duration_s
    columns = {name: tensors(list(map(np.concatenate, found))) for name, found in pieces.items()}
    return _named(batch) | {AUDIO_S: seconds} | columns


def _named(batch: Batch) -> Batch:
    return {NAME: np.array([Path(path).name for path in batch["path"]])}


def tensors(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Make a column of tensors of variable shape.

    Examples
    --------
    >>> tensors([np.zeros(3), np.zeros(4)]).shape
    (2,)
    """
    column = np.empty(len(arrays), object)
    column[:] = arrays
    return column


def as_table(batch: Batch) -> pa.Table:
    """Give a batch as Arrow, all tensors as such of variable shape.

    Left to itself, Ray Data 2.60 makes tensors of fixed shape where all files of a batch happen to
    be equally long, and then cannot write batches of both kinds into one file.
    """
    from ray.data.extensions import ArrowVariableShapedTensorArray

    def array(column: np.ndarray) -> pa.Array:
        if isinstance(column[0], np.ndarray):
            return ArrowVariableShapedTensorArray.from_numpy(tensors(list(column)))
        return pa.array(column)

    return pa.table({name: array(column) for name, column in batch.items()})
