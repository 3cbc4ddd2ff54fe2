"""OpenL3's inputs against Essentia's own algorithms, configured as the two sources have them.

Decibels are compared above -45 dB. As dB of an amplitude with the factor 10, -70 dB is the
rounding of float32, about which any two transforms differ; there Essentia, too, is that far from
float64. The last tests put small errors in on purpose and show that the bound catches them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedlib.features import openl3
from embedlib.features.mel import MelBands, mel_filterbank
from embedlib.features.patches import PatchCutter, PatchRule
from embedlib.records import Float32

pytest.importorskip("essentia")

FILES = ("dubstep.wav", "flamenco.mp3", "hiphop.mp3", "long_voice.flac", "techno_loop.mp3")
COMPARED_DB = -45.0
MAX_DIFFERENCE_DB = 0.005
SEMITONES = 2.0 ** (np.arange(60) / 12)

Make = Callable[[Float32], Float32]


def mel_bands(*, warping: str, normalize: str) -> Any:
    import essentia.standard as es

    return es.MelBands(
        numberBands=128,
        inputSize=1025,
        sampleRate=48000,
        lowFrequencyBound=0,
        highFrequencyBound=24000,
        warpingFormula=warping,
        weighting="linear",
        normalize=normalize,
        type="magnitude",
        log=False,
    )


def gist_amplitudes(y: Float32) -> Float32:
    import essentia.standard as es

    window, spectrum = es.Windowing(size=2048, normalized=False), es.Spectrum(size=2048)
    bands = mel_bands(warping="slaneyMel", normalize="unit_tri")
    frames = es.FrameGenerator(y, frameSize=2048, hopSize=242, validFrameThresholdRatio=0.5)
    return np.array([bands(spectrum(window(frame))) for frame in frames])


def paper_amplitudes(y: Float32) -> Float32:
    import essentia.standard as es

    window = es.Windowing(size=2048, normalized=False, zeroPhase=False)
    spectrum = es.Spectrum(size=2048)
    bands = mel_bands(warping="htkMel", normalize="unit_sum")
    frames = es.FrameGenerator(np.pad(y, 982), frameSize=2048, hopSize=242, startFromZero=True)
    return np.sqrt(np.array([bands(spectrum(window(frame)) ** 2) for frame in frames]))


REFERENCES = {openl3.gist: gist_amplitudes, openl3.paper: paper_amplitudes}


def reference(y: Float32, make: Make) -> Float32:
    mel_db = 10.0 * np.log10(np.maximum(REFERENCES[make](y), 1e-10))
    mel_db -= mel_db.max()
    return np.maximum(mel_db, -80.0).T[..., np.newaxis]


def windows(y: Float32, *, hop_samples: int) -> Float32:
    import essentia.standard as es

    return np.array(list(es.FrameGenerator(y, frameSize=48000, hopSize=hop_samples)))


def max_difference_db(ours: Float32, theirs: Float32) -> float:
    assert ours.shape == theirs.shape == (128, 199, 1)
    return float(np.abs(ours - theirs)[theirs > COMPARED_DB].max())


def chord(rng: np.random.Generator) -> Float32:
    """Five octaves of semitones over a little noise: every band has something to tell."""
    phases = 2 * np.pi * np.outer(np.arange(48000) / 48000, 220.0 * SEMITONES)
    y = np.sin(phases).mean(axis=1) + 0.01 * rng.standard_normal(48000)
    return y.astype(np.float32)


each_recipe = pytest.mark.parametrize("make", list(REFERENCES))


@each_recipe
@pytest.mark.parametrize("name", FILES)
def test_real_audio_gives_essentias_decibels(shared_audio: Path, name: str, make: Make) -> None:
    import essentia.standard as es

    y = es.MonoLoader(filename=str(shared_audio / name), sampleRate=48000)()
    cut = windows(y, hop_samples=48000)
    for window in cut[[0, len(cut) // 2, -1]]:  # half zeros, full, and whatever the end gives
        difference_db = max_difference_db(make(window[:, None]), reference(window, make))
        assert difference_db <= MAX_DIFFERENCE_DB


@each_recipe
def test_synthetic_audio_gives_essentias_decibels(make: Make, rng: np.random.Generator) -> None:
    y = chord(rng)
    assert max_difference_db(make(y[:, None]), reference(y, make)) <= MAX_DIFFERENCE_DB


@each_recipe
@pytest.mark.parametrize("level", [0.0, 1e-15, 1e-9])
def test_silence_and_near_silence_give_what_essentia_gives(
    make: Make, level: float, rng: np.random.Generator
) -> None:
    y = (level * rng.standard_normal(48000)).astype(np.float32)
    assert max_difference_db(make(y[:, None]), reference(y, make)) <= MAX_DIFFERENCE_DB


@each_recipe
def test_below_the_rounding_of_float32_we_are_as_exact_as_essentia(
    make: Make, rng: np.random.Generator
) -> None:
    y = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000).astype(np.float32)
    exact = in_float64(y, make)
    ours = np.linalg.norm(make(y[:, None]) - exact)
    assert ours <= 1.5 * np.linalg.norm(reference(y, make) - exact)


def in_float64(y: Float32, make: Make) -> np.ndarray:
    is_gist = make is openl3.gist
    lead_samples, bands = (1024, openl3.GIST_BANDS) if is_gist else (982, openl3.PAPER_BANDS)
    padded = np.pad(y.astype(np.float64), (lead_samples, 1964 - lead_samples))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::242]
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(2048)))
    filterbank = mel_filterbank(bands, n_fft=2048, sr_hz=48000).astype(np.float64).T
    amplitudes = magnitudes @ filterbank if is_gist else np.sqrt(magnitudes**2 @ filterbank)
    mel_db = 10.0 * np.log10(np.maximum(amplitudes, 1e-10))
    return np.maximum(mel_db - mel_db.max(), -80.0).T[..., np.newaxis]


@pytest.mark.parametrize("hop_samples", [12000, 48000])
@pytest.mark.parametrize("n_samples", [1, 12000, 24000, 24001, 48000, 72000, 72001, 144000, 187531])
def test_windows_are_those_of_essentias_frame_generator(
    n_samples: int, hop_samples: int, rng: np.random.Generator
) -> None:
    y = rng.standard_normal(n_samples).astype(np.float32)
    cutter = PatchCutter(PatchRule(48000, hop_samples, "centred"))
    ours = [*cutter.push(y[:, None]), *cutter.finish()[0]]
    theirs = windows(y, hop_samples=hop_samples)
    np.testing.assert_array_equal(np.array(ours)[..., 0], theirs)


@pytest.mark.parametrize(
    ("make", "constant"),
    [(openl3.gist, "GIST_LEAD_SAMPLES"), (openl3.paper, "PAPER_LEAD_SAMPLES")],
)
@pytest.mark.parametrize("error_samples", [-20, 20])
def test_frames_that_start_a_tenth_of_a_hop_off_are_seen(
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    constant: str,
    error_samples: int,
    rng: np.random.Generator,
) -> None:
    theirs = reference(y := chord(rng), make)
    right = make(y[:, None])
    monkeypatch.setattr(openl3, constant, getattr(openl3, constant) + error_samples)
    shifted = make(y[:, None])
    assert max_difference_db(right, theirs) <= MAX_DIFFERENCE_DB
    assert max_difference_db(shifted, theirs) > 10 * MAX_DIFFERENCE_DB


@pytest.mark.parametrize(
    ("make", "constant", "bands"),
    [
        (openl3.gist, "GIST_BANDS", MelBands(128, 0.0, 24000.0, scale="htk")),
        (openl3.gist, "GIST_BANDS", MelBands(128, 0.0, 24000.0, norm="unit_sum")),
        (openl3.gist, "GIST_BANDS", MelBands(128, 0.0, 23900.0)),
        (openl3.paper, "PAPER_BANDS", MelBands(128, 0.0, 24000.0, norm="unit_sum")),
        (openl3.paper, "PAPER_BANDS", MelBands(128, 0.0, 24000.0, scale="htk")),
    ],
)
def test_other_bands_are_seen(
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    constant: str,
    bands: MelBands,
    rng: np.random.Generator,
) -> None:
    y = chord(rng)
    monkeypatch.setattr(openl3, constant, bands)
    assert max_difference_db(make(y[:, None]), reference(y, make)) > 10 * MAX_DIFFERENCE_DB


def test_the_two_inputs_are_not_the_same(rng: np.random.Generator) -> None:
    y = chord(rng)[:, None]
    assert max_difference_db(openl3.gist(y), openl3.paper(y)) > 1.0
