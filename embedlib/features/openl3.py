"""From one second of audio to the input of OpenL3: 199 frames of 128 mel bands, in decibels.

Two front ends are in use with the graph that Essentia distributes, and their numbers differ:
`gist` is what Essentia's authors tell users to run, `paper` what they ran for the paper. Neither is
exactly what the weights were trained on (openl3 up to 0.3.1: roots of powers in HTK bands of equal
area).

Decibels are relative to the loudest value of the window itself, so windows share no frames. Both
take the dB of an *amplitude* with the factor 10, as the training did: -70 dB is an amplitude of
1e-7, and what lies below is the rounding of float32 wherever the audio itself is that clean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from embedlib.errors import ConfigError
from embedlib.features.mel import MelBands, mel_filterbank
from embedlib.records import Float32

# https://gist.github.com/palonso/cfebe37e5492b5a3a31775d8eae8d9a8 (`gist`), and
# src/feature_ol3.py of github.com/xaviliz/musicnn-training at commit 69076ab (`paper`).
SR_HZ = 48000
WINDOW_SAMPLES = 48000
FRAME_SAMPLES = 2048
HOP_SAMPLES = 242
N_FRAMES = 199
N_MELS = 128
AMPLITUDE_FLOOR = np.float32(1e-10)
DB_PER_DECADE = np.float32(10.0)
DB_FLOOR = np.float32(-80.0)

# Zeros in front of the window: `gist` centres the first frame at its start, `paper` puts 982 on
# either side. Both end with the frame that starts 198 hops later.
GIST_LEAD_SAMPLES = 1024
PAPER_LEAD_SAMPLES = 982
PADDED_SAMPLES = (N_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES

# Frames and spectra of a block stay in a core's L2 cache (50 x 2048 x 4 bytes = 0.4 MB each); all
# 199 at once take more than twice as long where malloc gives their pages back each time.
BLOCK_FRAMES = 50

GIST_BANDS = MelBands(N_MELS, fmin_hz=0.0, fmax_hz=SR_HZ / 2)
PAPER_BANDS = MelBands(N_MELS, fmin_hz=0.0, fmax_hz=SR_HZ / 2, scale="htk", norm="unit_sum")


def gist(patch: Float32) -> Float32:
    """Make the input that Essentia's authors recommend.

    Magnitudes, Slaney bands of equal area, frames centred at multiples of the hop.

    Parameters
    ----------
    patch : np.ndarray [shape=(48000, 1), float32]
        One second of mono samples at 48 kHz.

    Returns
    -------
    mel_db : np.ndarray [shape=(128, 199, 1), float32]
        Bands, frames, channel; from -80 to 0 dB. Silence is 0 dB throughout.

    Raises
    ------
    ConfigError
        If `patch` has another shape.

    See Also
    --------
    paper : The input of the paper's code.

    Examples
    --------
    >>> click = np.zeros((48000, 1), np.float32)
    >>> click[24000] = 1.0
    >>> mel_db = gist(click)
    >>> mel_db.shape, mel_db.min(), mel_db.max()
    ((128, 199, 1), np.float32(-80.0), np.float32(0.0))
    """
    # Samples beyond all reason become nan here, and the run records them as nonfinite.
    with np.errstate(over="ignore", invalid="ignore"):
        blocks = map(np.abs, _spectra(patch, lead_samples=GIST_LEAD_SAMPLES))
        return _decibels(_in_bands(blocks, GIST_BANDS))


def paper(patch: Float32) -> Float32:
    """Make the input of the paper's code.

    Powers, HTK bands whose weights add up to one, and the root of each band's power.

    Parameters
    ----------
    patch : np.ndarray [shape=(48000, 1), float32]
        One second of mono samples at 48 kHz.

    Returns
    -------
    mel_db : np.ndarray [shape=(128, 199, 1), float32]
        Bands, frames, channel; from -80 to 0 dB. Silence is 0 dB throughout.

    Raises
    ------
    ConfigError
        If `patch` has another shape.

    See Also
    --------
    gist : The input that Essentia's authors recommend.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        blocks = map(_powers, _spectra(patch, lead_samples=PAPER_LEAD_SAMPLES))
        return _decibels(np.sqrt(_in_bands(blocks, PAPER_BANDS)))


def _spectra(patch: Float32, *, lead_samples: int) -> Iterator[NDArray[np.complex64]]:
    """Transform the 199 frames of a window, block by block, to (n_frames, 1025) complex64."""
    if patch.shape != (WINDOW_SAMPLES, 1):
        raise ConfigError(
            f"a patch of shape {patch.shape} is not {WINDOW_SAMPLES} mono samples",
            fix=f"cut patches of {WINDOW_SAMPLES} rows from the front end mono-48k",
        )
    samples = np.zeros(PADDED_SAMPLES, np.float32)
    samples[lead_samples : lead_samples + WINDOW_SAMPLES] = patch[:, 0]
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES]
    for start in range(0, N_FRAMES, BLOCK_FRAMES):
        yield scipy.fft.rfft(frames[start : start + BLOCK_FRAMES] * _window())


def _powers(spectra: NDArray[np.complex64]) -> Float32:
    return np.square(spectra.real) + np.square(spectra.imag)


def _in_bands(blocks: Iterable[Float32], bands: MelBands) -> Float32:
    """Weigh blocks of (n_frames, 1025) values, and put them side by side: (128, 199)."""
    return np.concatenate([_filterbank(bands) @ block.T for block in blocks], axis=1)


def _decibels(amplitudes: Float32) -> Float32:
    decibels = np.maximum(amplitudes, AMPLITUDE_FLOOR)
    np.log10(decibels, out=decibels)
    decibels *= DB_PER_DECADE
    decibels -= decibels.max()
    return np.maximum(decibels, DB_FLOOR, out=decibels)[..., None]


@cache
def _window() -> Float32:
    return np.hanning(FRAME_SAMPLES).astype(np.float32)


@cache
def _filterbank(bands: MelBands) -> scipy.sparse.csr_array:
    # Sparse for the reasons given in `embedlib.features.log_mel`.
    return scipy.sparse.csr_array(mel_filterbank(bands, n_fft=FRAME_SAMPLES, sr_hz=SR_HZ))
