"""Essentia's own way from a file to embeddings, for each of the eight models of the paper.

MusiCNN, VGG-I, VGGish and Tempo-CNN have an algorithm. OpenL3 and Spleeter go through
``TensorflowPredict`` and a Pool, with the front ends that Essentia's authors tell users to write.
An algorithm is made once and called for each file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from embedlib.audio.essentia_loader import essentia_standard, load_mono, load_stereo, resample
from embedlib.features.front_end import front_end
from embedlib.features.readout import readout
from embedlib.records import Float32, Signal

ALGORITHMS = {
    "musicnn-mel": "TensorflowPredictMusiCNN",
    "vggish-mel": "TensorflowPredictVGGish",
    "tempocnn-mel": "TensorflowPredictTempoCNN",
}
"""By the front end that they bring."""

BEST_BATCH = {"musicnn-mel": 1, "vggish-mel": 64, "tempocnn-mel": 8}
"""Patches per call that take TensorFlow least time on one core, measured on another machine, with
AMX: MusiCNN 47 ms a patch at 1 and 63 at 64, VGGish 36 and 14, Tempo-CNN 5.1 at 8, 6.4 at 64."""

DEFAULT_BATCH = 64

# https://gist.github.com/palonso/cfebe37e5492b5a3a31775d8eae8d9a8
OPENL3_FRAME, OPENL3_HOP, OPENL3_WINDOW, OPENL3_FRAMES = 2048, 242, 48_000, 199
AMPLITUDE_FLOOR, DB_FLOOR = 1e-10, -80.0

Predict = Callable[[Float32], Float32]


@dataclass(frozen=True, slots=True)
class Graph:
    """A model that was found, as it travels to other processes.

    Attributes
    ----------
    table : str
        Name of what is saved.
    front_end : str
        Name of our front end of the same numbers.
    path : str
        The graph file.
    nodes : sequence of str
        What is read.
    n_values : int
        Length of a vector.
    patch_frames : int
        Frames of a patch.
    readout : str
        Name of our readout of the nodes.
    """

    table: str
    front_end: str
    path: str
    nodes: Sequence[str]
    n_values: int
    patch_frames: int
    readout: str

    @property
    def signal(self) -> Signal:
        """What the model listens to."""
        return front_end(self.front_end).signal


def load_signal(path: Path, signal: Signal, *, quality: int) -> Float32:
    """Load a file as MonoLoader does; stereo by AudioLoader and Resample."""
    load = load_mono if signal.n_channels == 1 else load_stereo
    return load(str(path), rate_hz=signal.sr_hz, quality=quality)


def load_signals(
    path: Path, signals: Sequence[Signal], *, quality: int
) -> tuple[dict[Signal, Float32], float]:
    """Decode a file once and resample it to each signal, by the parts of MonoLoader.

    Returns
    -------
    signals, audio_s : dict of Signal to np.ndarray, float
        Samples, and seconds of audio.
    """
    standard = essentia_standard()
    samples, sr_hz, n_channels, *_ = standard.AudioLoader(filename=str(path))()
    mono = standard.MonoMixer()(samples, n_channels)
    left, right = np.ascontiguousarray(samples.T)
    sides = (left, right if n_channels > 1 else left)
    found = {}
    for signal in signals:
        wanted = (mono,) if signal.n_channels == 1 else sides
        made = [_resampled(y, int(sr_hz), signal.sr_hz, quality=quality) for y in wanted]
        found[signal] = made[0] if signal.n_channels == 1 else np.stack(made)
    return found, len(samples) / sr_hz


def _resampled(y: Float32, sr_in_hz: int, sr_out_hz: int, *, quality: int) -> Float32:
    if sr_in_hz == sr_out_hz:
        return y
    return resample(y, sr_in_hz=sr_in_hz, sr_out_hz=sr_out_hz, quality=quality)


class EssentiaModel:
    """A model in Essentia, from the samples of a file to vectors.

    Parameters
    ----------
    graph : Graph
        Which one.
    batch_size : int or None
        Patches per call of an algorithm; None for the fastest.
    hop_frames : int or None
        Distance of patches; None for the algorithm's default.
    """

    def __init__(
        self, graph: Graph, *, batch_size: int | None = None, hop_frames: int | None = None
    ) -> None:
        self._graph = graph
        best = BEST_BATCH.get(graph.front_end, DEFAULT_BATCH)
        self._options: dict[str, Any] = {"batchSize": best if batch_size is None else batch_size}
        if hop_frames is not None:
            self._options["patchHopSize"] = hop_frames
        self._predict = self._made()

    def __call__(self, y: Float32) -> Float32:
        """Embed a file.

        Returns
        -------
        vectors : np.ndarray [shape=(n_patches, n_vectors, n_values), float32]
            With ``lastPatchMode`` "discard"; of audio shorter than a patch by "repeat".
        """
        predict = self._predict_short if self._is_short(y) else self._predict
        return np.asarray(predict(y), np.float32).reshape(self._shape)

    @property
    def _shape(self) -> tuple[int, int, int]:
        n_vectors = 16 if self._graph.front_end == "stereo-44k" else 1
        return (-1, n_vectors, self._graph.n_values)

    def _is_short(self, y: Float32) -> bool:
        if self._graph.front_end not in ALGORITHMS:
            return False
        return front_end(self._graph.front_end).n_frames(len(y)) < self._graph.patch_frames

    @cached_property
    def _predict_short(self) -> Predict:
        return self._algorithm(lastPatchMode="repeat")

    def _made(self) -> Predict:
        if self._graph.front_end in ALGORITHMS:
            return self._algorithm()
        makers = {"mono-48k": openl3, "stereo-44k": spleeter}
        return makers[self._graph.front_end](self._graph)

    def _algorithm(self, **more: Any) -> Predict:
        algorithm = getattr(essentia_standard(), ALGORITHMS[self._graph.front_end])
        (node,) = self._graph.nodes
        made: Predict = algorithm(
            graphFilename=self._graph.path, output=node, **self._options, **more
        )
        return made


def openl3(graph: Graph) -> Predict:
    """Give OpenL3 as the gist of Essentia's authors has it, a window per call."""
    standard = essentia_standard()
    cut = {"frameSize": OPENL3_WINDOW, "hopSize": OPENL3_WINDOW}
    frames = {"frameSize": OPENL3_FRAME, "hopSize": OPENL3_HOP, "validFrameThresholdRatio": 0.5}
    window = standard.Windowing(size=OPENL3_FRAME, normalized=False)
    spectrum, bands = standard.Spectrum(size=OPENL3_FRAME), _openl3_bands()
    run = _graph_runner(graph, input_node="melspectrogram", is_squeezed=False)

    def embed(y: Float32) -> Float32:
        return np.concatenate([_embed_one(piece) for piece in standard.FrameGenerator(y, **cut)])

    def _embed_one(piece: Float32) -> Float32:
        mel = np.array(
            [bands(spectrum(window(f))) for f in standard.FrameGenerator(piece, **frames)]
        )
        mel_db = 10.0 * np.log10(np.maximum(mel, AMPLITUDE_FLOOR))
        mel_db = np.maximum(mel_db - mel_db.max(), DB_FLOOR)
        (found,) = run(mel_db.T[None, :, :OPENL3_FRAMES, None])
        return found

    return embed


def _openl3_bands() -> Any:
    return essentia_standard().MelBands(
        numberBands=128,
        inputSize=OPENL3_FRAME // 2 + 1,
        sampleRate=48_000,
        lowFrequencyBound=0,
        highFrequencyBound=24_000,
        warpingFormula="slaneyMel",
        weighting="linear",
        normalize="unit_tri",
        type="magnitude",
        log=False,
    )


def spleeter(graph: Graph) -> Predict:
    """Give Spleeter as documented: the waveform goes in, and the graph transforms it."""
    run = _graph_runner(graph, input_node="waveform", is_squeezed=True)
    read = readout(graph.readout).read

    def embed(y: Float32) -> Float32:
        vectors: Float32 = read(run(y.T[:, :, None, None]))
        return vectors

    return embed


def _graph_runner(
    graph: Graph, *, input_node: str, is_squeezed: bool
) -> Callable[[Float32], tuple[Float32, ...]]:
    """Run a graph through a Pool, by arrays of four axes."""
    from essentia import Pool

    nodes = list(graph.nodes)
    predict = essentia_standard().TensorflowPredict(
        graphFilename=graph.path, inputs=[input_node], outputs=nodes, squeeze=is_squeezed
    )

    def run(batch: Float32) -> tuple[Float32, ...]:
        pool = Pool()
        pool.set(input_node, np.ascontiguousarray(batch, np.float32))
        found = predict(pool)
        return tuple(np.array(found[node], np.float32) for node in nodes)

    return run


def graphs_of(job: Mapping[str, Any]) -> list[Graph]:
    """Read the graphs of a job."""
    return [Graph(**values) for values in job["graphs"]]
