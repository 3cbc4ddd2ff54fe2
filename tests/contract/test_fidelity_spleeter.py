"""Spleeter's input against the short-time transform of a whole track, by SciPy.

Deezer's code transforms the track (frames of 4096, 1024 apart, periodic Hann, the end filled up)
and then cuts pieces of 512 frames. Here patches of samples are cut first. The last tests put an
error of one frame, one bin and one sample of the window in, and show that the bound catches it.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from embedlib.features import spleeter
from embedlib.features.patches import PatchCutter, PatchRule
from embedlib.records import Float32

RULE = PatchRule(patch_frames=527_360, hop_frames=524_288, last="pad")
MAX_RELATIVE_L2 = 1e-6
SECONDS_30 = 30 * 44100


def whole_track(y: Float32) -> NDArray[np.float64]:
    """Magnitudes (n_patches, 512, 1024, 2) of samples (n_samples, 2), with zeros to fill up."""
    n_frames = -(-len(y) // 1024)
    padded = np.pad(y.astype(np.float64), ((0, 4096), (0, 0)))[: (n_frames - 1) * 1024 + 4096]
    window = signal.get_window("hann", 4096, fftbins=True)
    _, _, spectra = signal.stft(
        padded, window=window, nperseg=4096, noverlap=3072, boundary=None, padded=False, axis=0
    )
    magnitudes = np.abs(spectra).transpose(2, 0, 1) * window.sum()  # SciPy scales by the sum
    pieces = np.pad(magnitudes[:, :1024], ((0, -n_frames % 512), (0, 0), (0, 0)))
    return pieces.reshape(-1, 512, 1024, 2)


def in_patches(y: Float32, *, piece_samples: int) -> Float32:
    cutter = PatchCutter(RULE)
    inputs = [
        spleeter.stft_magnitude(patch)
        for start in range(0, len(y), piece_samples)
        for patch in cutter.push(y[start : start + piece_samples])
    ]
    rest, _ = cutter.finish()
    return np.array(inputs + [spleeter.stft_magnitude(patch) for patch in rest])


def relative_l2(ours: Float32, theirs: NDArray[np.float64]) -> float:
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def stereo(n_samples: int, rng: np.random.Generator) -> Float32:
    return rng.standard_normal((n_samples, 2)).astype(np.float32)


@pytest.mark.parametrize("n_samples", [700, 44100, 524_288, 524_289, SECONDS_30])
def test_patches_are_the_transform_of_the_whole_track_in_pieces(
    n_samples: int, rng: np.random.Generator
) -> None:
    y = stereo(n_samples, rng)
    ours = in_patches(y, piece_samples=100_000)
    assert relative_l2(ours, whole_track(y)) <= MAX_RELATIVE_L2


@pytest.mark.parametrize(
    "n_samples", [0, 1, 1024, 524_287, 524_288, 524_289, 527_360, 527_361, 1_048_577, SECONDS_30]
)
def test_a_track_has_as_many_patches_as_its_transform_has_pieces(n_samples: int) -> None:
    n_frames = -(-n_samples // 1024)
    assert RULE.n_patches(n_samples) == -(-n_frames // 512)


def test_a_shift_of_one_frame_is_seen(rng: np.random.Generator) -> None:
    y = stereo(600_000, rng)
    theirs = whole_track(y)
    assert relative_l2(in_patches(y[1024:], piece_samples=600_000), theirs) > 0.1


def test_a_shift_of_one_sample_is_seen(rng: np.random.Generator) -> None:
    y = stereo(600_000, rng)
    theirs = whole_track(y)
    assert relative_l2(in_patches(y[1:], piece_samples=600_000), theirs) > 100 * MAX_RELATIVE_L2


def test_a_shift_of_one_bin_is_seen(rng: np.random.Generator) -> None:
    y = stereo(600_000, rng)
    shifted = np.roll(in_patches(y, piece_samples=600_000), 1, axis=2)
    assert relative_l2(shifted, whole_track(y)) > 0.1


def test_a_symmetric_window_is_seen(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    y = stereo(600_000, rng)
    monkeypatch.setattr(spleeter, "_window", lambda: np.hanning(4096).astype(np.float32))
    ours = in_patches(y, piece_samples=600_000)
    assert relative_l2(ours, whole_track(y)) > 100 * MAX_RELATIVE_L2
