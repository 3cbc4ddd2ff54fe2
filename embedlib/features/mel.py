"""Mel filterbanks as Essentia's MelBands builds them, in float64, handed over as float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedlib.records import Float32

# Slaney's Auditory Toolbox (1998), as librosa 0.11 `hz_to_mel(htk=False)` and Essentia's
# `slaneyMel` have it: linear below 1 kHz, logarithmic above.
SLANEY_LINEAR_HZ_PER_MEL = 200.0 / 3.0
SLANEY_BREAK_HZ = 1000.0
SLANEY_LOG_STEP = np.log(6.4) / 27.0


def slaney_hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert frequencies to Slaney's mel scale.

    Parameters
    ----------
    frequency_hz : np.ndarray [shape=(n,), float64]
        Frequencies, not negative.

    Returns
    -------
    mel : np.ndarray [shape=(n,), float64]
        The same frequencies in mel.

    See Also
    --------
    slaney_mel_to_hz : The inverse.

    Examples
    --------
    >>> slaney_hz_to_mel(np.array([0.0, 200.0, 1000.0, 6400.0]))
    array([ 0.,  3., 15., 42.])
    """
    frequency_hz = np.asarray(frequency_hz, np.float64)
    break_mel = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ_PER_MEL
    above = np.log(np.maximum(frequency_hz, SLANEY_BREAK_HZ) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    below = np.minimum(frequency_hz, SLANEY_BREAK_HZ) / SLANEY_LINEAR_HZ_PER_MEL
    return np.where(frequency_hz < SLANEY_BREAK_HZ, below, break_mel + above)


def slaney_mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert Slaney's mels to frequencies.

    Parameters
    ----------
    mel : np.ndarray [shape=(n,), float64]
        Values on the mel scale, not negative.

    Returns
    -------
    frequency_hz : np.ndarray [shape=(n,), float64]
        The same values in Hz.

    See Also
    --------
    slaney_hz_to_mel : The inverse.
    """
    mel = np.asarray(mel, np.float64)
    break_mel = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ_PER_MEL
    above = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * np.maximum(mel - break_mel, 0.0))
    return np.where(mel < break_mel, SLANEY_LINEAR_HZ_PER_MEL * mel, above)


def slaney_filterbank(
    n_mels: int, *, n_fft: int, sr_hz: int, fmin_hz: float, fmax_hz: float
) -> Float32:
    """Build triangular filters, equally spaced in Slaney's mels and of equal area.

    The triangles are straight lines in Hz (Essentia's ``weighting="linear"``) and two Hz over
    their width in height (``normalize="unit_tri"``, librosa's ``norm="slaney"``).

    Parameters
    ----------
    n_mels : int > 0
        Number of bands.
    n_fft : int > 0
        Length of the transform, in samples.
    sr_hz : int > 0
        Sampling rate.
    fmin_hz, fmax_hz : float
        Lower edge of the first and upper edge of the last band.

    Returns
    -------
    filterbank : np.ndarray [shape=(n_mels, n_fft // 2 + 1), float32]
        Weight of each bin of the spectrum in each band.

    References
    ----------
    .. [1] Essentia, ``src/algorithms/spectral/{melbands,triangularbands}.cpp`` at commit b9fa6cb.

    Examples
    --------
    >>> slaney_filterbank(2, n_fft=8, sr_hz=800, fmin_hz=0.0, fmax_hz=300.0)
    array([[0.  , 0.01, 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.01, 0.  , 0.  ]], dtype=float32)
    """
    edges_hz = _edges_hz(n_mels, fmin_hz=fmin_hz, fmax_hz=fmax_hz)
    lower, centre, upper = (edges_hz[i : i + n_mels, None] for i in range(3))
    bins_hz = np.arange(n_fft // 2 + 1) * (sr_hz / n_fft)
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (upper - lower))).astype(np.float32)


def _edges_hz(n_mels: int, *, fmin_hz: float, fmax_hz: float) -> NDArray[np.float64]:
    """Edges of the bands with Essentia's rounding: it adds up mels in float32.

    The sum drifts by some 1e-5, which moves an edge across the bottom of a steep spectrum: with
    exact edges the embeddings of a voice were 1.5e-5 (relative l2) off, with these 1.3e-6.
    """
    mel_min, mel_max = slaney_hz_to_mel(np.array([fmin_hz, fmax_hz])).astype(np.float32)
    steps = np.full(n_mels + 2, (mel_max - mel_min) / np.float32(n_mels + 1), np.float32)
    steps[0] = mel_min
    return (
        slaney_mel_to_hz(np.cumsum(steps, dtype=np.float32)).astype(np.float32).astype(np.float64)
    )
