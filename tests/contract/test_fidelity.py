"""Our embeddings against Essentia run end to end, on real audio with the real MSD MusiCNN.

The bounds are those of ARCHITECTURE.md ("Fidelity"). The last tests put an error of one mel band
and of one frame in on purpose, and show that the bounds catch it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import embedlib
from embedlib.engines.engine import GraphSpec
from embedlib.engines.load import load_engine
from embedlib.features import log_mel, musicnn
from embedlib.features.frames import FrameCutter, Framing
from embedlib.records import Float32

pytest.importorskip("essentia")

FILES = (
    "dubstep.aac",
    "dubstep.flac",
    "dubstep.mp3",
    "dubstep.ogg",
    "dubstep.wav",
    "flamenco.mp3",
    "hiphop.mp3",
    "long_voice.flac",
    "techno_loop.mp3",
)
NODE = "model/dense/BiasAdd"
MODEL = "msd-musicnn-1"
MIN_COSINE = 0.998
REFERENCE_SETTINGS = {"engine": "essentia", "resampler": "essentia-q1"}


@pytest.fixture(scope="module")
def weights(shared_models: Path) -> str:
    return str(shared_models / "msd-musicnn-1.pb")


@cache
def documented_loop(path: Path, weights: str, *, quality: int) -> Float32:
    """What Essentia's documentation says: MonoLoader, then TensorflowPredictMusiCNN."""
    import essentia.standard as es

    audio = es.MonoLoader(filename=str(path), sampleRate=16000, resampleQuality=quality)()
    predict = es.TensorflowPredictMusiCNN(graphFilename=weights, output=NODE)
    return np.asarray(predict(audio), dtype=np.float32)


def relative_l2(ours: Float32, theirs: Float32) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def min_cosine(ours: Float32, theirs: Float32) -> float:
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: NDArray[np.float32] = (ours * theirs).sum(axis=1) / norms
    return float(cosines.min())


@pytest.mark.parametrize("name", FILES)
def test_the_default_path_is_close_to_essentia_at_its_best_resampling(
    shared_audio: Path, weights: str, name: str
) -> None:
    ours = embedlib.embed(shared_audio / name, model=MODEL, weights=weights)
    theirs = documented_loop(shared_audio / name, weights, quality=0)
    assert ours.shape == theirs.shape
    assert min_cosine(ours, theirs) >= MIN_COSINE


@pytest.mark.parametrize("name", FILES)
def test_essentias_own_parts_give_essentias_own_numbers(
    shared_audio: Path, weights: str, name: str
) -> None:
    ours = embedlib.embed(
        shared_audio / name, model=MODEL, weights=weights, decoder="essentia", **REFERENCE_SETTINGS
    )
    theirs = documented_loop(shared_audio / name, weights, quality=1)
    assert ours.shape == theirs.shape
    assert relative_l2(ours, theirs) <= 1e-5


@pytest.mark.parametrize("name", FILES)
def test_our_decoder_differs_from_essentias_by_its_16_bits_only(
    shared_audio: Path, weights: str, name: str
) -> None:
    ours = embedlib.embed(shared_audio / name, model=MODEL, weights=weights, **REFERENCE_SETTINGS)
    theirs = documented_loop(shared_audio / name, weights, quality=1)
    assert ours.shape == theirs.shape
    assert relative_l2(ours, theirs) <= 3e-4


@pytest.mark.parametrize("batch_size", [1, 16])
def test_openvino_gives_the_numbers_of_essentias_tensorflow(
    weights: str, batch_size: int, rng: np.random.Generator
) -> None:
    patches = rng.uniform(0, 4, size=(batch_size, 187, 96)).astype(np.float32)
    graph = GraphSpec(
        Path(weights), "model/Placeholder", (NODE, "model/Sigmoid"), (187, 96), batch_size
    )
    ours = load_engine("openvino", graph)(patches)
    theirs = load_engine("essentia", graph)(patches)
    assert [output.shape for output in ours] == [(batch_size, 200), (batch_size, 50)]
    assert all(relative_l2(a, b) <= 1e-5 for a, b in zip(ours, theirs, strict=True))


def test_essentias_default_resampling_would_not_pass(shared_audio: Path, weights: str) -> None:
    best = documented_loop(shared_audio / "dubstep.wav", weights, quality=0)
    default = documented_loop(shared_audio / "dubstep.wav", weights, quality=1)
    assert min_cosine(default, best) < 0.97


def test_an_error_of_one_mel_band_would_not_pass(
    shared_audio: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted = log_mel._filterbank(musicnn.RECIPE)[[*range(1, 96), 95]]
    monkeypatch.setattr(log_mel, "_filterbank", lambda _: shifted)
    theirs = documented_loop(shared_audio / "dubstep.wav", weights, quality=1)
    default = embedlib.embed(shared_audio / "dubstep.wav", model=MODEL, weights=weights)
    reference = embedlib.embed(
        shared_audio / "dubstep.wav", model=MODEL, weights=weights, **REFERENCE_SETTINGS
    )
    assert min_cosine(default, theirs) < MIN_COSINE
    assert relative_l2(reference, theirs) > 0.01


def test_an_error_of_one_frame_would_not_pass(
    shared_audio: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateCutter(FrameCutter):
        def __init__(self, framing: Framing) -> None:
            super().__init__(framing)
            self._pending = np.zeros(framing.lead_samples - framing.hop_samples, np.float32)

    monkeypatch.setattr(log_mel, "FrameCutter", LateCutter)
    path = shared_audio / "dubstep.wav"
    reference = embedlib.embed(path, model=MODEL, weights=weights, **REFERENCE_SETTINGS)
    theirs = documented_loop(path, weights, quality=1)
    assert relative_l2(reference, theirs) > 0.01
    default = embedlib.embed(path, model=MODEL, weights=weights)
    assert min_cosine(default, documented_loop(path, weights, quality=0)) < MIN_COSINE
