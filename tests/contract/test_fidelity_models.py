"""Models end to end, from samples to embeddings, against Essentia's own algorithms.

The graphs have random weights, which hardly tell one input from another: embeddings are so alike
that a cosine would always pass. What is bounded is the relative l2, far below what one frame of
delay makes of it. MusiCNN with its published weights is in test_fidelity.py.

Samples are given at the rate of the model, so that decoding and resampling play no part. Essentia
puts unseeded noise in the place of silent frames, so no clip holds silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedlib
from embedlib.features import spleeter
from embedlib.features.patches import LastPatch
from embedlib.features.readout import readout
from embedlib.models.registry import model_spec
from embedlib.models.store import WeightFile, build
from embedlib.records import Float32

essentia = pytest.importorskip("essentia")
essentia.log.infoActive = False
essentia.log.warningActive = False
es = pytest.importorskip("essentia.standard")
pytest.importorskip("openvino")

NOISE = "noise"
SOURCES = (NOISE, "techno_loop.mp3")

# Measured 4.6e-6 at most over four recordings and noise, on VGGish.
MAX_RELATIVE_L2 = 1e-5


@dataclass(frozen=True)
class Chain:
    """A TensorflowPredict algorithm of Essentia, and the model that should be the same here."""

    algorithm: str
    model: str
    sr_hz: int
    hop_samples: int
    duration_s: float


VGG = Chain("MusiCNN", "msd-vgg-1", 16_000, 256, 6.0)
VGGISH = Chain("VGGish", "audioset-vggish-3", 16_000, 160, 3.5)
TEMPO_CNN = Chain("TempoCNN", "deepsquare-k16-3", 11_025, 512, 18.5)
CHAINS = (VGG, VGGISH, TEMPO_CNN)

OPENL3 = "openl3-music-mel128-emb512-3"
SPLEETER = "spleeter-5s-3"

each_chain = pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.model)
each_source = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    graph_file.cache_clear()


@cache
def graph_file(model: str) -> WeightFile:
    return build(model_spec(model))


def noise(n_samples: int, *, n_channels: int | None = None) -> Float32:
    shape = n_samples if n_channels is None else (n_channels, n_samples)
    return np.random.default_rng(440).uniform(-0.5, 0.5, shape).astype(np.float32)


def mono(source: str, request: pytest.FixtureRequest, *, sr_hz: int, duration_s: float) -> Float32:
    n_samples = int(duration_s * sr_hz)
    if source == NOISE:
        return noise(n_samples)
    path: Path = request.getfixturevalue("shared_audio") / source
    # From the second second on: the first may be silent.
    y: Float32 = es.MonoLoader(filename=str(path), sampleRate=sr_hz)()[sr_hz:]
    return y[:n_samples]


def run_graph(file: WeightFile, model_input: Float32, *, node: str, squeeze: bool) -> list[Float32]:
    """Run a graph in Essentia, which gives four axes per output."""
    (output,) = file.outputs[:1]
    pool = essentia.Pool()
    pool.set(node, model_input)
    predict = es.TensorflowPredict(
        graphFilename=str(file.path), inputs=[node], outputs=list(output.nodes), squeeze=squeeze
    )
    results = predict(pool)
    return [np.array(results[name]) for name in output.nodes]


def ours(y: Float32, *, model: str, sr_hz: int, **options: Any) -> Float32:
    return embedlib.embed(y, model=f"untrained-{model}", sr=sr_hz, **options)


def relative_l2(found: Float32, expected: Float32) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# VGG-I, VGGish and Tempo-CNN have an algorithm of their own.


def end_to_end(chain: Chain, y: Float32, *, last: LastPatch) -> Float32:
    file = graph_file(chain.model)
    (node,), n_dims = file.outputs[0].nodes, file.outputs[0].n_values
    algorithm = getattr(es, f"TensorflowPredict{chain.algorithm}")
    predict = algorithm(graphFilename=str(file.path), output=node, lastPatchMode=last)
    return np.reshape(predict(y), (-1, n_dims))


@each_chain
@each_source
@pytest.mark.parametrize("last", ["discard", "repeat"])
def test_a_clip_gives_the_embeddings_of_essentias_algorithm(
    chain: Chain, source: str, last: LastPatch, request: pytest.FixtureRequest
) -> None:
    y = mono(source, request, sr_hz=chain.sr_hz, duration_s=chain.duration_s)
    found = ours(y, model=chain.model, sr_hz=chain.sr_hz, engine="openvino", last_patch=last)
    assert relative_l2(found, end_to_end(chain, y, last=last)) <= MAX_RELATIVE_L2


@pytest.mark.parametrize("chain", [VGG, TEMPO_CNN], ids=lambda chain: chain.model)
def test_essentias_engine_gives_them_too(chain: Chain) -> None:
    y = noise(int(chain.duration_s * chain.sr_hz))
    found = ours(y, model=chain.model, sr_hz=chain.sr_hz, engine="essentia", last_patch="discard")
    assert relative_l2(found, end_to_end(chain, y, last="discard")) <= MAX_RELATIVE_L2


@each_chain
def test_a_delay_of_one_frame_would_not_pass(chain: Chain) -> None:
    y = noise(int(chain.duration_s * chain.sr_hz))
    late = np.roll(y, chain.hop_samples)
    found = ours(
        late, model=chain.model, sr_hz=chain.sr_hz, engine="openvino", last_patch="discard"
    )
    assert relative_l2(found, end_to_end(chain, y, last="discard")) > 100 * MAX_RELATIVE_L2


# OpenL3 has none: what Essentia's authors do in Python, by Essentia's parts.

# Bands that an encoder left empty hold the rounding of float32, in which any two transforms differ
# by decibels. Measured 2.5e-4 at most over three seconds, 5.1e-4 over ten.
MAX_RELATIVE_L2_OF_SILENT_BANDS = 1e-3

OPENL3_FILES = ("dubstep.wav", "flamenco.mp3", "hiphop.mp3", "long_voice.flac", "techno_loop.mp3")


def openl3_images(y: Float32, *, hop_samples: int) -> Float32:
    """Do as https://gist.github.com/palonso/cfebe37e5492b5a3a31775d8eae8d9a8 does."""
    window, spectrum = es.Windowing(size=2048, normalized=False), es.Spectrum(size=2048)
    bands = es.MelBands(
        numberBands=128,
        inputSize=1025,
        sampleRate=48_000,
        highFrequencyBound=24_000,
        warpingFormula="slaneyMel",
        weighting="linear",
        normalize="unit_tri",
        type="magnitude",
        log=False,
    )
    images = []
    for second in es.FrameGenerator(y, frameSize=48_000, hopSize=hop_samples):
        frames = es.FrameGenerator(
            second, frameSize=2048, hopSize=242, validFrameThresholdRatio=0.5
        )
        amplitudes = np.array([bands(spectrum(window(frame))) for frame in frames])
        mel_db = 10.0 * np.log10(np.maximum(amplitudes, 1e-10))
        images.append(np.maximum(mel_db - mel_db.max(), -80.0).T[..., np.newaxis])
    return np.array(images, np.float32)


def openl3_end_to_end(y: Float32, *, hop_samples: int = 48_000) -> Float32:
    images = openl3_images(y, hop_samples=hop_samples)
    file = graph_file(OPENL3)
    (embeddings,) = run_graph(file, images, node="melspectrogram", squeeze=False)
    return embeddings.reshape(len(images), -1)


@pytest.mark.parametrize("hop_samples", [12_000, 48_000])
def test_noise_gives_the_openl3_of_essentias_parts(hop_samples: int) -> None:
    y = noise(2 * 48_000)
    found = ours(y, model=OPENL3, sr_hz=48_000, patch_hop_frames=hop_samples)
    expected = openl3_end_to_end(y, hop_samples=hop_samples)
    assert relative_l2(found, expected) <= MAX_RELATIVE_L2


@pytest.mark.parametrize("name", OPENL3_FILES)
def test_recordings_give_the_openl3_of_essentias_parts_but_for_the_rounding_of_silent_bands(
    request: pytest.FixtureRequest, name: str
) -> None:
    y = mono(name, request, sr_hz=48_000, duration_s=3.0)
    expected = openl3_end_to_end(y)
    found = ours(y, model=OPENL3, sr_hz=48_000)
    assert relative_l2(found, expected) <= MAX_RELATIVE_L2_OF_SILENT_BANDS


@pytest.mark.parametrize("name", OPENL3_FILES)
def test_noise_below_16_bits_makes_the_openl3_of_recordings_that_of_essentias_parts(
    request: pytest.FixtureRequest, name: str, rng: np.random.Generator
) -> None:
    y = mono(name, request, sr_hz=48_000, duration_s=3.0)
    y += (1e-5 * rng.standard_normal(len(y))).astype(np.float32)  # a third of a step of 16 bits
    # Measured 9.0e-6 at most over three seconds, 1.3e-5 over ten.
    assert relative_l2(ours(y, model=OPENL3, sr_hz=48_000), openl3_end_to_end(y)) <= 3e-5


def test_a_delay_of_one_frame_of_openl3_would_not_pass() -> None:
    y = noise(2 * 48_000)
    found = ours(np.roll(y, 242), model=OPENL3, sr_hz=48_000)
    assert relative_l2(found, openl3_end_to_end(y)) > 10 * MAX_RELATIVE_L2_OF_SILENT_BANDS


# Spleeter takes a whole waveform, and has its transform inside.

# A transform in float32 is 5.7e-6 from one in float64, and the encoders follow.
MAX_RELATIVE_L2_BEHIND_STFT = 2e-5


def stereo(source: str, request: pytest.FixtureRequest, *, n_samples: int) -> Float32:
    if source == NOISE:
        return noise(n_samples, n_channels=2)
    path: Path = request.getfixturevalue("shared_audio") / source
    samples: Float32 = es.AudioLoader(filename=str(path))()[0]
    return np.ascontiguousarray(samples[:n_samples].T)


def spleeter_end_to_end(y: Float32) -> Float32:
    waveform = np.ascontiguousarray(y.T)[:, :, np.newaxis, np.newaxis]
    file = graph_file(SPLEETER)
    pooled = run_graph(file, waveform, node="waveform", squeeze=True)
    bottlenecks = tuple(array.reshape(-1, 8, 16, 512) for array in pooled)
    return readout("spleeter-sum").read(bottlenecks).reshape(-1, 1280)


def leave_out_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read sums as they are: the logarithm of the recipe has a pole at 0 and jumps there."""
    monkeypatch.setattr(spleeter, "_signed_log10", lambda sums: sums)


@pytest.mark.parametrize(
    ("source", "n_samples"),
    [(NOISE, 512 * 1024), (NOISE, 600_000), ("dubstep.wav", 300_000), ("flamenco.mp3", 600_000)],
)
def test_a_waveform_gives_the_bottlenecks_of_spleeters_own_transform(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, source: str, n_samples: int
) -> None:
    leave_out_logarithm(monkeypatch)
    y = stereo(source, request, n_samples=n_samples)
    found = ours(y, model=SPLEETER, sr_hz=44_100)
    assert relative_l2(found, spleeter_end_to_end(y)) <= MAX_RELATIVE_L2_BEHIND_STFT


@pytest.mark.parametrize("source", [NOISE, "dubstep.wav"])
def test_a_vector_of_spleeter_is_off_by_what_its_logarithm_makes_of_rounding(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    y = stereo(source, request, n_samples=300_000)
    off = np.abs(ours(y, model=SPLEETER, sr_hz=44_100) - spleeter_end_to_end(y))
    leave_out_logarithm(monkeypatch)
    sums = np.abs(spleeter_end_to_end(y))
    # The slope of the logarithm is one over the sum. Measured 2.6e-5, while the relative l2 of the
    # vectors is 2.5e-3 here, and 4e-2 over a clip in which one sum of 20,000 changes its sign.
    assert (off * sums).max() <= 1e-4 * np.sqrt((sums**2).mean())


def test_a_delay_of_one_frame_of_spleeter_would_not_pass(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = stereo(NOISE, request, n_samples=512 * 1024)
    late = np.roll(y, 1024, axis=1)
    vectors = ours(late, model=SPLEETER, sr_hz=44_100)
    assert relative_l2(vectors, spleeter_end_to_end(y)) > 0.1
    leave_out_logarithm(monkeypatch)
    bottlenecks = ours(late, model=SPLEETER, sr_hz=44_100)
    found = relative_l2(bottlenecks, spleeter_end_to_end(y))
    assert found > 100 * MAX_RELATIVE_L2_BEHIND_STFT
