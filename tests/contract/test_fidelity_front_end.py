"""The front end and the patch rules against Essentia, run as its users run it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedlib.features.frames import FrameCutter, Framing
from embedlib.features.front_end import front_end
from embedlib.features.patches import LastPatch, PatchCutter, PatchRule, n_patches_of_samples

essentia = pytest.importorskip("essentia")
essentia.log.infoActive = False
essentia.log.warningActive = False
es = pytest.importorskip("essentia.standard")
streaming = pytest.importorskip("essentia.streaming")

MUSICNN = front_end("musicnn-mel")
# Measured 1.4e-6 at most; band edges without Essentia's float32 rounding would give 1.5e-5.
MAX_RELATIVE_L2 = 1e-5
AUDIO = [
    "dubstep.aac",
    "dubstep.flac",
    "dubstep.mp3",
    "dubstep.ogg",
    "dubstep.wav",
    "flamenco.mp3",
    "hiphop.mp3",
    "long_voice.flac",
    "techno_loop.mp3",
]


def relative_l2(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def mel(y: np.ndarray) -> np.ndarray:
    stream = MUSICNN.stream()
    return np.concatenate([stream.push(y), stream.flush()])


@cache
def essentia_mel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    y = es.MonoLoader(filename=str(path), sampleRate=MUSICNN.sr_hz)()
    band_energies = es.TensorflowInputMusiCNN()
    frames = es.FrameGenerator(y, frameSize=512, hopSize=256)
    return y, np.array([band_energies(frame) for frame in frames])


@pytest.mark.parametrize("name", AUDIO)
def test_mel_frames_of_real_audio_are_those_of_essentia(shared_audio: Path, name: str) -> None:
    y, theirs = essentia_mel(shared_audio / name)
    ours = mel(y)
    assert ours.shape == theirs.shape
    assert relative_l2(ours, theirs) <= MAX_RELATIVE_L2


@pytest.mark.parametrize("axis", [0, 1], ids=["one frame late", "one band up"])
def test_the_bound_would_notice_a_shift(shared_audio: Path, axis: int) -> None:
    y, theirs = essentia_mel(shared_audio / "flamenco.mp3")
    shifted = np.roll(mel(y), 1, axis=axis)
    assert relative_l2(shifted, theirs) > 1000 * MAX_RELATIVE_L2


@pytest.mark.parametrize("axis", [0, 1], ids=["a frame", "a band"])
def test_the_bound_would_notice_a_single_error(shared_audio: Path, axis: int) -> None:
    y, theirs = essentia_mel(shared_audio / "hiphop.mp3")
    wrong = mel(y)
    place = tuple(50 if i == axis else slice(None) for i in (0, 1))
    wrong[place] = 0.0
    assert relative_l2(wrong, theirs) > 10 * MAX_RELATIVE_L2


@pytest.mark.parametrize(
    ("frame_samples", "hop_samples"), [(512, 256), (400, 160), (1024, 512), (7, 3), (6, 4)]
)
def test_frames_of_any_length_are_those_of_essentia(
    rng: np.random.Generator, frame_samples: int, hop_samples: int
) -> None:
    framing = Framing(frame_samples=frame_samples, hop_samples=hop_samples)
    for n_samples in [*range(1, 30), *range(240, 2300, 97), 255, 256, 257, 511, 512, 513]:
        y = rng.uniform(-1, 1, n_samples).astype(np.float32)
        cutter = FrameCutter(framing)
        ours = np.concatenate([cutter.push(y), cutter.flush()])
        theirs = list(es.FrameGenerator(y, frameSize=frame_samples, hopSize=hop_samples))
        np.testing.assert_array_equal(ours, np.array(theirs), err_msg=f"n_samples={n_samples}")


def essentia_patches(frames: np.ndarray, rule: PatchRule) -> np.ndarray:
    pool = essentia.Pool()
    source = streaming.VectorInput(frames)
    to_tensor = streaming.VectorRealToTensor(
        shape=[1, 1, rule.patch_frames, frames.shape[1]],
        patchHopSize=rule.hop_frames,
        lastPatchMode=rule.last,
    )
    to_frames = streaming.TensorToVectorReal()
    source.data >> to_tensor.frame
    to_tensor.tensor >> to_frames.tensor
    to_frames.frame >> (pool, "frames")
    essentia.run(source)
    found = pool["frames"] if pool.containsKey("frames") else np.zeros((0, frames.shape[1]))
    return np.reshape(found, (-1, rule.patch_frames, frames.shape[1]))


@pytest.mark.parametrize("last", ["discard", "repeat"])
@pytest.mark.parametrize("hop_frames", [1, 4, 10])
@pytest.mark.parametrize("n_frames", [1, 3, 9, 10, 11, 13, 14, 20, 23])
def test_discard_and_repeat_give_the_patches_of_essentia(
    rng: np.random.Generator, last: LastPatch, hop_frames: int, n_frames: int
) -> None:
    rule = PatchRule(patch_frames=10, hop_frames=hop_frames, last=last)
    frames = rng.random((n_frames, 3), dtype=np.float32)
    cutter = PatchCutter(rule)
    ours = np.concatenate([cutter.push(frames), cutter.finish()[0]])
    np.testing.assert_array_equal(ours, essentia_patches(frames, rule))


@pytest.fixture(scope="module")
def predictors(shared_models: Path) -> dict[str, Any]:
    weights = shared_models / "msd-musicnn-1.pb"
    if not weights.is_file():
        pytest.skip("needs the real msd-musicnn-1.pb")
    return {
        last: es.TensorflowPredictMusiCNN(
            graphFilename=str(weights),
            output="model/dense/BiasAdd",
            batchSize=1,
            lastPatchMode=last,
        )
        for last in ("discard", "repeat")
    }


@pytest.mark.parametrize("last", ["discard", "repeat"])
@pytest.mark.parametrize("n_samples", [1, 20000, 47360, 47361, 48000, 71168, 71169])
def test_a_track_has_as_many_patches_as_tensorflowpredictmusicnn_gives(
    predictors: dict[str, Any], rng: np.random.Generator, last: LastPatch, n_samples: int
) -> None:
    y = rng.uniform(-1, 1, n_samples).astype(np.float32)
    theirs = len(predictors[last](y))
    assert n_patches_of_samples(n_samples, rule=PatchRule(last=last), front_end=MUSICNN) == theirs
