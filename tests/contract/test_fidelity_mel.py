"""The mel front ends and patch inputs against Essentia, run as its users run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from embedlib.features import maest, tempocnn
from embedlib.features.log_mel import MelFrontEnd, MelStream
from embedlib.features.mel import MelBands, MelScale, Norm, Slopes, mel_filterbank
from embedlib.features.musicnn import MusicnnFrontEnd
from embedlib.features.sinet import SinetFrontEnd
from embedlib.features.tempocnn import PaddedTempoCnnFrontEnd, TempoCnnFrontEnd
from embedlib.features.vggish import VggishFrontEnd

essentia = pytest.importorskip("essentia")
essentia.log.infoActive = False
essentia.log.warningActive = False
es = pytest.importorskip("essentia.standard")

VGGISH, TEMPOCNN, SINET = VggishFrontEnd(), TempoCnnFrontEnd(), SinetFrontEnd()
ALGORITHMS = {
    VGGISH: "TensorflowInputVGGish",
    TEMPOCNN: "TensorflowInputTempoCNN",
    SINET: "TensorflowInputFSDSINet",
}
# Measured 1.0e-5 on the chirp, whose empty bands hold the rounding of the transform, and 3.1e-6
# at most on the recordings.
MAX_RELATIVE_L2 = 2e-5
# Measured 7.7e-6, on noise, which fills all bands.
MAX_ABSOLUTE = 5e-5
AUDIO = ["flamenco.mp3", "hiphop.mp3", "long_voice.flac", "techno_loop.mp3"]

each_front_end = pytest.mark.parametrize("front_end", ALGORITHMS, ids=lambda each: each.name)


def relative_l2(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def mel(front_end: MelFrontEnd, y: np.ndarray) -> np.ndarray:
    stream = front_end.stream()
    return np.concatenate([stream.push(y), stream.flush()])


def mel_as_it_is(front_end: MelFrontEnd, y: np.ndarray) -> np.ndarray:
    """Frames without what a front end does to a whole clip, as TensorflowInput* gives them."""
    stream = MelStream(front_end.recipe)
    return np.concatenate([stream.push(y), stream.flush()])


def frame_generator(front_end: MelFrontEnd, y: np.ndarray) -> Any:
    return es.FrameGenerator(y, frameSize=front_end.frame_samples, hopSize=front_end.hop_samples)


def essentia_mel(front_end: MelFrontEnd, y: np.ndarray) -> np.ndarray:
    algorithm = getattr(es, ALGORITHMS[front_end])()
    return np.array([algorithm(frame) for frame in frame_generator(front_end, y)])


@cache
def load(path: Path, sr_hz: int) -> np.ndarray:
    return es.MonoLoader(filename=str(path), sampleRate=sr_hz)()


def noise(front_end: MelFrontEnd, *, duration_s: float = 2.0) -> np.ndarray:
    n_samples = int(duration_s * front_end.sr_hz)
    return np.random.default_rng(440).uniform(-1, 1, n_samples).astype(np.float32)


def chirp(front_end: MelFrontEnd) -> np.ndarray:
    cycles_per_sample = np.linspace(0.0, 0.5, 5 * front_end.sr_hz)
    return 0.5 * np.sin(2 * np.pi * np.cumsum(cycles_per_sample)).astype(np.float32)


@each_front_end
@pytest.mark.parametrize("name", AUDIO)
def test_frames_of_real_audio_are_those_of_essentia(
    shared_audio: Path, front_end: MelFrontEnd, name: str
) -> None:
    y = load(shared_audio / name, front_end.sr_hz)
    ours, theirs = mel_as_it_is(front_end, y), essentia_mel(front_end, y)
    assert ours.shape == theirs.shape
    assert relative_l2(ours, theirs) <= MAX_RELATIVE_L2


@each_front_end
@pytest.mark.parametrize("signal", [noise, chirp])
def test_frames_of_noise_and_of_a_chirp_are_those_of_essentia(
    front_end: MelFrontEnd, signal: Any
) -> None:
    y = signal(front_end)
    ours, theirs = mel_as_it_is(front_end, y), essentia_mel(front_end, y)
    assert relative_l2(ours, theirs) <= MAX_RELATIVE_L2


@each_front_end
def test_no_value_of_noise_is_far_from_that_of_essentia(front_end: MelFrontEnd) -> None:
    y = noise(front_end)
    ours, theirs = mel_as_it_is(front_end, y), essentia_mel(front_end, y)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=MAX_ABSOLUTE)


@each_front_end
def test_silence_is_exactly_that_of_essentia(front_end: MelFrontEnd) -> None:
    y = np.zeros(front_end.sr_hz, np.float32)
    np.testing.assert_array_equal(mel(front_end, y), essentia_mel(front_end, y))


@each_front_end
@pytest.mark.parametrize("axis", [0, 1], ids=["one frame late", "one band up"])
def test_the_bound_would_notice_a_shift(front_end: MelFrontEnd, axis: int) -> None:
    y = chirp(front_end)
    shifted = np.roll(mel_as_it_is(front_end, y), 1, axis=axis)
    assert relative_l2(shifted, essentia_mel(front_end, y)) > 1000 * MAX_RELATIVE_L2


@each_front_end
@pytest.mark.parametrize("axis", [0, 1], ids=["a frame", "a band"])
def test_the_bound_would_notice_a_single_error(front_end: MelFrontEnd, axis: int) -> None:
    y = noise(front_end)
    wrong = mel_as_it_is(front_end, y)
    place = tuple(20 if i == axis else slice(None) for i in (0, 1))
    wrong[place] *= 1.01
    assert relative_l2(wrong, essentia_mel(front_end, y)) > 10 * MAX_RELATIVE_L2


@each_front_end
def test_a_track_of_any_length_has_as_many_frames_as_essentia_gives(
    front_end: MelFrontEnd,
) -> None:
    around_a_frame = range(front_end.frame_samples - 2, front_end.frame_samples + 3)
    for n_samples in [*range(1, 12), *around_a_frame, *range(240, 9000, 97), 22050]:
        theirs = len(list(frame_generator(front_end, np.ones(n_samples, np.float32))))
        assert front_end.n_frames(n_samples) == theirs, f"n_samples={n_samples}"


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("slopes", ["linear", "warped"])
@pytest.mark.parametrize("norm", ["unit_tri", "unit_max", "unit_sum"])
def test_filterbanks_of_every_kind_are_those_of_melbands(
    scale: MelScale, slopes: Slopes, norm: Norm
) -> None:
    bands = MelBands(40, fmin_hz=125.0, fmax_hz=7500.0, scale=scale, slopes=slopes, norm=norm)
    ours = mel_filterbank(bands, n_fft=1024, sr_hz=16000)
    mel_bands = es.MelBands(
        inputSize=513,
        numberBands=40,
        sampleRate=16000,
        lowFrequencyBound=125,
        highFrequencyBound=7500,
        warpingFormula=f"{scale}Mel",
        weighting={"linear": "linear", "warped": "warping"}[slopes],
        normalize=norm,
        type="magnitude",
    )
    theirs = np.array([mel_bands(single_bin) for single_bin in np.eye(513, dtype=np.float32)]).T
    # Measured 1.5e-5 where warped Slaney bands have unit area: there, and only there, Essentia
    # has another rounding of HTK's constant.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * theirs.max())


def test_standardised_patches_are_those_of_tensornormalize(rng: np.random.Generator) -> None:
    patch = rng.gamma(2.0, 3.0, (256, 40)).astype(np.float32)
    theirs = es.TensorNormalize(scaler="standard")(patch[None, None])[0, 0]
    # Essentia adds up 10,240 values in float32; measured 2.1e-6.
    np.testing.assert_allclose(tempocnn.standardise(patch)[..., 0].T, theirs, atol=1e-5)


def test_patches_of_maest_are_scaled_to_the_last_bit_as_essentia_does(
    rng: np.random.Generator,
) -> None:
    patch = 5 * rng.random((100, 96), dtype=np.float32)
    shift = es.UnaryOperator(shift=-2.06755686098554)
    scale = es.UnaryOperator(scale=1.0 / (2 * 1.268292820667291))
    theirs = np.array([scale(shift(row)) for row in patch])
    np.testing.assert_array_equal(maest.normalise(patch), theirs)


@dataclass(frozen=True)
class Chain:
    """A TensorflowPredict algorithm of Essentia, and what should be the same here."""

    algorithm: str
    front_end: MelFrontEnd
    input_node: str
    patch_frames: int
    hop_frames: int
    make_input: Callable[[np.ndarray], np.ndarray] = np.ascontiguousarray


CHAINS = [
    Chain("VGGish", VGGISH, "model/Placeholder", 96, 93),
    Chain("TempoCNN", TEMPOCNN, "input", 256, 128, tempocnn.standardise),
    Chain("FSDSINet", SINET, "x", 101, 50),
    Chain("EffnetDiscogs", MusicnnFrontEnd(), "serving_default_melspectrogram", 128, 62),
    Chain("MAEST", MusicnnFrontEnd(), "melspectrogram", 1876, 1875, maest.normalise),
]


def write_flattening_graph(path: Path, *, input_node: str, n_values: int) -> None:
    """Write a graph whose output ``flat`` is its input, so that predictions show the patches."""
    graph = GraphDef()
    placeholder = graph.node.add(op="Placeholder", name=input_node)
    placeholder.attr["dtype"].type = 1
    placeholder.attr["shape"].shape.unknown_rank = True
    shape = graph.node.add(op="Const", name="shape")
    shape.attr["dtype"].type = shape.attr["value"].tensor.dtype = 3
    shape.attr["value"].tensor.tensor_shape.dim.add(size=4)
    shape.attr["value"].tensor.int_val.extend([-1, 1, 1, n_values])
    flat = graph.node.add(op="Reshape", name="flat", input=[input_node, "shape"])
    flat.attr["T"].type, flat.attr["Tshape"].type = 1, 3
    path.write_bytes(graph.SerializeToString(deterministic=True))


def patches_of(chain: Chain, y: np.ndarray) -> np.ndarray:
    frames = mel(chain.front_end, y)
    starts = range(0, len(frames) - chain.patch_frames + 1, chain.hop_frames)
    patches = [chain.make_input(frames[start : start + chain.patch_frames]) for start in starts]
    return np.array(patches).reshape(len(starts), -1)


def essentia_patches(chain: Chain, y: np.ndarray, folder: Path) -> np.ndarray:
    n_values = chain.patch_frames * chain.front_end.n_bands
    write_flattening_graph(folder / "flat.pb", input_node=chain.input_node, n_values=n_values)
    predict = getattr(es, f"TensorflowPredict{chain.algorithm}")(
        graphFilename=str(folder / "flat.pb"), input=chain.input_node, output="flat"
    )
    return np.reshape(predict(y), (-1, n_values))


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.algorithm)
def test_what_the_model_sees_is_what_tensorflowpredict_feeds_it(
    tmp_path: Path, chain: Chain
) -> None:
    duration_s = 2.5 * chain.patch_frames * chain.front_end.hop_samples / chain.front_end.sr_hz
    # An offset and a rising level, which the normalisation of a clip or patch must get right.
    y = noise(chain.front_end, duration_s=duration_s)
    y = np.linspace(0.1, 0.8, len(y), dtype=np.float32) * y + np.float32(0.1)
    ours, theirs = patches_of(chain, y), essentia_patches(chain, y, tmp_path)
    assert ours.shape == theirs.shape
    assert relative_l2(ours, theirs) <= MAX_RELATIVE_L2


def predict(
    weights: Path, *, nodes: tuple[str, str], model_input: np.ndarray, squeeze: bool
) -> np.ndarray:
    if not weights.is_file():
        pytest.skip(f"needs the real {weights.name}")
    input_node, output_node = nodes
    pool = essentia.Pool()
    pool.set(input_node, model_input)
    model = es.TensorflowPredict(
        graphFilename=str(weights),
        inputs=[input_node],
        outputs=[output_node],
        squeeze=squeeze,
    )
    return model(pool)[output_node].reshape(len(model_input), -1)


def test_tempo_cnn_hears_125_bpm_in_the_techno_loop(
    shared_audio: Path, shared_models: Path
) -> None:
    y = load(shared_audio / "techno_loop.mp3", TEMPOCNN.sr_hz)
    model_input = patches_of(CHAINS[1], y).reshape(-1, 40, 256, 1)
    weights = shared_models / "deeptemp_k16.pb"
    nodes = ("input", "output")
    tempi = predict(weights, nodes=nodes, model_input=model_input, squeeze=False).mean(axis=0)
    # Class 0 is 30 BPM. Essentia's own test expects 0.9647 of the same loop as a wav file.
    assert 30 + tempi.argmax() == 125
    assert tempi[95] == pytest.approx(0.9646, abs=0.002)


def test_a_vggish_of_essentias_own_tests_gives_what_they_expect(
    shared_audio: Path, shared_models: Path
) -> None:
    y = load(shared_audio / "hiphop.mp3", VGGISH.sr_hz)
    without_overlap = Chain("VGGish", VGGISH, "model/Placeholder", 96, 96)
    model_input = patches_of(without_overlap, y).reshape(-1, 1, 96, 64)
    weights = shared_models / "small_vggish_init.pb"
    nodes = ("model/Placeholder", "model/Sigmoid")
    ours = predict(weights, nodes=nodes, model_input=model_input, squeeze=True)
    theirs = es.TensorflowPredictVGGish(graphFilename=str(weights), patchHopSize=0)(y)
    # The expected values are of the original VGGish front end, hence the tolerance of 1e-2.
    assert ours.mean(axis=0) == pytest.approx([0.49044, 0.50241], abs=1e-2)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_audio_below_30_s_is_filled_up_as_the_code_of_the_paper_did() -> None:
    y = noise(TEMPOCNN, duration_s=12.3)
    # xaviliz/musicnn-training, src/feature_tempocnn.py at commit 69076ab.
    padding = 11025 * 30 - len(y)
    right = np.zeros(padding // 2, np.float32)
    left = np.zeros(padding - len(right), np.float32)
    theirs = essentia_mel(TEMPOCNN, np.hstack([left, y, right]))
    ours = mel(PaddedTempoCnnFrontEnd(), y)
    assert ours.shape == theirs.shape
    assert relative_l2(ours, theirs) <= MAX_RELATIVE_L2
